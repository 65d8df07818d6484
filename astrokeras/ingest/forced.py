"""Stage ``forced_photometry``: fluxes in images at the positions of a catalog."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np
from pydantic import Field as Parameter

from ..fields import DEC, FLAGS, RA, Field, flux_field
from ..photometry.forced import measure_on_sky
from ..stage import Stage
from .image_options import ImageFiles

if TYPE_CHECKING:
    from astropy.table import QTable

    from ..photometry.prepared import Prepared


class ForcedPhotometry(ImageFiles, Stage):
    """PSF fluxes in images at the positions of a catalog, detected there or not: ``flux_forced_{band}``.

    The PSF is fitted at the fixed position, each object by itself, so that a result does not depend on the other rows:
    light of a neighbour within two PSF widths counts as the object's own. An object off an image has no flux there, and
    the flag ``NO_IMAGE``. Parameters are also those of `ImageFiles` and `SkyOptions`.

    Parameters
    ----------
    measure : str
        Name in the columns: another one for a second set of images.

    Notes
    -----
    Errors are as in the source ``images``. Fluxes may be negative.
    """

    name: ClassVar[str] = "forced_photometry"

    measure: Annotated[str, Parameter(pattern=r"^[a-z][a-z0-9]*$", max_length=24)] = "forced"

    def inputs(self) -> tuple[str, ...]:
        """Images, files of their PSFs, and the table of their zero points."""
        return self.all_files([self.open(band) for band in self.bands])

    def reads(self) -> tuple[Field, ...]:
        """See `Stage.reads`."""
        return (RA, DEC)

    def writes(self) -> tuple[Field, ...]:
        """See `Stage.writes`."""
        filters = self.known_filters()
        facts = {band: {"filter": filters.get(band), "photometry": "psf", "dereddened": "no"} for band in self.bands}
        kinds = (self.measure, f"err_{self.measure}")
        return (*(flux_field(band, kind, **facts[band]) for band in self.bands for kind in kinds), FLAGS)

    def run(self, chunk: QTable) -> dict[str, Any]:
        """See `Stage.run`."""
        out: dict[str, Any] = {"flags": np.zeros(len(chunk), np.int32)}
        ra, dec = chunk["ra"].value, chunk["dec"].value
        bands = _prepared(self.model_dump_json(), self.states()) if len(chunk) else {}
        for band in self.bands:
            none = np.full(len(chunk), np.nan)
            flux, error, flags = measure_on_sky(bands[band], ra, dec) if bands else (none, none, 0)
            out[f"flux_{self.measure}_{band}"], out[f"flux_err_{self.measure}_{band}"] = flux, error
            out["flags"] |= flags
        return out


@lru_cache(maxsize=2)
def _prepared(settings: str, states: tuple) -> dict[str, Prepared]:
    """Bands of a stage, measured once per process; again when a file changes."""
    from ..photometry.prepared import prepare

    stage = ForcedPhotometry.model_validate_json(settings)
    opened = [stage.open(band) for band in stage.bands]
    psf = stage.read_psfs(opened)
    return {image.band: prepare(image, stage.box, stage.background, psf.get(image.band)) for image in opened}
