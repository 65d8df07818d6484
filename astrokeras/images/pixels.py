"""Pixels of a section: fluxes, errors and flags, resolved once from whatever planes a file has."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ..errors import IngestError
from ..units import MAG_ERROR_SCALE
from .fits_planes import Plane
from .image import Pixel
from .language import Layout
from .places import MaskPlace


@dataclass(frozen=True)
class Recipe:
    """How the pixels of an image are made.

    Attributes
    ----------
    plane : Plane
        The pixels.
    error : tuple or None
        Plane of errors, its kind, and what a pixel without an error is.
    mask : tuple or None
        Plane of flags, and what they mean.
    layout : Layout
        The rest.
    band : str
        Band, of which some bits of a mask speak.
    factor : float
        nJy of one unit of the pixels.
    saturation : float or None
        Value of a saturated pixel.
    """

    plane: Plane
    error: tuple[Plane, str, str] | None
    mask: tuple[Plane, MaskPlace] | None
    layout: Layout
    band: str
    factor: float
    saturation: float | None

    @property
    def files(self) -> tuple[str, ...]:
        """Files that are read."""
        others = [found[0].file.path for found in (self.error, self.mask) if found]
        return tuple(dict.fromkeys([self.plane.file.path, *others]))


def read_pixels(
    recipe: Recipe, rows: slice, columns: slice
) -> tuple[np.ndarray, np.ndarray | None, np.ndarray, tuple[str, ...]]:
    """Pixels, errors and flags of a section, and what a user should know of them.

    Returns
    -------
    data, sigma, mask : ndarray
        float32, float32 or None, int32, all ``(y, x)``.
    notes : tuple of str
        Whether all pixels are alike.

    Raises
    ------
    IngestError
        If they cannot be read.
    """
    data = _stretched(recipe.plane, recipe.layout, rows, columns)
    mask = np.zeros(data.shape, np.int32)
    mask[np.isinf(data)] |= Pixel.BAD
    mask[~np.isfinite(data)] |= Pixel.NO_DATA
    with np.errstate(invalid="ignore"):
        if recipe.saturation is not None:
            mask[data >= recipe.saturation] |= Pixel.SATURATED
    mask[np.isin(data, recipe.layout.no_data)] |= Pixel.NO_DATA
    if recipe.mask is not None:
        mask |= flagged(*recipe.mask, recipe.band, rows, columns)
    sigma, said = _sigma(recipe, data, rows, columns)
    if sigma is not None:
        without = ~(np.isfinite(sigma) & (sigma > 0))
        sigma[without] = np.nan
        mask[without] |= Pixel[recipe.error[2]] if recipe.error else Pixel.BAD
    none = mask & Pixel.NO_DATA > 0
    data[none] = np.nan
    data *= np.float32(recipe.factor)
    if sigma is not None:
        sigma[none] = np.nan
        sigma *= np.float32(recipe.factor)
    return data, sigma, mask, (*said, *_alike(data))


def _alike(data: np.ndarray) -> tuple[str, ...]:
    if not data.size:
        return ("the image has no pixels",)
    low, high = np.fmin.reduce(data, axis=None), np.fmax.reduce(data, axis=None)
    if np.isnan(low):
        return ("no pixel has data",)
    return (f"all pixels are {low:g}",) if low == high and data.size > 1 else ()


def _stretched(plane: Plane, layout: Layout, rows: slice, columns: slice) -> np.ndarray:
    """Physical values, in units of the file; asinh-scaled pixels of Pan-STARRS are made linear."""
    values = plane.floats(rows, columns)
    header = plane.hdu.header
    if layout.stretch is None or "BSOFTEN" not in header:
        return values
    soft, offset = (header.get(key) for key in ("BSOFTEN", "BOFFSET"))
    if not all(isinstance(v, (int, float)) and np.isfinite(v) for v in (soft, offset)):
        raise IngestError(f"{plane.what}: BSOFTEN = {soft!r} and BOFFSET = {offset!r} are to be numbers")
    # They are magnitudes (Waters et al. 2020, ApJS 251, 4; Lupton et al. 1999).
    return (offset + 2 * soft * np.sinh(values.astype(np.float64) * MAG_ERROR_SCALE)).astype(np.float32)


def _sigma(recipe: Recipe, data: np.ndarray, rows: slice, columns: slice) -> tuple[np.ndarray | None, tuple[str, ...]]:
    if recipe.error is None:
        if recipe.layout.rebuilt_noise is None:
            return None, ()
        from .sdss import frame_noise

        return frame_noise(recipe.plane, data, recipe.band, rows, columns)
    plane, kind, _ = recipe.error
    values = _stretched(plane, recipe.layout, rows, columns)
    if kind == "sigma":
        return values, ()
    with np.errstate(invalid="ignore", divide="ignore"):
        values = np.sqrt(np.where(values > 0, values, np.nan))
        return (values if kind == "variance" else 1 / values), ()


def flagged(plane: Plane, meaning: MaskPlace, band: str, rows: slice, columns: slice) -> np.ndarray:
    """Flags of a section in bits of `Pixel`; int32 ``(y, x)``."""
    values = plane.integers(rows, columns)
    out = np.zeros(values.shape, np.int32)
    if meaning.nonzero is not None:
        out[values != 0] = Pixel[meaning.nonzero]
    for code, name in meaning.codes.items():
        out[values == code] |= Pixel[name]
    bits = {1 << bit: name for bit, name in (meaning.bits | meaning.band_bits.get(band, {})).items()}
    for value, name in (bits | _named(plane, meaning)).items():
        out[values & value != 0] |= Pixel[name]
    return out


def _named(plane: Plane, meaning: MaskPlace) -> Mapping[int, str]:
    """Values of bits that cards name."""
    if meaning.names is None:
        return {}
    header, found = plane.hdu.header, {}
    for key in header:
        if meaning.names == "MP_" and key.startswith("MP_") and isinstance(header[key], int):
            found[key.removeprefix("MP_")] = 1 << header[key] if 0 <= header[key] < 63 else 0
        elif match := re.fullmatch(r"MSKNAM(\d\d)", key):
            found[str(header[key]).strip()] = header.get(f"MSKVAL{match[1]}", 0)
    return {found[name]: what for name, what in meaning.named_bits.items() if name in found}
