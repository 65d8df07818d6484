"""Galactic extinction: how a survey states it, or a map of dust that the user has."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import model_validator

from ..errors import SurveyError
from ..fields import Band
from .skymap import SkyMap
from .statement import Statement
from .vocabulary import Template

if TYPE_CHECKING:
    from sfdmap2.sfdmap import SFDMap

#: Files of the map of Schlegel, Finkbeiner & Davis (1998).
SFD_FILES = ("SFD_dust_4096_ngp.fits", "SFD_dust_4096_sgp.fits")
#: Schlafly & Finkbeiner (2011) find 0.86 times the E(B-V) of SFD98.
SF11 = 0.86


class Extinction(Statement):
    """Galactic extinction; one of the three templates, or a map.

    Parameters
    ----------
    magnitudes : str
        Template of columns of ``A`` per band.
    ebv : str
        Column of ``E(B-V)``; bands have an ``extinction`` then.
    transmission : str
        Template of columns of the linear transmission.
    map : str or SkyMap
        Map of E(B-V): ``sfd``, that of Schlegel, Finkbeiner & Davis (1998), read by ``sfdmap2``; or any in HEALPix.
    path : str, optional
        Folder of the two files of ``sfd``.
    calibration : str, optional
        Of the map ``sfd``, which needs it: ``SFD98``, E(B-V) as published, for coefficients such as those of table 6
        of Schlafly & Finkbeiner (2011), which make up for its calibration; ``SF11``, 0.86 times as much, for plain
        A / E(B-V) of a law.
    coefficients : mapping, optional
        ``A / E(B-V)`` by band, in place of the ``extinction`` of the bands.
    law : str
        Law and calibration, such as ``SFD98``.
    """

    magnitudes: Template | None = None
    ebv: str | None = None
    transmission: Template | None = None
    map: Literal["sfd"] | SkyMap | None = None
    path: str | None = None
    calibration: Literal["SFD98", "SF11"] | None = None
    coefficients: dict[Band, float] | None = None
    law: str = ""

    @model_validator(mode="after")
    def _one(self) -> Extinction:
        if sum(x is not None for x in (self.magnitudes, self.ebv, self.transmission, self.map)) != 1:
            raise ValueError("needs one of magnitudes, ebv, transmission and map")
        sfd = self.map == "sfd"
        if sfd != (self.path is not None) or sfd != (self.calibration is not None):
            raise ValueError("path and calibration belong to `map: sfd`, which needs both")
        if self.coefficients is not None and not self.by_ebv:
            raise ValueError("coefficients belong to E(B-V): ebv or a map")
        return self

    @property
    def by_ebv(self) -> bool:
        """Whether E(B-V) is stated, and bands need a coefficient."""
        return self.ebv is not None or self.map is not None

    @property
    def template(self) -> str | None:
        """Template of the column; None of a map."""
        return self.magnitudes or self.ebv or self.transmission

    def files(self, expand: Callable[[str], str]) -> tuple[str, ...]:
        """Files of the map; ``expand`` fills templates."""
        if self.map is None:
            return ()
        if isinstance(self.map, SkyMap):
            return (os.path.expanduser(expand(self.map.path)),)
        return tuple(os.path.join(os.path.expanduser(self.path or ""), name) for name in SFD_FILES)

    def reddening(self, expand: Callable[[str], str], ra: np.ndarray, dec: np.ndarray) -> np.ndarray:
        """E(B-V) of the map at positions in deg (ICRS); NaN without a position, and outside of the map.

        Raises
        ------
        SurveyError
            If the map cannot be read.
        """
        from .healpix import at

        files = self.files(expand)
        if isinstance(self.map, SkyMap):
            return at(self.map, files[0], expand(self.map.column), ra, dec)
        found = np.full(len(ra), np.nan)
        known = np.isfinite(ra) & np.isfinite(dec)
        scale = SF11 if self.calibration == "SF11" else 1.0
        try:
            found[known] = scale * _sfd(os.path.dirname(files[0]), *map(_state, files)).ebv(ra[known], dec[known])
        except (OSError, KeyError, TypeError) as error:
            raise SurveyError(f"{', '.join(files)}: is no map of dust: {error}") from None
        return found


def _state(path: str) -> tuple[int, int]:
    try:
        facts = os.stat(path)
    except OSError as error:
        raise SurveyError(f"{path}: {error.strerror}") from None
    return facts.st_size, facts.st_mtime_ns


@lru_cache(maxsize=2)
def _sfd(folder: str, north: tuple[int, int], south: tuple[int, int]) -> SFDMap:
    try:
        from sfdmap2.sfdmap import SFDMap
    except ImportError:
        raise SurveyError("the map sfd needs sfdmap2: pip install 'astrokeras[dust]'") from None
    return SFDMap(folder, *SFD_FILES, scaling=1.0)
