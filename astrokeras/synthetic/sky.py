"""Source ``sky``: a simulated field, its images written once, its catalog read as rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from pydantic import Field as Parameter
from pydantic import ValidationInfo, field_validator, model_validator

from ..expression import Expression
from ..fields import DEC, FLAGS, OBJECT_ID, RA, Band, Field, by_name, flux_field
from ..stage import Partition, Source
from .catalog import CLASS_TRUE, Z_SPEC
from .rows import bands_of_system, selected
from .systems import SYSTEMS

if TYPE_CHECKING:
    from astropy.table import QTable

#: Transients of a field by its size in pixels, unless a number is given.
TRANSIENTS = {256: 3, 512: 10, 1024: 30, 2048: 80}

TRUTH = (
    Field(
        name="morphology_true",
        kind="str",
        description="True type: elliptical, lenticular, spiral, barred, irregular, edge-on, or point",
        ucd="src.morph.type",
    ),
    Field(
        name="winding_true",
        kind="str",
        description="Sense of the spiral arms, Z or S with north up and east left; empty without arms",
        ucd="src.morph.type",
    ),
    Field(
        name="r_half",
        kind="f4",
        unit="arcsec",
        description="True half-light radius along the major axis, without the PSF; 0 for points",
        ucd="phys.angSize;src",
    ),
    Field(
        name="bulge_fraction", kind="f4", description="True share of the bulge in the reference band", ucd="src.morph"
    ),
    Field(
        name="bulge_radius",
        kind="f4",
        unit="arcsec",
        description="True half-light radius of the bulge along its major axis",
        ucd="phys.angSize;src",
    ),
    Field(
        name="disk_radius",
        kind="f4",
        unit="arcsec",
        description="True half-light radius of the disk along its major axis",
        ucd="phys.angSize;src",
    ),
    Field(
        name="axis_ratio",
        kind="f4",
        description="True axis ratio, of the disk where there is one",
        ucd="src.morph.param",
    ),
    Field(
        name="position_angle",
        kind="f4",
        unit="deg",
        description="True position angle of the major axis, east of north",
        ucd="pos.posAng",
    ),
    Field(
        name="inclination",
        kind="f4",
        unit="deg",
        description="True inclination of the disk, 0 face-on",
        ucd="src.orbital.inclination",
    ),
)


class Sky(Source):
    """A simulated field: images in several bands and epochs are written once, the rows are its catalog.

    Galaxies of bulge and disk with spiral arms, bars and clumps, stars and quasars in the numbers of the sky; PSF, sky
    and noise of a survey; saturated stars, cosmic rays, a dead column and the edge of a chip; in the second epoch
    another seeing, less depth, and transients. The page "Simulated sky" says how it is made, and how realistic it is.

    The images, ``{path}/sky-{band}-{epoch}.fits``, are made when a run or a plan first needs them, and made again when
    a parameter has changed. A stage that reads images finds them there.

    Parameters
    ----------
    path : str
        Directory of the images, of ``truth.fits`` and of ``simulation.json``, which names the parameters.
    size : int
        Pixels along a side: 256, 512, 1024 or 2048.
    system : {"sdss", "lsst", "decam"}
        Filters, pixels, seeing, sky and depth.
    bands : tuple of str, optional
        Bands with images and fluxes; as for the source ``synthetic``.
    seed : int
        Seed. An image depends on its own band and epoch, and on all else but ``bands``, ``path`` and ``where``.
    epochs : int
        Number of epochs.
    transients : int, optional
        Transients that appear in the second epoch; by default 3, 10, 30 or 80 by size, and none with one epoch.
    star_density : float
        Stars, in units of their number near the Galactic poles; at low latitudes there are several times more.
    where : str, optional
        Selection of rows.

    Notes
    -----
    The rows are the objects in the field down to 1 mag below the depth, most of them too faint to be seen: select with
    ``where: flux_r / flux_err_r > 5``. ``flux_{band}`` is what a fit of the true profile to the first epoch gives, were
    the object alone: noise is drawn with ``flux_err_{band}``, blends are ignored. Scores on these rows are not scores
    on the sky.
    """

    name: ClassVar[str] = "sky"
    version: ClassVar[int] = 1
    places: ClassVar[tuple[str, ...]] = ("path",)

    path: Annotated[str, Parameter(min_length=1)]
    size: Literal[256, 512, 1024, 2048] = 512
    system: Literal["sdss", "lsst", "decam"] = "sdss"
    bands: tuple[Band, ...] = Parameter(default=(), validate_default=True)
    seed: int = Parameter(default=0, ge=0, lt=2**63)
    epochs: int = Parameter(default=2, ge=1, le=20)
    transients: int | None = Parameter(default=None, ge=0, le=10000)
    star_density: float = Parameter(default=1.0, ge=0, le=100)

    @field_validator("bands")
    @classmethod
    def _known_bands(cls, bands: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        # Without a valid system there is nothing to compare with; that error is reported already.
        if "system" not in info.data:
            return bands
        return bands_of_system(bands, info.data["system"]) or SYSTEMS[info.data["system"]].bands

    @model_validator(mode="after")
    def _transients_need_a_second_epoch(self) -> Self:
        if self.transients and self.epochs < 2:
            raise ValueError(f"{self.transients} transients need a second epoch; epochs is 1")
        if self.where:
            Expression.parse(self.where).only(by_name(self.fields()))
        return self

    @property
    def count(self) -> int:
        """Number of transients."""
        if self.transients is not None:
            return self.transients
        return TRANSIENTS[self.size] if self.epochs > 1 else 0

    @property
    def recipe(self) -> dict[str, Any]:
        """What decides the files, as JSON values."""
        chosen = self.model_dump(mode="json", exclude={"path", "where"})
        return {"version": self.version, **chosen, "transients": self.count}

    def image(self, band: str, epoch: int = 1) -> Path:
        """Path of an image."""
        return Path(self.path) / f"sky-{band}-{epoch}.fits"

    @property
    def truth(self) -> Path:
        """Path of the catalog: HDU ``OBJECTS``, and ``TRANSIENTS``."""
        return Path(self.path) / "truth.fits"

    def fields(self) -> tuple[Field, ...]:
        """Fields of the catalog: identifier, position, fluxes and errors, truth, flags."""
        photometry = [
            flux_field(band, measure, filter=SYSTEMS[self.system].filters[band], photometry="model", dereddened="yes")
            for measure in ("", "err", "true")
            for band in self.bands
        ]
        return (OBJECT_ID, RA, DEC, *photometry, Z_SPEC, CLASS_TRUE, *TRUTH, FLAGS)

    def partitions(self, max_rows: int) -> Iterator[Partition]:
        """Make the field unless it is there, and cut its catalog into row ranges.

        Raises
        ------
        IngestError
            If the directory holds files that are not those of a simulated field, or cannot be written.
        """
        from .sky_files import count_rows, write_sky

        write_sky(self)
        rows = count_rows(self.truth)
        for start in range(0, max(rows, 1), max_rows):
            stop = min(start + max_rows, rows)
            payload = {"start": start, "stop": stop}
            yield Partition(f"{start:08d}", rows=stop - start, files=(str(self.truth),), payload=payload)

    def read(self, partition: Partition, columns: Iterable[str]) -> QTable:
        """Read rows of the catalog.

        Raises
        ------
        ChunkError
            If a column is unknown.
        """
        import numpy as np

        from .sky_files import read_truth

        start, stop = partition.payload["start"], partition.payload["stop"]

        def make(names: set[str]) -> dict[str, np.ndarray]:
            made = read_truth(self.truth, names - {"flags"}, start, stop)
            return made | {"flags": np.zeros(stop - start, np.int32)}

        return selected(self, columns, stop - start, make)


def simulate(directory: str | Path, **parameters: Any) -> Sky:
    """Write a simulated field, unless the directory holds it already.

    Parameters
    ----------
    directory : str or Path
        Where the files go.
    **parameters
        Those of `Sky`: ``size``, ``system``, ``bands``, ``seed``, ``epochs``, ``transients``, ``star_density``.

    Returns
    -------
    Sky
        A source of its rows; it knows the paths of the images.

    Raises
    ------
    IngestError
        If the directory holds files that are not those of a simulated field, or cannot be written.
    """
    from .sky_files import write_sky

    sky = Sky(path=str(directory), **parameters)
    write_sky(sky)
    return sky
