"""The pixels of stamps as one vector."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from pydantic import Field as Parameter
from pydantic import model_validator

from ..fields import FLAGS, Field
from .colors import Bands
from .stamps import ColumnName, Pixels, Size, StampStage, both, pixel_flags

if TYPE_CHECKING:
    from astropy.table import QTable


def binned(stamps: np.ndarray, block: int) -> np.ndarray:
    """Means of the known pixels in blocks of stamps ``(n, y, x, band)``; rows and columns left over are dropped.

    NaN where a block has no known pixel.

    Examples
    --------
    >>> binned(np.arange(16.0).reshape(1, 4, 4, 1), 2)[0, :, :, 0]
    array([[ 2.5,  4.5],
           [10.5, 12.5]])
    """
    n, height, width, count = stamps.shape
    rows, columns = height // block, width // block
    cells = stamps[:, : rows * block, : columns * block].reshape(n, rows, block, columns, block, count)
    known = np.isfinite(cells)
    number = known.sum(axis=(2, 4))
    total = np.where(known, cells, 0).sum(axis=(2, 4), dtype=np.float64)
    return np.divide(total, number, out=np.full(total.shape, np.nan), where=number > 0)


class StampPixels(StampStage):
    """The pixels of stamps as one vector, in the order (y, x, band), for models that take features and no images.

    Parameters
    ----------
    size : int or tuple of int
        Pixels of the stamps, along both axes or along y and x.
    bands : tuple of str
        Bands of the stamps.
    block : int
        Take means over blocks of so many pixels on a side; rows and columns left over are dropped. Missing pixels do
        not count (``MASKED_PIXELS``); a block without any pixel is NaN.
    unit : str
        Of the pixels: ``nJy``, ``ct``, or empty.
    column : str
        Name of the column that is written.
    stamp : str
        Column of the stamps, cells ``(y, x, band)``.

    Examples
    --------
    >>> from astropy.table import QTable
    >>> table = QTable({"stamp": np.ones((3, 64, 64, 2))})
    >>> StampPixels(size=64, bands=["g", "r"], block=4, unit="")(table)["pixels"].shape
    (3, 512)
    """

    name: ClassVar[str] = "pixels"

    size: Size
    bands: Bands = Parameter(min_length=1)
    block: Pixels = 1
    unit: str = "nJy"
    column: ColumnName = "pixels"

    @model_validator(mode="after")
    def _holds_a_block(self) -> Self:
        if min(both(self.size)) < self.block:
            raise ValueError(f"a block of {self.block} pixels is larger than the stamp")
        return self

    def reads(self) -> tuple[Field, ...]:
        """See `Stage.reads`."""
        return (self.stamp_field(unit=self.unit),)

    def writes(self) -> tuple[Field, ...]:
        """See `Stage.writes`."""
        rows, columns = (length // self.block for length in both(self.size))
        said = f"Pixels of the stamp, means of {self.block} x {self.block}" if self.block > 1 else "Pixels of the stamp"
        field = Field(
            name=self.column,
            unit=self.unit,
            shape=(rows * columns * len(self.bands),),
            description=f"{said} (y, x, band)",
            ucd="phot.flux.density" if self.unit == "nJy" else "phot.count" if self.unit == "ct" else "",
            meta={"bands": ",".join(self.bands)},
        )
        return (field, FLAGS)

    def run(self, chunk: QTable) -> dict[str, Any]:
        """See `Stage.run`."""
        stamps = self.planes(chunk)
        vectors = binned(stamps, self.block).reshape(len(stamps), self.writes()[0].shape[0])
        return {self.column: vectors, "flags": pixel_flags(stamps)}
