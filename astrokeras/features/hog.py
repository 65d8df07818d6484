"""Histograms of oriented gradients: where the edges in a stamp point to, cell by cell."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

import numpy as np
from pydantic import Field as Parameter
from pydantic import model_validator

from ..fields import FLAGS, Field
from .colors import Bands
from .stamps import ColumnName, Size, StampStage, both, pixel_flags

if TYPE_CHECKING:
    from astropy.table import QTable

#: Stamps that are worked on at a time.
_BATCH = 16
Norm = Literal["L1", "L1-sqrt", "L2", "L2-Hys"]
Count = Annotated[int, Parameter(ge=1, le=1024)]


def feature_count(
    size: tuple[int, int], orientations: int, pixels_per_cell: tuple[int, int], cells_per_block: tuple[int, int]
) -> int:
    """Length of the descriptor of a stamp of ``size`` pixels.

    Raises
    ------
    ValueError
        If the stamp is smaller than a block.
    """
    cells = [length // cell for length, cell in zip(size, pixels_per_cell, strict=True)]
    blocks = [count - block + 1 for count, block in zip(cells, cells_per_block, strict=True)]
    if min(blocks) < 1:
        needed = [cell * block for cell, block in zip(pixels_per_cell, cells_per_block, strict=True)]
        raise ValueError(
            f"stamps of {size[0]} x {size[1]} pixels (y, x) are smaller than a block, {needed[0]} x {needed[1]} pixels"
        )
    return int(np.prod(blocks) * np.prod(cells_per_block) * orientations)


def hog(
    stamps: np.ndarray,
    orientations: int = 9,
    pixels_per_cell: tuple[int, int] = (8, 8),
    cells_per_block: tuple[int, int] = (2, 2),
    block_norm: Norm = "L2-Hys",
    transform_sqrt: bool = False,
) -> np.ndarray:
    """Histograms of oriented gradients of a stack of stamps (Dalal & Triggs 2005, CVPR 1, 886).

    Parameters
    ----------
    stamps : array_like
        ``(n, y, x)`` or ``(n, y, x, band)``. Of several bands, each pixel counts in the one where its gradient is
        longest.
    orientations : int
        Bins of 180 degrees.
    pixels_per_cell, cells_per_block : tuple of int
        Along y and x. Cells that do not fit into the stamp are left out.
    block_norm : str
        ``L1``, ``L1-sqrt``, ``L2`` or ``L2-Hys``, which clips at 0.2 and normalises again.
    transform_sqrt : bool
        Take the square root of the pixels first.

    Returns
    -------
    ndarray
        ``(n, features)``, in the order blocks (y, x), cells of the block (y, x), orientations; float32 for stamps in
        single or half precision, else float64.

    Raises
    ------
    ValueError
        If the stamps have other dimensions or are smaller than a block, or a parameter is not allowed.

    Notes
    -----
    The values are those of `skimage.feature.hog` on each stamp, to rounding: the bin of a direction is found by cross
    products with the edges of the bins, and by the arctangent where rounding decides.

    A gradient is a difference of neighbours; where one of these is missing (not finite, or with ``transform_sqrt``
    negative) there is none, so that a hole makes no edge. A stamp without any pixel gives NaN.

    Examples
    --------
    >>> ramp = np.arange(16.0) * np.ones((1, 16, 1))
    >>> hog(ramp, orientations=2, cells_per_block=(1, 1)).round(2)
    array([[1., 0., 1., 0., 1., 0., 1., 0.]])
    """
    from .hog_kernels import NORMS, descriptors

    stamps = np.asarray(stamps)
    single = stamps.dtype.kind == "f" and stamps.dtype.itemsize <= 4
    if stamps.ndim not in (3, 4) or (not stamps.size and len(stamps)):
        raise ValueError(f"stamps must have the axes (n, y, x) or (n, y, x, band), got the shape {stamps.shape}")
    if block_norm not in NORMS:
        raise ValueError(f"block_norm must be one of {list(NORMS)}, got {block_norm!r}")
    stamps = stamps if stamps.ndim == 4 else stamps[..., None]
    cell, block = tuple(map(int, pixels_per_cell)), tuple(map(int, cells_per_block))
    if min(orientations, *cell, *block) < 1:
        raise ValueError("orientations, pixels_per_cell and cells_per_block must be positive")
    out = np.empty((len(stamps), feature_count(stamps.shape[1:3], orientations, cell, block)), "f4" if single else "f8")
    # Some at a time, which stay in the cache of the processor.
    for start in range(0, len(stamps), _BATCH):
        part = np.ascontiguousarray(stamps[start : start + _BATCH], out.dtype)
        if transform_sqrt:
            with np.errstate(invalid="ignore"):
                part = np.sqrt(part)
        found = descriptors(part, cell, block, int(orientations), NORMS[block_norm]).reshape(len(part), -1)
        if stamps.dtype.kind == "f":
            found[~np.isfinite(part).any(axis=(1, 2, 3))] = np.nan
        out[start : start + _BATCH] = found
    return out


class Hog(StampStage):
    """Histograms of oriented gradients of stamps: a column of vectors, to be used as an input of models.

    The descriptor of scikit-image, `skimage.feature.hog` (Dalal & Triggs 2005, CVPR 1, 886): it tells disks from arms
    and bars, and one sense of winding from the other; it is blind to brightness and, nearly, to size.

    Missing pixels make no gradient, so that a hole has no edge; the object is flagged ``MASKED_PIXELS``. A stamp
    without any pixel gives NaN and ``NO_IMAGE``.

    Parameters
    ----------
    size : int or tuple of int
        Pixels of the stamps, along both axes or along y and x: how many features there are is known beforehand.
    bands : tuple of str
        Bands of the stamps to use, all if empty. Each pixel counts in the band where its gradient is longest.
    orientations : int
        Bins of 180 degrees.
    pixels_per_cell, cells_per_block : tuple of int
        Along y and x. Cells that do not fit into the stamp are left out.
    block_norm : str
        ``L1``, ``L1-sqrt``, ``L2`` or ``L2-Hys``.
    transform_sqrt : bool
        Take the square root of the pixels first, for images without negative pixels.
    column : str
        Name of the column that is written.
    stamp : str
        Column of the stamps, cells ``(y, x, band)``.

    Examples
    --------
    >>> from astropy.table import QTable
    >>> table = QTable({"stamp": np.random.default_rng(0).normal(size=(2, 64, 64, 3)).astype("f4")})
    >>> Hog(size=64)(table)["hog"].shape
    (2, 1764)
    """

    name: ClassVar[str] = "hog"

    size: Size
    bands: Bands = ()
    orientations: Count = 9
    pixels_per_cell: tuple[Count, Count] = (8, 8)
    cells_per_block: tuple[Count, Count] = (2, 2)
    block_norm: Norm = "L2-Hys"
    transform_sqrt: bool = False
    column: ColumnName = "hog"

    @model_validator(mode="after")
    def _holds_a_block(self) -> Self:
        self._length()
        return self

    def _length(self) -> int:
        return feature_count(both(self.size), self.orientations, self.pixels_per_cell, self.cells_per_block)

    def writes(self) -> tuple[Field, ...]:
        """See `Stage.writes`."""
        said = "Histogram of oriented gradients: blocks (y, x), cells of the block (y, x), {} orientations"
        facts = {
            "orientations": self.orientations,
            "pixels_per_cell": "{},{}".format(*self.pixels_per_cell),
            "cells_per_block": "{},{}".format(*self.cells_per_block),
            "block_norm": self.block_norm,
        }
        described = said.format(self.orientations)
        field = Field(
            name=self.column, shape=(self._length(),), description=described, ucd="src.morph.param", meta=facts
        )
        return (field, FLAGS)

    def run(self, chunk: QTable) -> dict[str, Any]:
        """See `Stage.run`."""
        stamps = self.planes(chunk)
        found = hog(
            stamps,
            self.orientations,
            self.pixels_per_cell,
            self.cells_per_block,
            self.block_norm,
            self.transform_sqrt,
        )
        return {self.column: found, "flags": pixel_flags(stamps)}
