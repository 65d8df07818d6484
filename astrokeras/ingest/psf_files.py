"""PSFs that a user gives: images of it, PSFEx models, psField files of SDSS."""

from __future__ import annotations

import numpy as np

from ..errors import IngestError
from .psf_model import Psf

#: Pixels on a side that a stamp of a PSF may have.
_LARGEST = 501
#: Side of the stamp taken from a model.
_SIZE = 51


def read_psf(path: str, band: str, shape: tuple[int, int]) -> Psf:
    """Read a PSF from a file.

    Parameters
    ----------
    path : str
        FITS file: an image of the PSF in its first HDU with pixels, a PSFEx model, or an SDSS psField.
    band : str
        Band of the image.
    shape : tuple of int
        Rows and columns of the image; a model that depends on the place is taken in the middle.

    Raises
    ------
    IngestError
        If the file is none of these.
    """
    from astropy.io import fits

    from ..images.psf_files import read_psfex, read_psfield
    from ..images.reader import open_image

    try:
        with fits.open(path, memmap=False) as opened:
            columns = {name.upper() for hdu in opened for name in getattr(getattr(hdu, "columns", None), "names", ())}
    except (OSError, ValueError) as error:
        raise IngestError(f"{path}: cannot be read as a file of a PSF: {error}") from None
    if columns & {"PSF_MASK", "RROWS"}:
        model = read_psfex(path) if "PSF_MASK" in columns else read_psfield(path, band)
        return psf_of(model.stamp(shape[1] / 2, shape[0] / 2, _SIZE), path)
    image = open_image(path, layout="plain", band=band)
    if max(image.shape) > _LARGEST:
        raise IngestError(f"{path}: {image.shape} pixels are no stamp of a PSF (at most {_LARGEST} on a side)")
    return psf_of(np.nan_to_num(image.read().data.astype(float)), path)


def psf_of(data: np.ndarray, said: str = "") -> Psf:
    """PSF of an image of it: made odd, centred on its light, of sum 1.

    Raises
    ------
    IngestError
        If it has no light, or its light is off the centre.
    """
    from scipy import ndimage

    if data.ndim != 2 or min(data.shape) < 5 or not data.sum() > 0:
        raise IngestError(f"{said or 'PSF'}: needs an image of at least 5 x 5 pixels whose sum is positive")
    centre = ndimage.center_of_mass(np.clip(data - 0.1 * data.max(), 0, None))
    off = [c - (n - 1) / 2 for c, n in zip(centre, data.shape, strict=True)]
    if max(map(abs, off)) > 0.2 * min(data.shape):
        raise IngestError(f"{said or 'PSF'}: its light is off the centre by {off[1]:.1f}, {off[0]:.1f} pixels")
    radius = min(int(min(c, n - 1 - c)) for c, n in zip(centre, data.shape, strict=True))
    grid = np.mgrid[-radius : radius + 1, -radius : radius + 1] + np.array(centre)[:, None, None]
    return Psf.normalised(ndimage.map_coordinates(data, grid, order=3), 1, said)
