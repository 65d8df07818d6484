"""How far an object lies from the training rows, in the features that a network sees, and what follows from it."""

import keras
import numpy as np
from keras import ops
from scipy.optimize import minimize_scalar

from .photometry import PACKAGE

TINY = 1e-9


@keras.saving.register_keras_serializable(package=PACKAGE)
class DomainScore(keras.layers.Layer):
    """How far an object lies from the training rows: above 1 it is outside the domain of the model.

    The score is the distance to the nearest of some training rows, the references, in units of the 99 % quantile of the
    same distance of rows set aside: one such row in a hundred scores above 1 (Ramaswamy et al. 2000, SIGMOD 29, 427;
    for features of networks Sun et al. 2022, ICML). The references are drawn at random: with M of N rows the nearest
    one is about as far as the N/M-th nearest training row.

    Parameters
    ----------
    n_references : int
        Training rows kept as references, at least 1.

    Notes
    -----
    Call with ``[features, observed]``: normalised features ``(batch, n_features)`` and the mask ``(batch, n_bands)``,
    1 where a band was observed. Returns ``(batch,)``. A feature counts where all bands that it is made of were
    observed, in the object and in the reference; the mean over those known in both stands for the others. With x an
    object, r a reference, m their masks and w the weights of the features,

        d^2 = sum_f w_f m_xf m_rf (x_f - r_f)^2 / sum_f w_f m_xf m_rf.

    An object that shares no feature with any reference scores `FAR`.
    """

    FAR = 1e6

    def __init__(self, n_references=1024, **kwargs):
        super().__init__(**kwargs)
        if n_references < 1:
            raise ValueError(f"DomainScore: n_references must be at least 1, got {n_references!r}")
        self.n_references = n_references

    def build(self, input_shape):
        """Create the weights; none is trained, all come from ``adapt``."""
        n_features, n_bands = input_shape[0][-1], input_shape[1][-1]

        def weight(name, *shape, initializer="zeros"):
            return self.add_weight(name=name, shape=shape, initializer=initializer, trainable=False)

        self.references = weight("references", self.n_references, n_features)
        self.observed = weight("observed", self.n_references, n_bands)
        self.needs = weight("needs", n_bands, n_features)
        self.weights_of_features = weight("weights_of_features", n_features)
        self.unit = weight("unit", initializer="ones")

    def adapt(self, train, calibrate, needs, weights, seed=0):
        """Draw the references, and set the unit from rows that are none.

        Parameters
        ----------
        train, calibrate : pair of array-like
            Features and masks, as in a call: training rows, and rows set aside, which training rows that are no
            references join. Without either, each reference counts against the others.
        needs : array-like
            ``(n_bands, n_features)``: 1 where a feature is made of a band.
        weights : array-like
            ``(n_features,)``: weight of a feature in the distance; 0 leaves it out.
        seed : int
            Of the draw.

        Raises
        ------
        ValueError
            If there is no training row, or no feature has a positive weight.
        """
        features, observed = (np.asarray(values, dtype=np.float32) for values in train)
        if not len(features):
            raise ValueError("DomainScore: no training row to take references from")
        if not np.any(np.asarray(weights) > 0):
            raise ValueError("DomainScore: no feature has a positive weight")
        if not self.built:
            self.build([(None, features.shape[1]), (None, observed.shape[1])])
            self.built = True
        order = np.random.default_rng(seed).permutation(len(features))
        # Of fewer rows than references some serve twice, which changes no distance.
        chosen = np.resize(order, self.n_references)
        self.references.assign(features[chosen])
        self.observed.assign(observed[chosen])
        self.needs.assign(np.asarray(needs, dtype=np.float32))
        self.weights_of_features.assign(np.asarray(weights, dtype=np.float32))
        spare = order[self.n_references :]
        rows = [np.concatenate([c, t[spare]]) for c, t in zip(calibrate, (features, observed), strict=True)]
        alone = not len(rows[0])
        distances = self.distances(*((features, observed) if alone else rows), skip_itself=alone)
        distances = distances[distances < self.FAR]
        self.unit.assign(max(float(np.quantile(distances, 0.99)), TINY) if len(distances) else 1.0)

    def distances(self, features, observed, skip_itself=False):
        """Distances to the nearest reference, ``(rows,)``; ``skip_itself`` leaves references at distance 0 out."""
        starts = range(0, len(features), 4096)
        parts = [self._nearest(features[i : i + 4096], observed[i : i + 4096], skip_itself) for i in starts]
        return np.concatenate([ops.convert_to_numpy(part) for part in parts])

    def _known(self, observed):
        """1 where all bands of a feature were observed."""
        return ops.cast(ops.matmul(1 - ops.cast(observed, "float32"), self.needs) == 0, "float32")

    def _nearest(self, features, observed, skip_itself=False):
        mask, reference_mask = self._known(observed), self._known(self.observed)
        weights = reference_mask * self.weights_of_features
        values, references = mask * features, ops.convert_to_tensor(self.references)
        # The square is multiplied out, so that matrix products find the nearest one ...
        brought = ops.concatenate([values * values, values, mask], axis=-1)
        held = ops.concatenate([weights, -2 * weights * references, weights * references**2], axis=-1)
        shared = ops.matmul(mask, ops.transpose(weights))
        squares = ops.matmul(brought, ops.transpose(held)) / ops.maximum(shared, TINY)
        far = shared <= TINY
        squares = ops.where(ops.logical_or(far, squares < 1e-5) if skip_itself else far, self.FAR**2, squares)
        nearest = ops.argmin(squares, axis=-1)
        # ... and its distance is taken anew, because the difference of two large squares is not exact.
        common = mask * ops.take(weights, nearest, axis=0)
        total = ops.sum(common, axis=-1)
        square = ops.sum(common * (features - ops.take(references, nearest, axis=0)) ** 2, axis=-1)
        none = ops.min(squares, axis=-1) >= self.FAR**2
        return ops.where(none, self.FAR, ops.sqrt(square / ops.maximum(total, TINY)))

    def call(self, inputs):
        """Return the scores; see the class."""
        return ops.minimum(self._nearest(*inputs) / self.unit, self.FAR)

    def compute_output_shape(self, input_shape):
        """One score per row."""
        return input_shape[0][:1]

    def get_config(self):
        """Configuration for saving."""
        return {**super().get_config(), "n_references": self.n_references}


@keras.saving.register_keras_serializable(package=PACKAGE)
class PriorShrinkage(keras.layers.Layer):
    """Trusts class probabilities less, the farther an object lies outside the domain.

    Notes
    -----
    Call with ``[probabilities, score]``, ``(batch, classes)`` and ``(batch,)``; returns the shape of the former. With
    the score s of `DomainScore`, the class fractions pi of the training rows and a rate a,

        p' = p                              where s <= 1,
        p' = s^-a p + (1 - s^-a) pi         where s > 1:

    the network keeps the share s^-a, the rest goes back to what was known before it looked. Until ``set`` the rate is
    0 and nothing changes.
    """

    def build(self, input_shape):
        """Create rate and prior."""
        self.rate = self.add_weight(name="rate", shape=(), initializer="zeros", trainable=False)
        self.prior = self.add_weight(name="prior", shape=(input_shape[0][-1],), initializer="zeros", trainable=False)

    def set(self, rate, prior):
        """Set the rate, at least 0, and the prior, ``(classes,)`` with the sum 1."""
        prior = np.asarray(prior, dtype=np.float32)
        if not (rate >= 0 and np.all(prior >= 0) and abs(prior.sum() - 1) < 1e-4):
            raise ValueError(f"PriorShrinkage: rate {rate!r} must be at least 0 and the prior {prior} sum to 1")
        if not self.built:
            self.build([(None, len(prior))])
            self.built = True
        self.rate.assign(rate)
        self.prior.assign(prior)

    def call(self, inputs):
        """Return the mixture; see the class."""
        probabilities, score = inputs
        share = ops.power(ops.maximum(score, 1.0), -self.rate)[:, None]
        return share * probabilities + (1 - share) * self.prior

    def compute_output_shape(self, input_shape):
        """Shape of the probabilities."""
        return input_shape[0]


def fit_shrinkage(probabilities, score, label, prior):
    """Rate of `PriorShrinkage` with the largest likelihood, from rows outside the domain of what classified them.

    Parameters
    ----------
    probabilities : numpy.ndarray
        Of networks that were trained on other regions of the input space, ``(rows, classes)``.
    score : numpy.ndarray
        Their domain scores, ``(rows,)``; rows up to 1 say nothing and are left out.
    label : numpy.ndarray
        Index of the true class, ``(rows,)``.
    prior : numpy.ndarray
        Class fractions in the training of each, ``(rows, classes)``.

    Returns
    -------
    float
        Between 0 and 20; 0 where no row lies outside.
    """
    outside = np.flatnonzero(np.asarray(score) > 1)
    if not len(outside):
        return 0.0
    p = np.asarray(probabilities, dtype=np.float64)[outside, np.asarray(label)[outside]]
    before = np.asarray(prior, dtype=np.float64)[outside, np.asarray(label)[outside]]
    log_score = np.log(np.asarray(score, dtype=np.float64)[outside])

    def loss(log_rate):
        share = np.exp(-np.exp(log_rate) * log_score)
        return -np.mean(np.log(np.maximum(share * p + (1 - share) * before, np.finfo(np.float32).tiny)))

    best = minimize_scalar(loss, bounds=np.log([1e-4, 20.0]), method="bounded", options={"xatol": 1e-3})
    return float(np.exp(best.x))
