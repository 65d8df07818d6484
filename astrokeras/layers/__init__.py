"""Keras layers and losses of astrokeras; importing this package registers them for loading."""

from .classes import ClassLoss, LabelNoise, PriorCorrection, TemperatureScaling, VectorScaling
from .domain import DomainScore, PriorShrinkage
from .forest import Forest, Pool, WhereComplete
from .instruments import InstrumentDropout
from .limits import LimitDepths, LimitSimulation
from .maxout import Maxout
from .mixture import Density, DensityLoss, LogDensity, MixtureLogits, SplineLogits, Temperature
from .photometry import AsinhMagnitudes, BandDropout, Colors, ErrorJitter, MaskedNormalization
from .recalibration import Recalibration, ReferenceMagnitude

__all__ = [
    "AsinhMagnitudes",
    "BandDropout",
    "ClassLoss",
    "Colors",
    "Density",
    "DensityLoss",
    "DomainScore",
    "ErrorJitter",
    "Forest",
    "InstrumentDropout",
    "LabelNoise",
    "LimitDepths",
    "LimitSimulation",
    "LogDensity",
    "MaskedNormalization",
    "Maxout",
    "MixtureLogits",
    "Pool",
    "PriorCorrection",
    "PriorShrinkage",
    "Recalibration",
    "ReferenceMagnitude",
    "SplineLogits",
    "Temperature",
    "TemperatureScaling",
    "VectorScaling",
    "WhereComplete",
]
