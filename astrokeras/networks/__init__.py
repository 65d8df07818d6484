"""Functions that return Keras networks."""

from .dense import ensemble, photometry_encoder, photoz_network

__all__ = ["ensemble", "photometry_encoder", "photoz_network"]
