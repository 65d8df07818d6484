"""Stage ``background``: sky and noise of images."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from pydantic import Field as Parameter

from ..fields import Field
from .rows import ExposureStage, measured_sky

if TYPE_CHECKING:
    from ..images.reader import ImageFile
    from ..photometry.noise_growth import NoiseGrowth

#: Pixels of the circles whose sums tell how far the noise of neighbours is correlated.
_PIXELS = 36

_FIELDS = (
    Field(
        name="sky",
        kind="f8",
        description="Median sky per pixel, in units of the pixels in the file",
        ucd="instr.background",
    ),
    Field(
        name="sky_rms",
        kind="f8",
        description="Median standard deviation of a pixel of the sky, in units of the pixels in the file",
        ucd="stat.stdev;instr.background",
    ),
    Field(
        name="noise_correlation",
        kind="f8",
        description="Noise of sums over circles of 36 pixels, over that of independent pixels; 1 without correlation",
        ucd="stat.correlation;instr.background",
    ),
    Field(
        name="noise_ratio",
        kind="f8",
        description="Measured noise over what the errors of the file say; NaN if it has none",
        ucd="instr.background;arith.ratio",
    ),
    Field(
        name="depth",
        kind="f8",
        unit="mag",
        description="5 sigma limit in a circle of 2 arcsec diameter (AB), correlation included",
        ucd="phot.mag;stat.max",
    ),
    Field(
        name="usable",
        kind="f8",
        description="Part of the pixels that have data and no flag",
        ucd="arith.factor;instr.pixel",
    ),
)


class Background(ExposureStage):
    """Sky and noise of each image: ``sky``, ``sky_rms``, ``noise_correlation``, ``noise_ratio``, ``depth``, ``usable``.

    The image is opened by ``path``; sources are left out (`astrokeras.photometry.sky_mesh.measure`). An image that
    cannot be used has NaN, the flag ``NO_DATA``, and the reason in ``problem_background``.

    Parameters
    ----------
    box : int
        Side in pixels of the boxes in which the sky is measured: larger than the sources.
    smooth : int
        Side in boxes of the median filter over them, odd.

    Notes
    -----
    Box by box the mode of pixels that belong to no object, and the noise from their median absolute deviation.
    The noise of sums is the scatter of circles on empty sky, NaN where there is too little of it.
    """

    name: ClassVar[str] = "background"

    box: int = Parameter(default=64, ge=8, le=4096)
    smooth: int = Parameter(default=3, ge=1, le=15)

    def own(self) -> tuple[Field, ...]:
        """See `ExposureStage.own`."""
        return _FIELDS

    def measure(self, file: ImageFile) -> dict[str, Any]:
        """See `ExposureStage.measure`."""
        found = measured_sky(file, self.box, self.smooth)
        image, noise, rms = found.image, found.noise(), float(np.median(found.sky.rms))
        # One unit of the pixels in the file is this much in the image's unit.
        unit = file.recipe.factor
        expected = np.nan if image.sigma is None else np.nanmedian(image.sigma[image.mask == 0])
        return {
            "sky": np.median(found.sky.level) / unit,
            "sky_rms": rms / unit,
            "noise_correlation": noise.at(_PIXELS) if len(noise.pixels) else np.nan,
            "noise_ratio": rms / expected if expected > 0 else np.nan,
            "depth": _depth(file, rms, noise),
            "usable": np.mean(image.mask == 0),
        }


def _depth(file: ImageFile, rms: float, noise: NoiseGrowth) -> float:
    """5 sigma AB magnitude in a circle of 2 arcsec diameter; NaN without a zero point or a pixel scale."""
    from ..images.image import NJY_ZERO_POINT

    if file.unit != "nJy" or file.pixel_scale is None or not rms > 0:
        return float("nan")
    pixels = np.pi / file.pixel_scale**2
    return float(NJY_ZERO_POINT - 2.5 * np.log10(5 * rms * np.sqrt(pixels) * noise.at(pixels)))
