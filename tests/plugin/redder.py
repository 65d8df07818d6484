"""A third-party stage, as small as one can be; `astrokeras` finds it by its entry point."""

from typing import ClassVar

import numpy as np

from astrokeras.fields import Field
from astrokeras.stage import Stage


class Redder(Stage):
    """Flux ratio of two bands.

    Parameters
    ----------
    over : float
        Ratios above it count as red.
    """

    name: ClassVar[str] = "redder"
    over: float = 1.0

    def reads(self):
        return (Field(name="flux_r", unit="nJy"), Field(name="flux_g", unit="nJy"))

    def writes(self):
        return (Field(name="ratio", description="Flux ratio r / g"), Field(name="red", description="1 if red"))

    def run(self, chunk):
        flux_g = chunk["flux_g"].value
        ratio = chunk["flux_r"].value / np.where(flux_g > 0, flux_g, np.nan)
        return {"ratio": ratio, "red": np.where(np.isnan(ratio), np.nan, ratio > self.over)}
