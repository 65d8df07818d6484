"""Image: pixels of one band on one grid, calibrated as far as their file allows."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntFlag
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ..errors import IngestError
from ..units import AB_ZERO_POINT

if TYPE_CHECKING:
    from astropy.wcs import WCS

#: AB magnitude of 1 nJy.
NJY_ZERO_POINT = AB_ZERO_POINT


class Pixel(IntFlag):
    """What can be wrong with a pixel; a good one has 0."""

    NO_DATA = 1
    BAD = 2
    SATURATED = 4
    COSMIC_RAY = 8
    INTERPOLATED = 16


#: Nothing is known of the light of such a pixel.
LOST = Pixel.NO_DATA | Pixel.BAD | Pixel.COSMIC_RAY
#: The value of such a pixel is no measurement; a saturated one has light, though not how much.
UNUSABLE = LOST | Pixel.SATURATED


@dataclass(frozen=True)
class Image:
    """Pixels of one band on one grid.

    Attributes
    ----------
    data : ndarray
        float32 ``(y, x)``, in ``unit`` per pixel; NaN where there is no data.
    unit : str
        ``nJy``; ``ct`` where no zero point is known; empty where the pixels have no physical meaning (a JPG).
    sigma : ndarray, optional
        Standard error of each pixel, float32 ``(y, x)``, same unit; NaN where there is no data.
    mask : ndarray
        int32 ``(y, x)``, bits of `Pixel`.
    wcs : WCS, optional
        Celestial coordinates of the pixels.
    band, filter : str, str or None
        Band as in column names, and SVO filter identifier.
    zero_point : float, optional
        AB magnitude of one unit of the pixels in the file.
    exposure, gain, mjd : float, optional
        Exposure time in s, electrons per unit of the pixels in the file, middle of the exposure as MJD (UTC).
    path, hdu : str
        Where the pixels come from.
    notes : tuple of str
        What a user should know: a card that contradicts another, a rule that was assumed.
    """

    data: np.ndarray
    unit: Literal["nJy", "ct", ""]
    mask: np.ndarray
    band: str = ""
    sigma: np.ndarray | None = None
    wcs: WCS | None = None
    filter: str | None = None
    zero_point: float | None = None
    exposure: float | None = None
    gain: float | None = None
    mjd: float | None = None
    path: str = ""
    hdu: str = ""
    notes: tuple[str, ...] = ()

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of pixels."""
        return self.data.shape

    @property
    def electrons(self) -> float | None:
        """Electrons per ``unit`` of the pixels, if the file tells."""
        if not self.gain or self.gain <= 0:
            return None
        if self.unit != "nJy":
            return self.gain
        return None if self.zero_point is None else self.gain * 10 ** (0.4 * (self.zero_point - NJY_ZERO_POINT))


def require_njy(image: Any, who: str) -> None:
    """Refuse an image whose pixels are no fluxes.

    Parameters
    ----------
    image : Image or ImageFile
        What is needed in nJy.
    who : str
        What needs it.

    Raises
    ------
    IngestError
        If the pixels are counts; says how to calibrate.
    """
    if image.unit != "nJy":
        raise IngestError(
            f"{image.path}, HDU {image.hdu}: {who} needs fluxes, and nothing tells the flux of a count (no zero point, "
            "no unit); name the table of a run of the stage `calibrate` in `calibration:`, or a `layout:` with "
            "`calibration: [{zero_point: 27.0}]`"
        )
