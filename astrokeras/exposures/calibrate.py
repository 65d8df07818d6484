"""Stage ``calibrate``: zero points of images from a catalog of reference stars."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from pydantic import Field as Parameter
from pydantic import model_validator

from ..errors import IngestError
from ..fields import Band, Field, bands_of
from ..ingest.catalog import Catalog
from ..ingest.other_catalog import checked_files
from .rows import ExposureStage, measured_sky

if TYPE_CHECKING:
    from astropy.table import QTable

    from ..images.reader import ImageFile

_ZP = "phot.mag;arith.zp"
_FIELDS = (
    Field(
        name="zero_point_fit",
        kind="f8",
        unit="mag",
        description="AB magnitude of one unit of the pixels in the file, from reference stars, at the pivot color",
        ucd=_ZP,
    ),
    Field(name="zero_point_err", kind="f8", unit="mag", description="Error of zero_point_fit", ucd=f"stat.error;{_ZP}"),
    Field(
        name="zero_point_rms",
        kind="f8",
        unit="mag",
        description="Scatter of the reference stars",
        ucd=f"stat.stdev;{_ZP}",
    ),
    Field(name="zero_point_stars", kind="i4", null=-1, description="Reference stars used", ucd="meta.number;src"),
    Field(name="color_term", kind="f8", description="Change of the zero point per mag of color", ucd="phot.color"),
    Field(name="color_term_err", kind="f8", description="Error of color_term", ucd="stat.error;phot.color"),
)


class Calibrate(ExposureStage):
    """Zero point of each image, with its error, from stars of a catalog: Gaia, Pan-STARRS, SDSS, or any other.

    The image is opened by ``path``; each star of the catalog is measured in a circle. An image that cannot be
    calibrated has NaN, the flag ``NO_DATA``, and the reason in ``problem_calibrate``.

    Parameters
    ----------
    catalog : Catalog
        Reference stars, as a source `catalog`: ``{files: ps1.fits, survey: ps1-dr2, where: ...}``.
    bands : mapping
        Band of the catalog for each band of images: ``{g: g, r: r}``; equal names by default.
    color : tuple of str, optional
        Two bands of the catalog whose difference of magnitudes is the color: a color term is fitted.
    pivot : float
        Color at which the zero point is given.
    aperture : float
        Diameter of the circle in arcsec: wide enough for all of the light.
    radius : float
        How far in arcsec a star may be from its place in the catalog.
    snr : float
        Least ratio of signal to noise in the image.
    minimum : int
        Fewest stars.
    box : int
        Side in pixels of the boxes of the background.

    Notes
    -----
    ``m = -2.5 log10(counts) + zero_point_fit + color_term (color - pivot)``; robust least squares
    (`astrokeras.photometry.zero_points.fit`). Positions of the catalog are taken as they are, without proper motion.
    """

    name: ClassVar[str] = "calibrate"

    catalog: Catalog
    bands: dict[Band, Band] = Parameter(default={})
    color: tuple[Band, Band] | None = None
    pivot: float = 0.0
    aperture: float = Parameter(default=6.0, gt=0, le=60)
    radius: float = Parameter(default=1.0, gt=0, le=30)
    snr: float = Parameter(default=20.0, gt=0)
    minimum: int = Parameter(default=5, ge=3)
    box: int = Parameter(default=64, ge=8, le=4096)

    @model_validator(mode="after")
    def _bands_are_there(self) -> Self:
        known = bands_of(self.catalog.fields())
        for band in (*self.bands.values(), *(self.color or ())):
            if band not in known:
                raise ValueError(f"the catalog has no band {band!r} (it has {', '.join(known)})")
        return self

    def inputs(self) -> tuple[str, ...]:
        """Files of the catalog.

        Raises
        ------
        IngestError
            If one is missing, no table, or lacks a needed column.
        """
        return checked_files(self.catalog, self._wanted)

    def own(self) -> tuple[Field, ...]:
        """See `ExposureStage.own`."""
        return _FIELDS

    def run(self, chunk: QTable) -> dict[str, Any]:
        """See `Stage.run`.

        Raises
        ------
        IngestError
            If the catalog cannot be read, which is no fault of an image.
        """
        if len(chunk):
            self._reference()
        return super().run(chunk)

    def _reference(self) -> Mapping[str, np.ndarray]:
        """Columns of the catalog."""
        from ..ingest.counterparts import counterparts

        return counterparts(self.catalog, self._wanted, None).columns

    @cached_property
    def _wanted(self) -> tuple[str, ...]:
        known = bands_of(self.catalog.fields())
        return ("ra", "dec", *(f"flux_{band}" for band in known), *(f"flux_err_{band}" for band in known))

    def measure(self, file: ImageFile) -> dict[str, Any]:
        """See `ExposureStage.measure`."""
        from ..photometry import zero_points
        from ..units import MAG_ERROR_SCALE

        place = f"{file.path}, HDU {file.hdu}"
        band = self.bands.get(file.band, file.band)
        if file.wcs is None:
            raise IngestError(f"{place}: has no celestial coordinates; a calibration needs them")
        if band not in bands_of(self.catalog.fields()):
            raise IngestError(f"{place}: the catalog has no band for {file.band!r}; say which in `bands`")
        stars = self._stars(file, band)
        found, scale = measured_sky(file, self.box), file.pixel_scale
        flux, error = zero_points.instrumental(
            found.image,
            found.sky,
            found.noise(),
            stars["x"],
            stars["y"],
            self.aperture / 2 / scale,
            self.radius / scale,
        )
        with np.errstate(invalid="ignore", divide="ignore"):
            good = (flux > self.snr * error) & np.isfinite(stars["mag"] + stars["color"])
            # In units of the pixels in the file.
            difference = stars["mag"] + 2.5 * np.log10(flux / file.recipe.factor)
            errors = np.hypot(error / flux / MAG_ERROR_SCALE, stars["error"])
        if np.count_nonzero(good) < self.minimum:
            raise IngestError(f"{place}: has {np.count_nonzero(good)} reference stars; {self.minimum} are needed")
        color = None if self.color is None else stars["color"][good] - self.pivot
        found = zero_points.fit(difference[good], errors[good], color)
        return {
            "zero_point_fit": found.value,
            "zero_point_err": found.error,
            "zero_point_rms": found.rms,
            "zero_point_stars": found.stars,
            "color_term": found.slope,
            "color_term_err": found.slope_error,
        }

    def _stars(self, file: ImageFile, band: str) -> dict[str, np.ndarray]:
        """Places in the image, magnitudes, errors and colors of the stars of the catalog that lie on the image."""
        from ..images.footprints import pixels_near
        from ..units import MAG_ERROR_SCALE, njy_to_ab

        columns = self._reference()
        x, y = pixels_near(file.wcs, file.shape, columns["ra"], columns["dec"])
        near = np.isfinite(x)
        x, y = x[near], y[near]
        taken = {name: np.asarray(values)[near] for name, values in columns.items()}
        flux, error = taken[f"flux_{band}"], taken[f"flux_err_{band}"]
        mags = {b: njy_to_ab(taken[f"flux_{b}"]) for b in {band, *(self.color or ())}}
        color = np.zeros(len(x)) if self.color is None else mags[self.color[0]] - mags[self.color[1]]
        with np.errstate(invalid="ignore", divide="ignore"):
            errors = np.where(np.isfinite(error), error, 0) / flux / MAG_ERROR_SCALE
        return {"x": x, "y": y, "mag": mags[band], "error": errors, "color": color}
