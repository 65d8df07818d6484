"""Keras layers and losses of astrokeras; importing this package registers them for loading."""

from .mixture import Density, DensityLoss, LogDensity, MixtureLogits, SplineLogits, Temperature
from .photometry import AsinhMagnitudes, BandDropout, Colors, ErrorJitter, MaskedNormalization

__all__ = [
    "AsinhMagnitudes",
    "BandDropout",
    "Colors",
    "Density",
    "DensityLoss",
    "ErrorJitter",
    "LogDensity",
    "MaskedNormalization",
    "MixtureLogits",
    "SplineLogits",
    "Temperature",
]
