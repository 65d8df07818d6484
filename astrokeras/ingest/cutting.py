"""Cutting stamps: objects are placed on images, and each image is opened once for all of its objects."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from ..flags import Flag
from ..images.gather import offsets
from ..images.image import LOST, Pixel
from .placing import Placed, Placing, place
from .stamp_pixels import Planes, fill

if TYPE_CHECKING:
    from astropy.table import QTable

    from .regridding import Grid


class NewGrid(Protocol):
    """One grid for all bands: of a band, or of a pixel scale."""

    to: str | None
    pixel_scale: float | None


class Cutting(Placing, Protocol):
    """What is cut out: parameters of the stage ``cutouts``."""

    bands: tuple[str, ...]
    column: str
    errors: bool
    masks: bool
    offsets: bool
    core: float
    pixels: int
    resample: NewGrid | None


def cut(stage: Cutting, chunk: QTable) -> dict[str, Any]:
    """Stamps of the objects of a chunk, as `Cutouts.run` returns them."""
    n, size, column = len(chunk), stage.pixels, stage.column
    out = _empty(stage, n)
    flags = np.zeros(n, np.int32)
    reference = None if stage.resample is None or stage.resample.to is None else place(stage, stage.resample.to, chunk)
    grid = None if stage.resample is None else _grid(stage, chunk, reference)
    for b, band in enumerate(stage.bands):
        own = grid is None or (stage.resample is not None and band == stage.resample.to)
        placed = reference if own and reference is not None else place(stage, band, chunk)
        planes = _planes(stage, out, b, n)
        planes.clear(placed.number < 0)
        for k in np.unique(placed.number[placed.number >= 0]).tolist():
            flags |= fill(planes, placed, k) if own else _regrid(planes, placed, k, grid)
        if stage.offsets:
            dx, dy = (offsets(placed.x, size), offsets(placed.y, size)) if grid is None else (grid.dx, grid.dy)
            out[f"{column}_dx"][:, b], out[f"{column}_dy"][:, b] = dx, dy
        flags |= _flags(planes, placed)
    if stage.positions is None:
        lost = ~np.isfinite(chunk["ra"].value + chunk["dec"].value)
        flags |= np.where(lost, int(Flag.BAD_POSITION), 0).astype(np.int32)
    return out | {"flags": flags}


def _empty(stage: Cutting, n: int) -> dict[str, np.ndarray]:
    """Columns to be filled: as the memory was, since most pixels come from images."""
    column, cells = stage.column, (n, stage.pixels, stage.pixels, len(stage.bands))
    out = {column: np.empty(cells, np.float32)}
    if stage.errors:
        out[f"{column}_err"] = np.empty(cells, np.float32)
    if stage.masks:
        out[f"{column}_mask"] = np.empty(cells, np.int32)
    if stage.offsets:
        out |= {f"{column}_d{axis}": np.full((n, len(stage.bands)), np.nan, np.float32) for axis in "xy"}
    return out


def _planes(stage: Cutting, out: dict[str, np.ndarray], b: int, n: int) -> Planes:
    core = max(1, round(stage.pixels * stage.core))
    return Planes(
        out[stage.column][..., b],
        out[f"{stage.column}_err"][..., b] if stage.errors else None,
        out[f"{stage.column}_mask"][..., b] if stage.masks else None,
        np.zeros((n, core, core), np.uint8),
    )


def _grid(stage: Cutting, chunk: QTable, reference: Placed | None) -> Grid:
    from .regridding import grid_of_band, north_up

    if reference is not None:
        return grid_of_band(reference, stage.pixels)
    return north_up(chunk["ra"].value, chunk["dec"].value, stage.pixels, stage.resample.pixel_scale)


def _regrid(planes: Planes, placed: Placed, k: int, grid: Grid) -> np.ndarray:
    # It brings numba, which takes half a second to import.
    from .regridding import regrid

    return regrid(planes, placed, k, grid)


def _flags(planes: Planes, placed: Placed) -> np.ndarray:
    """Flags of objects in one band, by the masks of their cores."""
    on = placed.number >= 0
    flags = np.where(on, 0, int(Flag.NO_IMAGE))
    bits = np.bitwise_or.reduce(planes.core, axis=(1, 2), initial=0)
    flags[on & (bits & int(LOST) != 0)] |= int(Flag.MASKED_PIXELS)
    flags[on & (bits & int(Pixel.SATURATED) != 0)] |= int(Flag.SATURATED)
    return flags.astype(np.int32)
