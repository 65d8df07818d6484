"""Rows that are images: what stages read of them, and one result per image, or why there is none."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import AstrokerasError, IngestError
from ..fields import FLAGS, Field
from ..flags import Flag
from ..stage import Stage

if TYPE_CHECKING:
    from astropy.table import QTable

    from ..images.image import Image
    from ..images.reader import ImageFile
    from ..photometry.noise_growth import NoiseGrowth
    from ..photometry.prepared import Sample
    from ..photometry.sky_mesh import SkyMesh

#: Pixels with data that a background needs.
_FEWEST = 25

PROBLEM = Field(
    name="problem", kind="str", description="Why an image could not be used; empty if it could", ucd="meta.note"
)

#: What tells an image.
READS = (
    Field(name="path", kind="str", description="File of the image"),
    Field(name="hdu", kind="str", description="HDU of the image: EXTNAME or number", optional=True),
    Field(name="layout", kind="str", description="Layout of the file", optional=True),
    Field(name="band", kind="str", description="Band of the image", optional=True),
    PROBLEM.model_copy(update={"optional": True}),
)


class ExposureStage(Stage):
    """A stage on rows that are images: each is opened by ``path`` and measured."""

    def own(self) -> tuple[Field, ...]:
        """Fields of floats and integers that `measure` fills; NaN or a masked value where it cannot."""
        raise NotImplementedError

    def measure(self, file: ImageFile) -> dict[str, Any]:
        """Values by name; raises an AstrokerasError where the image cannot be used."""
        raise NotImplementedError

    def reads(self) -> tuple[Field, ...]:
        """See `Stage.reads`."""
        return READS

    def writes(self) -> tuple[Field, ...]:
        """See `Stage.writes`: its own fields, then what is said of an image that cannot be used."""
        said = f"Why the stage {self.name} could not use an image; empty if it could"
        return (*self.own(), PROBLEM.model_copy(update={"name": f"problem_{self.name}", "description": said}), FLAGS)

    def run(self, chunk: QTable) -> dict[str, Any]:
        """See `Stage.run`: images are opened one by one."""
        n, fields = len(chunk), self.own()
        out = {f.name: np.full((n, *f.shape), np.nan if f.kind.startswith("f") else 0, _type(f)) for f in fields}
        known = np.zeros(n, bool)
        before = chunk["problem"] if "problem" in chunk.colnames else np.full(n, "")
        problems = [str(text) for text in before]
        for row in range(n):
            # A file that could not be read before has said so.
            if problems[row]:
                continue
            try:
                values = self.measure(_opened(chunk, row))
            except AstrokerasError as error:
                problems[row] = str(error)
                continue
            known[row] = True
            for name, value in values.items():
                out[name][row] = value
        for field in fields:
            if field.kind.startswith("i") and not known.all():
                out[field.name] = np.ma.MaskedArray(out[field.name], ~known)
        flags = np.where(known, 0, int(Flag.NO_DATA)).astype(np.int32)
        return out | {f"problem_{self.name}": np.array(problems, dtype=str), "flags": flags}


def _type(field: Field) -> type:
    return {"f4": np.float32, "f8": np.float64, "i4": np.int32}[field.kind]


def _opened(chunk: QTable, row: int) -> ImageFile:
    from ..images.reader import open_image

    told = {name: str(chunk[name][row]) or None for name in ("hdu", "layout", "band") if name in chunk.colnames}
    path = str(chunk["path"][row])
    if not path:
        raise IngestError("the row names no file")
    return open_image(path, **told)


@dataclass(frozen=True, eq=False)
class Measured:
    """An image and its sky.

    Attributes
    ----------
    image : Image
        All pixels.
    sky : SkyMesh
        Its sky and noise.
    samples : list of Sample
        Parts that tell its stars and its noise.
    """

    image: Image
    sky: SkyMesh
    samples: list[Sample]

    def noise(self) -> NoiseGrowth:
        """How sums over empty sky are noisier than those of independent pixels of the noise of the sky."""
        from ..photometry import noise_growth

        return noise_growth.measure((sample.data, sample.rms, sample.taken) for sample in self.samples)


def measured_sky(file: ImageFile, box: int, smooth: int = 3) -> Measured:
    """Read an image and measure its sky.

    Parameters
    ----------
    box, smooth : int
        See `astrokeras.photometry.sky_mesh.measure`.

    Raises
    ------
    IngestError
        If too few pixels have data.
    """
    from ..images.image import UNUSABLE
    from ..photometry import sky_mesh
    from ..photometry.prepared import Held, sampled

    image = file.read()
    if np.count_nonzero((image.mask & UNUSABLE) == 0) < _FEWEST:
        raise IngestError(f"{file.path}, HDU {file.hdu}: fewer than {_FEWEST} pixels have data")
    held = Held(image)
    sky = sky_mesh.measure(held, box, smooth=smooth)
    return Measured(image, sky, sampled(held, sky))
