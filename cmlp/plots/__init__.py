"""Pictures with matplotlib (``pip install cmlp[plots]``).

Each function draws on the axes that are passed in, or on new ones, and returns them.  Nothing is
shown or saved here.  Colours can be told apart by the colour-blind: those of Okabe and Ito,
*Color universal design* (2008), and matplotlib's cividis.

Of the package this imports datasets, layers and nets.
"""

from .curves import gradient_flow, loss_curves
from .images import feature_maps, filters, misclassified
from .parallel import parallel_coordinates
from .plane import SQUARE
from .predictions import confusion_matrix, predicted_values
from .regions import decision_regions
from .units import hidden_units

__all__ = [
    "SQUARE",
    "confusion_matrix",
    "decision_regions",
    "feature_maps",
    "filters",
    "gradient_flow",
    "hidden_units",
    "loss_curves",
    "misclassified",
    "parallel_coordinates",
    "predicted_values",
]
