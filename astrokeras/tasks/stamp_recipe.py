"""How stamps are seen, changed in training and made features of: the block ``stamp:`` of a recipe."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict
from pydantic import Field as Parameter


class StampRecipe(BaseModel):
    """How a network looks at stamps.

    Parameters
    ----------
    size : int, optional
        Pixels on a side that the network sees; by default those of the stamps, at most 64.
    crop : float
        Side of the central part that it sees, as a fraction of the stamp.
    stretch : str
        ``asinh``, ``linear``, or ``auto``: linear where pixels have no unit, which have been stretched already.
    widths, blocks : tuple of int, int
        Filters of the stages of the convolutional network, and residual blocks in each.
    dihedral : bool
        Turn stamps by quarters and mirror them in training, and predict the mean over all 8 orientations.
    rotation, zoom, shear, shift : float
        Largest angle in degrees, scatter of the logarithms of the scale and of the axis ratio, largest shift in pixels:
        see `astrokeras.layers.RandomWarp`.
    blur, blur_rate : float
        Largest standard deviation in pixels of a worse seeing, and how often: see `astrokeras.layers.RandomBlur`.
    noise, gain, color : float
        Largest noise added, in units of that of the stamps; scatter of the logarithms of a factor on all bands and of
        one on each: see `astrokeras.layers.RandomNoise`.
    band_rate, mask_rate, mask_size : float
        How often a band and how often a rectangle is hidden, and its longest side as a fraction of the stamp: see
        `astrokeras.layers.RandomMask`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    size: int | None = Parameter(default=None, ge=8, le=512)
    crop: float = Parameter(default=1.0, gt=0, le=1)
    stretch: Literal["auto", "asinh", "linear"] = "auto"
    widths: tuple[int, ...] = Parameter(default=(24, 48, 96, 160), min_length=1, max_length=8)
    blocks: int = Parameter(default=1, ge=1, le=16)
    dihedral: bool = True
    rotation: float = Parameter(default=180.0, ge=0, le=180)
    zoom: float = Parameter(default=0.1, ge=0, le=1)
    shear: float = Parameter(default=0.0, ge=0, le=1)
    shift: float = Parameter(default=3.0, ge=0, le=64)
    blur: float = Parameter(default=1.0, ge=0, le=4)
    blur_rate: float = Parameter(default=0.5, ge=0, le=1)
    noise: float = Parameter(default=1.0, ge=0, le=100)
    gain: float = Parameter(default=0.1, ge=0, le=5)
    color: float = Parameter(default=0.05, ge=0, le=5)
    band_rate: float = Parameter(default=0.05, ge=0, lt=1)
    mask_rate: float = Parameter(default=0.2, ge=0, le=1)
    mask_size: float = Parameter(default=0.4, gt=0, le=1)

    def seen(self, side: int) -> int:
        """Pixels on a side that the network sees of stamps with ``side`` pixels."""
        return min(side, 64) if self.size is None else self.size

    def changes(self) -> dict[str, float]:
        """What training does to stamps, for `astrokeras.networks.convnet.stamp_member`."""
        names = ("dihedral", "rotation", "zoom", "shear", "shift", "blur", "blur_rate", "noise", "gain", "color")
        return {name: getattr(self, name) for name in (*names, "band_rate", "mask_rate", "mask_size")}
