"""Hiding all bands of an instrument at once."""

import keras
import numpy as np
from keras import ops

from .photometry import PACKAGE, BandDropout


@keras.saving.register_keras_serializable(package=PACKAGE)
class InstrumentDropout(BandDropout):
    """Hides all bands of an instrument together while training, so that a network can do without it.

    An object without a match in another survey lacks all bands of that survey, which bands hidden one by one hardly
    rehearse. And where such objects are a class of their own in the training set, a network that sees no others
    takes the gap for a sign of the class. Every instrument of every row is hidden with probability ``rate``,
    independently; a row that would lose all its bands keeps them. Outside training the masks pass unchanged.

    Parameters
    ----------
    instruments : sequence of int
        Number of the instrument of each band, from 0.
    rate : float
        Probability to hide one instrument, from 0 up to but not including 1.
    seed : int, optional
        Seed of the layer's own random numbers.

    Raises
    ------
    ValueError
        When ``rate`` lies outside [0, 1).

    Notes
    -----
    Call with ``observed`` or ``[observed, limited]``, masks ``(batch, bands)``; returns the same.
    """

    def __init__(self, instruments, rate=0.2, seed=None, **kwargs):
        super().__init__(rate, seed, **kwargs)
        self.instruments = [int(number) for number in instruments]

    def kept(self, observed):
        """See `BandDropout.kept`: one draw per instrument, spread over its bands."""
        spread = np.eye(max(self.instruments) + 1, dtype="float32")[:, self.instruments]
        draws = keras.random.uniform((ops.shape(observed)[0], len(spread)), seed=self.seed_generator)
        return ops.matmul(ops.cast(draws >= self.rate, observed.dtype), spread)

    def get_config(self):
        """Configuration for saving."""
        return {**super().get_config(), "instruments": self.instruments}
