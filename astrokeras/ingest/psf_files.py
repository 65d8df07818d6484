"""Images of the PSF in files."""

from __future__ import annotations

import numpy as np

from ..errors import IngestError
from .psf_model import Psf

#: Pixels on a side that a stamp of a PSF may have.
_LARGEST = 501


def read_psf(path: str, band: str = "") -> Psf:
    """Read a PSF from the first HDU of a FITS file that has an image.

    Parameters
    ----------
    path : str
        FITS file. The card ``OVERSAMP`` (or ``DET_SAMP``, ``PSFSAMP``) tells samples per pixel; 1 without it.
    band : str
        For messages.

    Raises
    ------
    IngestError
        If it is no stamp: not two-dimensional, too large, not positive in sum, or not at its brightest near the centre.
    """
    from ..images.reader import open_image

    opened = open_image(path, layout="plain", band=band or None)
    if max(opened.shape) > _LARGEST:
        raise IngestError(
            f"{path}: an image of {opened.shape} pixels is no stamp of a PSF (at most {_LARGEST} on a side)"
        )
    data = np.nan_to_num(opened.read().data.astype(float))
    return psf_of(data, f"{path}")


def psf_of(data: np.ndarray, said: str, oversampling: int = 1) -> Psf:
    """PSF of an array: odd, centred on its light, of sum 1.

    Raises
    ------
    IngestError
        If it has no light, or its light is not near the centre.
    """
    from scipy import ndimage

    if data.ndim != 2 or not data.sum() > 0:
        raise IngestError(f"{said}: a PSF needs an image whose sum is positive")
    core = np.clip(data - 0.1 * data.max(), 0, None)
    centre = ndimage.center_of_mass(core)
    off = [c - (n - 1) / 2 for c, n in zip(centre, data.shape, strict=True)]
    if max(map(abs, off)) > 0.2 * min(data.shape):
        raise IngestError(f"{said}: the light of the PSF is off the centre by {off[1]:.1f}, {off[0]:.1f} pixels")
    radius = min(
        *(int(np.floor(min(c, n - 1 - c))) for c, n in zip(centre, data.shape, strict=True)), data.shape[0] // 2
    )
    grid = np.mgrid[-radius : radius + 1, -radius : radius + 1] + np.array(centre)[:, None, None]
    centred = ndimage.map_coordinates(data, grid, order=3)
    return Psf.normalised(centred, oversampling, said)
