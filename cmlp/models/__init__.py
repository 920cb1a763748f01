"""One dense layer under a loss: the models that the multilayer perceptron grew out of.

Each is a `Sequential` of one `Dense`, trained by a `Trainer` until it settles, and has

- ``fit(x, y)``, which starts from zero weights and returns the model, ``predict(x)``, and
  ``score(x, y)``: the share of right labels, or R^2 of a regression;
- ``net``, ``weight`` (n_out, n_in), ``bias`` (n_out,), and for classifiers ``classes``;
- ``n_iter``, the number of epochs, ``history``, and ``converged``: whether it settled before
  ``epochs``.

x is (n, n_in).  Labels may be numbers, booleans or strings.  All arguments are given by name:

- ``lr``: the learning rate.  None is 1 / L, with L the largest curvature that the cost can have:
  the longest step that cannot overshoot.  It is for the whole data in one step.
- ``momentum`` (0.9): v <- momentum * v - lr * gradient, w <- w + v; 0 is plain descent.
- ``weight_decay`` (0): lambda in the cost E + lambda/2 ||W||^2, on weights and not on the bias.
- ``batch_size``: samples in a step; None takes them all, 1 is the online form.
- ``shuffle``: a new order of the samples in each epoch, where there are several steps in it.
- ``epochs`` (10,000), ``tol`` (1e-6): it has settled when the weights change in an epoch by
  no more than ``tol`` times their size.
- ``dtype`` ("float64") and ``seed`` (0, of the order of samples).

Known nets for images, to be trained by a `Trainer`, are `convnetjs`, `convnetjs_fc` and `lenet5`
(by name in ``IMAGE_NETS``).

For other optimizers, schedules, callbacks and hidden layers there are `Sequential` and `Trainer`.

Of the package this imports training and what that imports; nothing but the command line may
import this.
"""

from __future__ import annotations

from .boolean import BOOLEAN_NETS, boolean_net
from .classifiers import LogisticRegression, OneVsRest, SoftmaxRegression
from .images import IMAGE_NETS, convnetjs, convnetjs_fc, lenet5
from .regression import LinearRegression, polynomial_features
from .units import Adaline, Perceptron

__all__ = [
    "BOOLEAN_NETS",
    "IMAGE_NETS",
    "Adaline",
    "LinearRegression",
    "LogisticRegression",
    "OneVsRest",
    "Perceptron",
    "SoftmaxRegression",
    "boolean_net",
    "convnetjs",
    "convnetjs_fc",
    "lenet5",
    "polynomial_features",
]
