"""What the stages have in common that read a column of stamps, cells ``(y, x, band)``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import numpy as np
from pydantic import Field as Parameter
from pydantic import StringConstraints

from ..fields import Field, by_name
from ..flags import Flag
from ..stage import Stage, require

if TYPE_CHECKING:
    from astropy.table import QTable

ColumnName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z]\w*$", max_length=48)]
Pixels = Annotated[int, Parameter(ge=1, le=4096)]
#: A number of pixels, the same along both axes, or one for each.
Size = Pixels | tuple[Pixels, Pixels]


def both(size: int | tuple[int, int]) -> tuple[int, int]:
    """Numbers along y and x."""
    return (size, size) if isinstance(size, int) else tuple(size)


class StampStage(Stage):
    """A stage that reads stamps.

    Parameters
    ----------
    stamp : str
        Column of the stamps, cells ``(y, x, band)``, in any unit.
    """

    stamp: ColumnName = "stamp"

    def stamp_field(self, column: str | None = None, **facts) -> Field:
        """Field of the stamps, or of a column beside them."""
        facts = {"description": "Stamp of the object (y, x, band)", "unit": None} | facts
        return Field(name=column or self.stamp, shape=(-1, -1, -1), **facts)

    def reads(self) -> tuple[Field, ...]:
        """See `Stage.reads`."""
        return (self.stamp_field(),)

    def accepts(self, available: tuple[Field, ...]) -> tuple[str, ...]:
        """See `Stage.accepts`: size and bands of the stamps are known before there are any."""
        found = by_name(available).get(self.stamp)
        if found is not None:
            said = f"{self.stamp!r} has cells of shape {found.shape}"
            require(len(found.shape) == 3, f"{said}; stamps have (y, x, band)")
            self._check_size(found.shape[:2])
            self.places(found.shape[2], found.meta.get("bands"))
        return ()

    def planes(self, chunk: QTable, bands: tuple[str, ...] = ()) -> np.ndarray:
        """Pixels ``(n, y, x, band)`` of some bands, by default those that the stage works on, in its order."""
        column = chunk[self.stamp]
        pixels = np.asarray(getattr(column, "value", column))
        self._check_size(pixels.shape[1:3])
        places = self.places(pixels.shape[3], (column.info.meta or {}).get("bands"), bands)
        return pixels if places == list(range(pixels.shape[3])) else pixels[..., places]

    def _check_size(self, found: tuple[int, ...]) -> None:
        size = getattr(self, "size", None)
        if size is not None and -1 not in found:
            wanted = "{} x {}".format(*both(size))
            message = f"the stamps in {self.stamp!r} have {found[0]} x {found[1]} pixels (y, x), `size` says "
            require(tuple(found) == both(size), message + wanted)

    def places(self, count: int, stated: str | None, bands: tuple[str, ...] = ()) -> list[int]:
        """Where bands (by default those of the stage) stand in the cells; all of them if it names none."""
        wanted = bands or getattr(self, "bands", ())
        if not wanted:
            return list(range(count))
        if stated is None:
            message = f"{self.stamp!r} does not say which bands its {count} are; `bands` names {len(wanted)}"
            require(count in (-1, len(wanted)), message)
            return list(range(len(wanted)))
        known = stated.split(",")
        absent = [band for band in wanted if band not in known]
        require(not absent, f"the stamps in {self.stamp!r} have no band {absent} (have: {known})")
        return [known.index(band) for band in wanted]


def pixel_flags(stamps: np.ndarray) -> np.ndarray:
    """``MASKED_PIXELS`` where some pixels of stamps ``(n, y, x, band)`` are missing, ``NO_IMAGE`` where all are."""
    known = np.isfinite(stamps)
    some, every = known.any(axis=(1, 2, 3)), known.all(axis=(1, 2, 3))
    return np.where(some, np.where(every, 0, Flag.MASKED_PIXELS), Flag.NO_IMAGE).astype(np.int32)
