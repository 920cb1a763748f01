"""Side by side timing of cmlp and its peers.

``python -m bench`` in a checkout, ``cmlp bench`` or ``python -m cmlp.bench`` once installed: the
wheel ships this folder as `cmlp.bench`.

Each library works in a process of its own, so that no thread pool or import disturbs another one.
The processes take turns: one measures while the others are blocked on a read.  A *round* is one
turn of every variant of every library; the tables show medians over rounds.
"""
