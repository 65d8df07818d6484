"""Stage ``psf``: point spread functions of images."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, field_validator
from pydantic import Field as Parameter

from ..errors import IngestError
from ..fields import Field
from .rows import ExposureStage, measured_sky

if TYPE_CHECKING:
    from ..images.reader import ImageFile
    from ..photometry.psf_files import Polynomial


class PSFFile(BaseModel):
    """Files of PSF models, by the path of the image: ``replace`` becomes ``by``.

    Parameters
    ----------
    replace : str
        Regular expression, found in the path of an image.
    by : str
        Replacement; ``\\\\1`` for a group.
    kind : str
        ``psfex``, or ``psfield`` of SDSS.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    replace: str = Parameter(min_length=1, max_length=200)
    by: str = Parameter(min_length=1)
    kind: Literal["psfex", "psfield"]

    @field_validator("replace")
    @classmethod
    def _pattern(cls, text: str) -> str:
        try:
            re.compile(text)
        except re.error as error:
            raise ValueError(f"{text!r} is no regular expression: {error}") from None
        return text

    def of(self, path: str) -> str:
        """Path of the file of an image.

        Raises
        ------
        IngestError
            If the rule does not fit the path, or there is no such file.
        """
        made = re.sub(self.replace, self.by, path, count=1)
        if made == path or not os.path.isfile(made):
            raise IngestError(f"{path}: has no PSF file {made}")
        return made


class PSF(ExposureStage):
    """PSF of each image: ``psf_fwhm``, its spread over the image, the stars it was made of, and a stamp.

    From files of PSF models, evaluated in the middle of the image; otherwise from the stars of the image
    (`astrokeras.photometry.psf_stack.estimate`). The image is opened by ``path``; one that has no PSF has NaN, the
    flag ``NO_DATA``, and the reason in ``problem_psf``.

    Parameters
    ----------
    file : PSFFile, optional
        Files of PSF models: ``{replace: "frame-[ugriz]-(.*)\\.fits.*", by: "psField-\\1.fit", kind: psfield}``.
    size : int
        Side of the stamp in pixels, odd.
    minimum : int
        Fewest stars.
    box : int
        Side in pixels of the boxes of the background, for stars.

    Notes
    -----
    ``psf_fwhm`` is the diameter of the circle with the area above half of the maximum. ``psf_spread`` is its standard
    deviation on a grid of 3 x 3 places for a model, and the robust standard deviation of the stars' widths otherwise.
    Neither is that of PSFEx's PSF_FWHM, which comes from the half-light radius.
    """

    name: ClassVar[str] = "psf"

    file: PSFFile | None = None
    size: int = Parameter(default=25, ge=7, le=255)
    minimum: int = Parameter(default=5, ge=1, le=1000)
    box: int = Parameter(default=64, ge=8, le=4096)

    @field_validator("size")
    @classmethod
    def _odd(cls, size: int) -> int:
        if size % 2 == 0:
            raise ValueError(f"size must be odd, so that the PSF has a middle pixel; got {size}")
        return size

    def own(self) -> tuple[Field, ...]:
        """See `ExposureStage.own`."""
        return (
            Field(
                name="psf_fwhm",
                kind="f8",
                unit="arcsec",
                description="FWHM of the PSF",
                ucd="phys.angSize;instr.det.psf",
            ),
            Field(
                name="psf_spread",
                kind="f8",
                unit="arcsec",
                description="Standard deviation of the FWHM over the image",
                ucd="stat.stdev;instr.det.psf",
            ),
            Field(
                name="psf_stars",
                kind="i4",
                null=-1,
                description="Stars that the PSF was made of",
                ucd="meta.number;src",
            ),
            Field(
                name="psf",
                kind="f4",
                shape=(self.size, self.size),
                description="PSF in the middle of the image, sum 1",
                ucd="instr.det.psf",
            ),
        )

    def measure(self, file: ImageFile) -> dict[str, Any]:
        """See `ExposureStage.measure`."""
        stamp, width, spread, stars = self._of_model(file) if self.file else self._of_stars(file)
        scale = np.nan if file.pixel_scale is None else file.pixel_scale
        return {"psf_fwhm": width * scale, "psf_spread": spread * scale, "psf_stars": stars, "psf": stamp}

    def _of_stars(self, file: ImageFile) -> tuple[np.ndarray, float, float, int]:
        from ..photometry.prepared import psf_of_stars

        found = psf_of_stars(measured_sky(file, self.box).samples)
        if found.stars < self.minimum:
            raise IngestError(f"{file.path}, HDU {file.hdu}: has fewer than {self.minimum} stars for a PSF")
        stamp = found.stamps(np.zeros(1), np.zeros(1), self.size // 2)[0]
        return stamp / stamp.sum(), found.fwhm, found.spread, found.stars

    def _of_model(self, file: ImageFile) -> tuple[np.ndarray, float, float, int]:
        from ..photometry.psf_shape import fwhm

        model = self._model(file)
        height, width = file.shape
        places = [(x, y) for y in _thirds(height) for x in _thirds(width)]
        stamps = [model.stamp(x, y, self.size) for x, y in places]
        widths = [fwhm(stamp) for stamp in stamps]
        return stamps[4], widths[4], float(np.std(widths)), model.stars

    def _model(self, file: ImageFile) -> Polynomial:
        from ..images.sdss import cut_off
        from ..photometry.psf_files import read_psfex, read_psfield

        path = self.file.of(file.path)
        if self.file.kind == "psfex":
            return read_psfex(path, {"ccdname": file.hdu})
        return read_psfield(path, file.band, cut_off(file.recipe.plane))


def _thirds(n: int) -> tuple[float, float, float]:
    return ((n - 1) / 6, (n - 1) / 2, 5 * (n - 1) / 6)
