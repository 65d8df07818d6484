"""How extended an object is, as the difference of two magnitudes of one band."""

from __future__ import annotations

from typing import ClassVar, Self

import numpy as np
from pydantic import Field as Parameter
from pydantic import model_validator

from ..fields import Field
from ..stage import Stage
from .colors import Bands, Measure, flux_fields, read_fluxes

#: Magnitudes per unit of the inverse hyperbolic sine, which is ln 2x for large x.
_SCALE = 2.5 / np.log(10)


class Extent(Stage):
    """Extent of objects: ``extent_{band}``, the magnitude of ``narrow`` minus that of ``wide``.

    About 0 for a point source, and positive for a galaxy, whose light a PSF fit misses: the classical separator of
    stars and galaxies (SDSS: psfMag - modelMag > 0.145, Stoughton et al. 2002, AJ 123, 485). An input for ``classify``,
    under ``extra``.

    Parameters
    ----------
    bands : tuple of str
        Bands with columns of both kinds of photometry, ``flux_psf_{band}`` and ``flux_{band}``.
    narrow, wide : str
        ``psf`` or ``total``; empty for the colour photometry.

    Notes
    -----
    ``asinh(wide / 2 narrow_err) - asinh(narrow / 2 narrow_err)``, times 2.5 / ln 10: -2.5 log10(narrow / wide) for what
    is detected well, and 0 for what is not, so that no flux, however faint or negative, gives NaN. NaN where a flux is
    missing.

    Examples
    --------
    >>> from astropy.table import QTable
    >>> import astropy.units as u
    >>> table = QTable({"flux_r": [1000.0, 1000.0] * u.nJy, "flux_err_r": [1.0, 1.0] * u.nJy,
    ...                 "flux_psf_r": [1000.0, 500.0] * u.nJy, "flux_err_psf_r": [1.0, 1.0] * u.nJy})
    >>> print(Extent(bands=["r"])(table)["extent_r"].round(2))
    [0.   0.75] mag
    """

    name: ClassVar[str] = "extent"
    bands: Bands = Parameter(min_length=1)
    narrow: Measure = "psf"
    wide: Measure = ""

    @model_validator(mode="after")
    def _two_kinds(self) -> Self:
        if self.narrow == self.wide:
            raise ValueError(f"narrow and wide must differ, got {self.narrow!r} twice")
        return self

    def reads(self) -> tuple[Field, ...]:
        """See `Stage.reads`."""
        return (*flux_fields(self.bands, self.narrow), *flux_fields(self.bands, self.wide))

    def writes(self) -> tuple[Field, ...]:
        """See `Stage.writes`."""
        names = {"": "colour photometry"}
        narrow, wide = (names.get(kind, kind) for kind in (self.narrow, self.wide))
        said = "Magnitude of the narrow ({}) minus of the wide ({}) photometry in band {}: 0 for a point source"
        return tuple(
            Field(
                name=f"extent_{band}", unit="mag", description=said.format(narrow, wide, band), ucd="phot.mag;src.morph"
            )
            for band in self.bands
        )

    def run(self, chunk) -> dict[str, np.ndarray]:
        """See `Stage.run`."""
        out = {}
        for band in self.bands:
            (narrow, error), (wide, _) = read_fluxes(chunk, band, self.narrow), read_fluxes(chunk, band, self.wide)
            softening = 2 * np.where(error > 0, error, np.nan)
            out[f"extent_{band}"] = _SCALE * (np.arcsinh(wide / softening) - np.arcsinh(narrow / softening))
        return out
