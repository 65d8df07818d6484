"""A model of scikit-learn behind the encoder of a network: the same inputs, the same features, the same outputs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .residuals import residual_density

if TYPE_CHECKING:
    import keras

#: Arrays beside an estimator of redshifts, and of classes.
DENSITY = frozenset(("grid", "at", "nodes", "table", "rows"))
CALIBRATION = frozenset(("slope", "offset", "voters"))
#: Arrays beside an estimator that decides between pairs of classes and has no probabilities.
DECISIONS = frozenset(("weights", "offset"))
#: Smallest probability before a calibration, which takes its logarithm.
FLOOR = 1e-9

Arrays = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Classical:
    """An estimator of scikit-learn with what makes a density, or calibrated probabilities, of what it predicts.

    Called like a network.

    Attributes
    ----------
    encoder : keras.Model
        From the inputs that `astrokeras.models.tensors.encode` gives to ``features``, and to further outputs that do
        not depend on the method (``domain_score``).
    estimator : sklearn.base.BaseEstimator
        Fitted on these features.
    arrays : mapping of ndarray
        Of redshifts: ``grid`` and what `astrokeras.models.residuals.fit_residuals` gives. Of classes: ``slope`` and
        ``offset`` of the calibration, and ``voters``, how many equal votes a probability counts (0 for none); or
        ``weights`` and ``offset`` of a logistic regression on the decisions between pairs of classes.
    """

    encoder: keras.Model
    estimator: Any
    arrays: Arrays

    def __call__(self, tensors: Arrays, training: bool = False) -> dict[str, np.ndarray]:
        """Outputs for rows of tensors: ``z_pdf`` or ``p_class``, float32; ``training`` changes nothing."""
        encoded = self._encoded(tensors)
        features = encoded.pop("features")
        if "grid" in self.arrays:
            found = residual_density(self.estimator.predict(features), self.arrays, self.arrays["grid"])
            return {"z_pdf": found, **encoded}
        if "weights" in self.arrays:
            decisions = self.estimator.decision_function(features).reshape(len(features), -1)
            found = softmax(decisions @ self.arrays["weights"] + self.arrays["offset"])
        else:
            found = calibrated(self.estimator.predict_proba(features), self.arrays)
        return {"p_class": found.astype(np.float32), **encoded}

    def _encoded(self, tensors: Arrays) -> dict[str, np.ndarray]:
        import keras

        given = {name: tensors[name] for name in self.encoder.input}
        return {k: keras.ops.convert_to_numpy(v) for k, v in self.encoder(given, training=False).items()}

    def features(self, tensors: Arrays) -> np.ndarray:
        """What the estimator sees, float32 ``(rows, features)``."""
        return self._encoded(tensors)["features"]

    def output_shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of a row of each output."""
        further = {k: tuple(v.shape[1:]) for k, v in self.encoder.output.items() if k != "features"}
        if "grid" in self.arrays:
            return {"z_pdf": self.arrays["grid"].shape, **further}
        return {"p_class": self.estimator.classes_.shape, **further}


def calibrated(probability: np.ndarray, arrays: Arrays) -> np.ndarray:
    """Calibrated class probabilities, ``(rows, classes)``.

    Where a probability is a share of ``voters``, one more voter is counted who votes for all classes alike: no voice
    among a hundred is no proof. Then ``p' ~ exp(slope ln p + offset)``.
    """
    p, voters = np.asarray(probability, float), float(arrays["voters"])
    if voters:
        p = (voters * p + 1 / p.shape[1]) / (voters + 1)
    logits = arrays["slope"] * np.log(np.maximum(p, FLOOR)) + arrays["offset"]
    return softmax(logits)


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities of logits, ``(rows, classes)``."""
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    return odds / odds.sum(axis=1, keepdims=True)
