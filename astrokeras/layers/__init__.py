"""Keras layers and losses of astrokeras; importing this package registers them for loading."""

from .augmentation import RandomDihedral, RandomWarp
from .classes import ClassLoss, LabelNoise, PriorCorrection, TemperatureScaling, VectorScaling
from .degradation import RandomBlur, RandomMask, RandomNoise
from .domain import DomainScore, PriorShrinkage
from .forest import Forest, Pool, WhereComplete
from .instruments import InstrumentDropout
from .limits import LimitDepths, LimitSimulation
from .maxout import Maxout
from .mixture import Density, DensityLoss, LogDensity, MixtureLogits, SplineLogits, Temperature
from .morphology import DirichletMoments, LevelMoments, MeanAndError, NormalMoments
from .morphology_losses import AttributeLoss, JointLoss, LevelLoss, NormalLoss, VoteLoss
from .photometry import AsinhMagnitudes, BandDropout, Colors, ErrorJitter, MaskedNormalization
from .recalibration import Recalibration, ReferenceMagnitude
from .stamps import DihedralMean, DihedralStack, MirrorLabels, StampResize, StampStretch

__all__ = [
    "AsinhMagnitudes",
    "AttributeLoss",
    "BandDropout",
    "ClassLoss",
    "Colors",
    "Density",
    "DensityLoss",
    "DihedralMean",
    "DihedralStack",
    "DirichletMoments",
    "DomainScore",
    "ErrorJitter",
    "Forest",
    "InstrumentDropout",
    "JointLoss",
    "LabelNoise",
    "LevelLoss",
    "LevelMoments",
    "LimitDepths",
    "LimitSimulation",
    "LogDensity",
    "MaskedNormalization",
    "Maxout",
    "MeanAndError",
    "MirrorLabels",
    "MixtureLogits",
    "NormalLoss",
    "NormalMoments",
    "Pool",
    "PriorCorrection",
    "PriorShrinkage",
    "RandomBlur",
    "RandomDihedral",
    "RandomMask",
    "RandomNoise",
    "RandomWarp",
    "Recalibration",
    "ReferenceMagnitude",
    "SplineLogits",
    "StampResize",
    "StampStretch",
    "Temperature",
    "TemperatureScaling",
    "VectorScaling",
    "VoteLoss",
    "WhereComplete",
]
