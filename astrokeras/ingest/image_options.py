"""Files of images by band: parameters shared by the source ``images`` and the stage ``forced_photometry``."""

from __future__ import annotations

import glob
import os
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field as Parameter
from pydantic import model_validator

from ..errors import IngestError, did_you_mean
from ..fields import Band
from ..images.language import Layout
from ..photometry.detection_options import SkyOptions
from ..surveys.survey import all_located
from .file_states import state
from .image_paths import filled

Path = Annotated[str, Parameter(min_length=1)]


class ImageFiles(SkyOptions):
    """Where the images of the bands are, and their PSFs, besides what `SkyOptions` says.

    Parameters
    ----------
    files : str or dict
        Path of the image of a band, with ``{band}`` or ``{BAND}``; or a path for each band. It may be a pattern that
        one file matches.
    bands : tuple of str
        Bands to measure.
    layout : str or Layout, optional
        Layout of the files; found by their headers otherwise. A ``calibration`` in it gives a zero point to files that
        state none.
    filters : dict
        SVO filter identifiers by band, where no ``layout`` names them.
    calibration : str, optional
        Table that a run of the source ``exposures`` with the stage ``calibrate`` wrote: its ``zero_point_fit`` of the
        same file name, HDU and band is the zero point of an image, whatever the file says.
    psf : str or dict
        Path of the PSF of a band, as for ``files``: an image of it, a PSFEx model, or a psField of SDSS, taken in the
        middle of the image. By default it is made of the image's own stars.
    hdu : int or str, optional
        HDU of the images, if files have several; ``{band}`` may stand in it.
    """

    files: Path | dict[Band, Path]
    bands: tuple[Band, ...] = Parameter(min_length=1)
    layout: str | Layout | None = None
    filters: dict[Band, str] = Parameter(default={})
    calibration: Path | None = None
    psf: Path | dict[Band, Path] | None = None
    hdu: int | str | None = None

    @model_validator(mode="after")
    def _bands_fit(self) -> ImageFiles:
        """Check what can be checked without a file, each problem at its key."""
        problems: list[tuple[tuple[str, ...], str, Any]] = []
        if len(set(self.bands)) < len(self.bands):
            problems.append((("bands",), "names a band twice", list(self.bands)))
        named = {"detect": getattr(self, "detect", None) or (), "filters": self.filters}
        named |= {key: value for key in ("files", "psf") if isinstance(value := getattr(self, key), dict)}
        for key, names in named.items():
            unknown = [name for name in names if name not in self.bands]
            problems += [((key,), f"no band {name!r}{did_you_mean(name, self.bands)}", name) for name in unknown]
        if isinstance(self.files, dict) and (lacks := [b for b in self.bands if b not in self.files]):
            problems.append((("files",), f"no file for band {lacks[0]!r}", None))
        alike = isinstance(self.files, str) and self.files == filled(self.files, "") and not self.hdu
        if alike and len(self.bands) > 1:
            problems.append((("files",), "needs {band} in the path, or `hdu` with it, for several bands", self.files))
        if problems:
            raise all_located(problems)
        return self

    def known_filters(self) -> dict[str, str]:
        """SVO filter identifiers by band, of the layout and of ``filters``."""
        from ..images.layouts import load

        layout = load(self.layout) if isinstance(self.layout, str) else self.layout
        stated = {band: fact.filter for band, fact in layout.bands.items() if fact.filter} if layout else {}
        return stated | self.filters

    def open(self, band: str) -> Any:
        """Open the image of a band.

        Raises
        ------
        IngestError
            If it cannot be read, or nothing tells the flux of a count.
        """
        from ..images.image import require_njy
        from ..images.reader import open_image
        from .image_zero_points import calibrated

        hdu = filled(self.hdu, band) if isinstance(self.hdu, str) else self.hdu
        image = open_image(_path(self.files, band), layout=self.layout, band=band, hdu=hdu)
        if self.calibration is not None:
            image = calibrated(image, self.calibration)
        require_njy(image, "photometry")
        return image

    def psf_path(self, band: str) -> str | None:
        """File of the PSF of a band, if one is given."""
        given = isinstance(self.psf, str) or (self.psf is not None and band in self.psf)
        return _path(self.psf, band) if given else None

    def read_psfs(self, opened: list[Any]) -> dict[str, Any]:
        """PSFs that are given in files, by band of the images."""
        from ..images.sdss import cut_off
        from ..photometry.psf_files import read_psf

        given = [(image, path) for image in opened if (path := self.psf_path(image.band))]
        return {
            image.band: read_psf(path, image.band, image.shape, cut_off(image.recipe.plane)) for image, path in given
        }

    def all_files(self, opened: list[Any]) -> tuple[str, ...]:
        """All files that are read."""
        psfs = [path for image in opened if (path := self.psf_path(image.band))]
        table = () if self.calibration is None else (os.path.expanduser(self.calibration),)
        return tuple(dict.fromkeys([*(path for image in opened for path in image.files), *psfs, *table]))

    def states(self) -> tuple[tuple[str, int, int], ...]:
        """States of the files that are named: what a process measured of others does not hold for them.

        Raises
        ------
        IngestError
            If one is missing.
        """
        named = [_path(self.files, band) for band in self.bands]
        named += [path for band in self.bands if (path := self.psf_path(band))]
        named += [] if self.calibration is None else [os.path.expanduser(self.calibration)]
        return tuple(state(path) for path in named)


def _path(stated: str | Mapping[str, str] | None, band: str) -> str:
    pattern = os.path.expanduser(filled(stated if isinstance(stated, str) else stated[band], band))
    if not glob.has_magic(pattern) or os.path.exists(pattern):
        return pattern
    found = sorted(glob.glob(pattern))
    if len(found) != 1:
        named = ": " + ", ".join(found[:3]) if found else ""
        raise IngestError(f"{pattern}: {len(found)} files match, where band {band!r} needs one{named}")
    return found[0]
