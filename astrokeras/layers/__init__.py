"""Keras layers and losses of astrokeras; importing this package registers them for loading."""

from .classes import ClassLoss, PriorCorrection, TemperatureScaling, VectorScaling
from .limits import LimitDepths, LimitSimulation
from .mixture import Density, DensityLoss, LogDensity, MixtureLogits, SplineLogits, Temperature
from .photometry import AsinhMagnitudes, BandDropout, Colors, ErrorJitter, MaskedNormalization

__all__ = [
    "AsinhMagnitudes",
    "BandDropout",
    "ClassLoss",
    "Colors",
    "Density",
    "DensityLoss",
    "ErrorJitter",
    "LimitDepths",
    "LimitSimulation",
    "LogDensity",
    "MaskedNormalization",
    "MixtureLogits",
    "PriorCorrection",
    "SplineLogits",
    "Temperature",
    "TemperatureScaling",
    "VectorScaling",
]
