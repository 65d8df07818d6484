"""Functions that return Keras networks."""

from .classes import class_ensemble, class_network
from .dense import ensemble, photoz_network
from .encoder import photometry_encoder

__all__ = ["class_ensemble", "class_network", "ensemble", "photometry_encoder", "photoz_network"]
