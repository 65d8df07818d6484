"""PSFs in files: images of it, PSFEx models, alone or merged into tables of several CCDs, and SDSS psField."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import IngestError
from ..packing import READ_ERRORS
from .psf_model import Psf
from .psf_shape import centered, resampled

_SDSS_BANDS = "ugriz"
#: Pixels on a side that a stamp of a PSF may have.
_LARGEST = 501
#: Side of the stamp taken from a model.
_SIZE = 51


@dataclass(frozen=True)
class Polynomial:
    """A PSF whose pixels are polynomials of the place.

    Attributes
    ----------
    planes : ndarray
        ``(term, y, x)``.
    powers : ndarray
        int ``(term, 2)``: powers of x and y of each term.
    zero, scale : tuple of float
        ``(x, y)``: the place is taken as ``(x - zero) / scale``.
    step : float
        Step of the planes in pixels of the image.
    path : str
        Where it comes from.
    stars : int
        Stars that it was made of.
    """

    planes: np.ndarray
    powers: np.ndarray
    zero: tuple[float, float]
    scale: tuple[float, float]
    step: float
    path: str
    stars: int = 0

    def stamp(self, x: float, y: float, size: int) -> np.ndarray:
        """PSF at a place of the image (pixels from 0), float64 ``(size, size)``, sum 1."""
        place = np.array([(x + 1 - self.zero[0]) / self.scale[0], (y + 1 - self.zero[1]) / self.scale[1]])
        terms = np.prod(place**self.powers, axis=1)
        return centered(resampled(np.tensordot(terms, self.planes, 1), self.step), size)


def read_psfex(path: str, row: dict[str, Any] | None = None) -> Polynomial:
    """Read a PSFEx model (Bertin 2011, ASPC 442, 435), or that of a CCD in a merged table of the Legacy Surveys.

    Parameters
    ----------
    row : mapping, optional
        Values that tell the row of a merged table: ``{"ccdname": "S4"}``.

    Raises
    ------
    IngestError
        If the file is none, or depends on more than the place.
    """
    records, header = _records(path, "PSF_MASK")
    for key, value in (row or {}).items():
        records = [r for r in records if key.upper() not in r or str(r[key.upper()]).strip() == str(value)]
    if len(records) != 1:
        raise IngestError(f"{path}: has {len(records)} PSF models for {row}; one is needed")

    def fact(key: str) -> Any:
        value = records[0].get(key, header.get(key))
        if value is None:
            raise IngestError(f"{path}: is no PSFEx model: lacks {key}")
        return value

    names = [str(fact(f"POLNAME{i}")).strip() for i in range(1, int(fact("POLNAXIS")) + 1)]
    if names and names != ["X_IMAGE", "Y_IMAGE"]:
        raise IngestError(f"{path}: the PSF depends on {', '.join(names)}; only X_IMAGE and Y_IMAGE are known")
    planes = np.array(fact("PSF_MASK"), np.float64)
    degree = int(fact("POLDEG1")) if names else 0
    powers = np.array([(i, j) for j in range(degree + 1) for i in range(degree + 1 - j)])
    planes = planes.reshape(-1, *planes.shape[-2:])
    if len(powers) != len(planes):
        raise IngestError(f"{path}: has {len(planes)} planes, a polynomial of degree {degree} needs {len(powers)}")
    places = [(float(fact(f"POLZERO{i}")), float(fact(f"POLSCAL{i}"))) for i in (1, 2)] if names else [(0.0, 1.0)] * 2
    zero, scale = zip(*places, strict=True)
    return Polynomial(planes, powers, zero, scale, float(fact("PSF_SAMP")), path, int(fact("ACCEPTED")))


def read_psfield(path: str, band: str, offset: tuple[int, int] = (0, 0)) -> Polynomial:
    """Read the PSF of a band from an SDSS psField file.

    Parameters
    ----------
    band : str
        One of ugriz.
    offset : tuple of int
        Column and row of the frame where the image begins, if it was cut out of it.

    Raises
    ------
    IngestError
        If the file is none, or the band is none of SDSS.

    Notes
    -----
    ``sum_k RROWS_k sum_ij c_ijk (row / 1000)^i (column / 1000)^j``,
    https://www.sdss.org/dr12/imaging/images/#psf
    """
    if band not in _SDSS_BANDS:
        raise IngestError(f"{path}: has the bands u, g, r, i, z, not {band!r}")
    number = _SDSS_BANDS.index(band)
    records, _ = _records(path, "RROWS", number + 1)
    stars = _records(path, "PSF_NSTAR", 6)[0][0]["PSF_NSTAR"][number]
    planes, powers = [], []
    for record in records:
        basis = np.array(record["RROWS"], np.float64).reshape(record["RNROW"], record["RNCOL"])
        # Rows of c are powers of the row of the frame; the terms of a record share its picture.
        places = [(i, j) for i in range(record["NROW_B"]) for j in range(record["NCOL_B"])]
        planes += [basis * record["C"][i, j] for i, j in places]
        powers += [(j, i) for i, j in places]
    zero = (1.0 - offset[0], 1.0 - offset[1])
    return Polynomial(np.array(planes), np.array(powers), zero, (1000.0, 1000.0), 1.0, path, int(stars))


def _records(path: str, column: str, hdu: int = 1) -> tuple[list[dict[str, Any]], Any]:
    """Rows of a table, by names in upper case, and its header."""
    from astropy.io import fits

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return _rows(path, column, hdu, fits)
    except (*READ_ERRORS, ValueError, TypeError, KeyError) as error:
        raise IngestError(f"{path}: cannot be read as a file of PSF models: {error}") from None


def _rows(path: str, column: str, hdu: int, fits: Any) -> tuple[list[dict[str, Any]], Any]:
    with fits.open(path, memmap=False) as opened:
        table = opened[hdu].data if len(opened) > hdu else None
        names = getattr(table, "names", None) or ()
        if column not in [name.upper() for name in names]:
            raise IngestError(f"{path}: is no file of PSF models: HDU {hdu} has no column {column}")
        # Columns of variable length are read when they are touched: while the file is open.
        return [{name.upper(): row[name] for name in names} for row in table], opened[hdu].header


def read_psf(path: str, band: str, shape: tuple[int, int], offset: tuple[int, int] = (0, 0)) -> Psf:
    """Read a PSF from a file.

    Parameters
    ----------
    path : str
        FITS file: an image of the PSF in its first HDU with pixels, a PSFEx model, or an SDSS psField.
    band : str
        Band of the image.
    shape : tuple of int
        Rows and columns of the image; a model that depends on the place is taken in the middle.
    offset : tuple of int
        As of `read_psfield`.

    Raises
    ------
    IngestError
        If the file is none of these.
    """
    from astropy.io import fits

    from ..images.reader import open_image

    try:
        with fits.open(path, memmap=False) as opened:
            columns = {name.upper() for hdu in opened for name in getattr(getattr(hdu, "columns", None), "names", ())}
    except (OSError, ValueError) as error:
        raise IngestError(f"{path}: cannot be read as a file of a PSF: {error}") from None
    if columns & {"PSF_MASK", "RROWS"}:
        model = read_psfex(path) if "PSF_MASK" in columns else read_psfield(path, band, offset)
        return psf_of(model.stamp((shape[1] - 1) / 2, (shape[0] - 1) / 2, _SIZE), path)
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
