"""astrokeras in RAIL: the stages, where ``rail.core.RailEnv.import_all_packages`` looks for them."""

from rail.estimation.algos.astrokeras import AstroKerasEstimator, AstroKerasInformer, pack

__all__ = ["AstroKerasEstimator", "AstroKerasInformer", "pack"]
