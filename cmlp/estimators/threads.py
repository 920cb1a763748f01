"""How many threads an estimator may use where others work beside it."""

from __future__ import annotations

import os

from joblib.parallel import get_active_backend


def allowed_threads(n_threads: int | None) -> int | None:
    """Threads for the core; None for all that the process may use.

    The limits that joblib sets in the processes it starts, and those of threadpoolctl, are
    followed by the core itself.  Where joblib runs workers as threads, or forks processes without
    a limit, each worker gets one.
    """
    if n_threads is not None or "OMP_NUM_THREADS" in os.environ:
        return n_threads
    backend, _ = get_active_backend()
    return 1 if getattr(backend, "nesting_level", 0) else None
