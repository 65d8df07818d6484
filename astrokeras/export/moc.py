"""Coverage of the sky by rows or by images, as a MOC."""

from __future__ import annotations

import glob
import json
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from pydantic import Field as Parameter
from pydantic import model_validator

from ..errors import ChunkError, OutputError
from ..fields import DEC, RA, Field, by_name
from ..stage import Output, Product
from .atomic import replacing

if TYPE_CHECKING:
    from astropy.table import QTable
    from mocpy import MOC

    from ..images.image import Image
    from ..images.reader import ImageFile

#: Side of a cell of order 0 in arcsec.
_WHOLE = 3600 * np.degrees(np.sqrt(np.pi / 3))
#: Formats by the end of the path.
FORMATS = {".fits": "fits", ".json": "json", ".txt": "ascii", ".moc": "ascii"}


class Moc(Output):
    """What was covered, as a multi-order coverage map (MOC 2.0 of the IVOA).

    Of the rows: the cells of HEALPix that hold one, or that come within ``radius`` of one. With ``images``, the cells
    in which these have pixels with data. For Aladin, TOPCAT and searches in archives. Needs mocpy: ``astrokeras[moc]``.

    Parameters
    ----------
    path : str
        Its end tells the format: ``*.fits``, ``*.json``, or ``*.txt`` or ``*.moc`` for ASCII.
    order : int
        Order of the smallest cells: 12 is 52 arcsec, 16 is 3.2 arcsec.
    radius : float, optional
        In arcsec.
    images : tuple of str
        Files or patterns of images whose coverage counts in place of that of the rows.
    where : str, optional
        Rows that count.
    """

    name: ClassVar[str] = "moc"

    order: int = Parameter(default=12, ge=0, le=20)
    radius: float | None = Parameter(default=None, gt=0, le=36000)
    images: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _can_be_written(self) -> Self:
        if Path(self.path).suffix not in FORMATS:
            raise ValueError(f"path {self.path!r} needs to end in {', '.join(FORMATS)}, which tells the format")
        if self.columns is not None:
            raise ValueError("moc takes no columns: it needs the positions only")
        if self.images and (self.radius is not None or self.where is not None):
            raise ValueError("`radius` and `where` are for rows; with `images` the pixels count")
        return self

    def inputs(self) -> tuple[str, ...]:
        """See `Configured.inputs`: the images."""
        return tuple(self._files())

    def _files(self) -> list[str]:
        files = []
        for pattern in self.images:
            found = sorted(glob.glob(pattern)) if glob.has_magic(pattern) else [pattern]
            if not found:
                raise OutputError(f"moc.images: no file matches {pattern!r}")
            files += found
        return list(dict.fromkeys(files))

    def reads(self, available: tuple[Field, ...]) -> tuple[Field, ...]:
        """Positions.

        Raises
        ------
        ChunkError
            If there are none, or mocpy is not installed.
        """
        if find_spec("mocpy") is None:
            raise ChunkError("moc: the package mocpy is not installed; pip install 'astrokeras[moc]'")
        have = by_name(available)
        for name in (RA.name, DEC.name):
            if name not in have:
                raise ChunkError(f"moc: no column {name!r}")
        return have[RA.name], have[DEC.name]

    def write(self, chunk: QTable, fields: tuple[Field, ...], piece: Path) -> dict[str, Any]:
        """Write the coverage of a partition."""
        from ..chunk import values

        ra, dec = (values(chunk[f.name], "deg", f"moc: column {f.name!r}") for f in fields)
        there = np.isfinite(ra) & np.isfinite(dec)
        cover = _empty(self.order) if self.images else self._around(ra[there], dec[there])
        with replacing(piece, sync=False) as stream:
            stream.write(json.dumps(cover.serialize("json")).encode())
        return {"rows": len(chunk)}

    def _around(self, ra: np.ndarray, dec: np.ndarray) -> MOC:
        from astropy import units as u
        from mocpy import MOC

        if not len(ra):
            return _empty(self.order)
        if self.radius is None:
            return MOC.from_lonlat(ra * u.deg, dec * u.deg, max_norder=self.order)
        size = {"radius": self.radius * u.arcsec, "max_depth": self.order}
        return MOC.from_cones(lon=ra * u.deg, lat=dec * u.deg, **size, union_strategy="small_cones", n_threads=1)

    def close(self, pieces: list[tuple[Path, dict[str, Any]]], product: Product) -> None:
        """Unite the coverage of the partitions.

        Raises
        ------
        OutputError
            If the file cannot be written, an image has no coordinates, or its pixels are larger than the cells.
        """
        from mocpy import MOC

        covers = [MOC.from_json(json.loads(path.read_bytes())) for path, _ in pieces]
        covers += [self._of_image(path) for path in self._files()]
        whole = _empty(self.order)
        for cover in covers:
            whole = whole.union(cover)
        kind = FORMATS[product.path.suffix]
        with replacing(product.path) as stream:
            if kind == "fits":
                hdus = whole.serialize("fits")
                for key, text in _cards(product.provenance):
                    hdus[1].header.add_history(f"{key}: {text}")
                hdus.writeto(stream)
            else:
                stream.write((whole.to_string(kind, fold=80 if kind == "ascii" else 0) + "\n").encode())

    def _of_image(self, path: str) -> MOC:
        from ..images.reader import images_in, open_image

        whole = _empty(self.order)
        for hdu, _ in images_in(path):
            file = open_image(path, hdu=hdu)
            if file.wcs is None:
                raise OutputError(f"{path}, HDU {hdu}: has no coordinates, so its coverage is unknown")
            self._check_order(file)
            for image in _sections(file):
                ra, dec = _with_data(image, file.pixel_scale, self.order)
                whole = whole.union(self._around(ra, dec))
        return whole

    def _check_order(self, file: ImageFile) -> None:
        """Refuse cells narrower than two pixels, of which some would lie between the middles of these."""
        finest = int(np.floor(np.log2(_WHOLE / (2 * file.pixel_scale))))
        if self.order > finest:
            raise OutputError(
                f"{file.path}, HDU {file.hdu}: pixels of {file.pixel_scale:.3g} arcsec are too large for moc.order "
                f"{self.order}, cells of {_cell(self.order):.2g} arcsec; say order: {finest}, or less"
            )


def _cell(order: int) -> float:
    """Side of a cell in arcsec."""
    return _WHOLE / 2**order


def _sections(file: ImageFile, rows: int = 1024) -> Iterator[Image]:
    """Bands of rows of an image, so that a large one does not fill the memory."""
    for start in range(0, file.shape[0], rows):
        yield file.read(rows=slice(start, start + rows))


def _with_data(image: Image, scale: float, order: int) -> tuple[np.ndarray, np.ndarray]:
    """Positions (deg) of the pixels with data, of blocks at most half as wide as a cell."""
    from ..images.sky_grid import positions

    step = max(1, int(_cell(order) / 2 / scale))
    good = np.isfinite(image.data)
    starts = [np.arange(0, n, step) for n in good.shape]
    blocks = np.add.reduceat(np.add.reduceat(good.astype(np.int64), starts[0], axis=0), starts[1], axis=1)
    row, column = np.nonzero(blocks)
    y = np.minimum(starts[0][row] + (step - 1) / 2, good.shape[0] - 1)
    x = np.minimum(starts[1][column] + (step - 1) / 2, good.shape[1] - 1)
    ra, dec = positions(image.wcs, x, y)
    there = np.isfinite(ra) & np.isfinite(dec)
    return ra[there], dec[there]


def _empty(order: int) -> MOC:
    from mocpy import MOC

    return MOC.new_empty(order)


def _cards(provenance: Any) -> list[tuple[str, str]]:
    """Provenance that a header can hold: ASCII."""
    from .facts import flatten

    return [(key, text.encode("ascii", "replace").decode()) for key, text in flatten(provenance)]
