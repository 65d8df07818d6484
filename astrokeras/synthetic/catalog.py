"""Synthetic catalogs of galaxies, stars and quasars with known redshift and class."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Self

from pydantic import Field as Parameter
from pydantic import ValidationInfo, field_validator, model_validator

from ..expression import Expression
from ..fields import DEC, FLAGS, OBJECT_ID, RA, Band, Field, by_name, flux_field
from ..stage import Partition, Source
from .generate import BLOCK, generate
from .rows import bands_of_system, selected
from .systems import SYSTEMS

if TYPE_CHECKING:
    from astropy.table import QTable

Z_SPEC = Field(name="z_spec", kind="f8", description="True redshift, 0 for stars", ucd="src.redshift")
CLASS_TRUE = Field(name="class_true", kind="str", description="True class: GALAXY, STAR or QSO", ucd="src.class")


class Synthetic(Source):
    """Galaxies, stars and quasars with known redshift and class, as a survey would measure them.

    Parameters
    ----------
    rows : int
        Number of objects.
    seed : int
        Seed; a row depends on seed, parameters and its number only, not on partitions or, but for ``missing``, on the
        other bands asked for. NumPy may change its distributions between versions (NEP 19), and the rows with them.
    system : {"sdss", "lsst", "decam"}
        Filter system, with its survey's depth.
    bands : tuple of str, optional
        Bands of the system: ``ugriz`` for sdss, ``ugrizy`` for lsst, ``grizY`` (default ``grz``) for decam.
    depth : dict, optional
        5 sigma AB magnitudes of point sources by band, for bands that differ from the survey: SDSS imaging; LSST after
        ten years (Ivezic et al. 2019); the Legacy Surveys' goal for DECam (Dey et al. 2019), DES-like in i and Y.
    classes : dict
        Shares of ``galaxy``, ``star`` and ``qso``; divided by their sum.
    mag_limit : float, optional
        Faintest true AB magnitude in the reference band (r; i for lsst); by default 1.5 mag brighter than the depth
        (S/N = 20).
    missing : float
        Fraction of rows in which one band, taken at random, was not observed (NaN, flag ``MISSING_BAND``).
    without : tuple of str
        Columns of the truth that are left out, ``z_spec`` or ``class_true``: a match brings them.
    where : str, optional
        Selection of rows.

    Notes
    -----
    *How it is made.* Galaxies are mixtures of the kcorrect templates (Blanton & Roweis 2007) drawn with luminosity
    functions; stars are spectra that follow the SDSS stellar locus (Covey et al. 2007); quasars are power laws with the
    lines of Vanden Berk et al. (2001) and a host; the intergalactic medium absorbs as in Madau (1995); fluxes pass
    through the filter curves of the surveys. See `astrokeras.synthetic.population`, `objects` and `sed`. Errors follow
    Ivezic et al. (2019), see `astrokeras.synthetic.generate.measure`; faint fluxes may be negative.

    *How realistic it is*, against real catalogs, SDSS corrected for the mean extinction of E(B-V) = 0.03:

    - Redshift. Trees (scikit-learn, HistGradientBoosting, magnitudes and colours) that have seen 60 000 synthetic
      galaxies only, and in brackets trees trained on the real sample: sigma_nmad 0.027 (0.027), bias -0.005, 2.6 %
      outliers on 3431 galaxies of the SDSS DR17 spectroscopic sample, r < 21.2; 0.025 (0.017), +0.005 on 1540 luminous
      red galaxies of BOSS DR10, r < 21.2; 0.032 (0.023), -0.008, 4.2 % on 7624 of a cosmoDC2 mock, i < 24, and 0.047
      (0.030), 11 % for i < 25.3. On other synthetic galaxies they score 0.014 (sdss, r < 17.77), 0.035 (sdss), 0.039
      (lsst, i < 25.3) and 0.051 (decam grz): scores on this catalog are not scores on the sky.
    - Class. On 5947 objects of SDSS DR17, r < 21.5, trees that have seen synthetic objects only reach an accuracy of
      0.81 (0.88 when trained on the real ones); on synthetic objects 0.96.
    - Colours. Typical difference of the median, in bins of redshift or g-i: galaxies of SDSS DR17, r < 17.77, 0.13 mag
      in u-g and at most 0.07 in the others; cosmoDC2, i < 24.5, 0.03 to 0.07; quasars 0.8 < z < 3.1 of DR17 0.03 to
      0.06; stars of DR17 0.08 in u-g, 0.02 in the others. Colours in u scatter by only 2/3 of what is observed.
    - Redshift distribution for i < 25.3: 10, 50, 90 % at 0.29, 0.79, 1.80 (cosmoDC2 0.34, 0.88, 1.53).

    Colours were adjusted to bright SDSS DR14 galaxies, red galaxies of BOSS, other objects of the same mock, and the
    quasars of DR17; the galaxies and stars of DR17 were not used. *What it leaves out*:
    sizes (a galaxy has the errors of a point source), blends, clustering, foreground extinction, variability, molecular
    bands of cool stars, active nuclei in galaxies, catastrophic photometry; counts flatten too early beyond i = 24. Do
    not quote its scores as those of a survey, and train for a survey on that survey.
    """

    name: ClassVar = "synthetic"
    version: ClassVar = 1

    rows: int = Parameter(ge=1, le=10**12)
    seed: int = Parameter(default=0, ge=0, lt=2**63)
    system: Literal["sdss", "lsst", "decam"] = "sdss"
    bands: tuple[Band, ...] = Parameter(default=(), validate_default=True)
    depth: dict[Band, Annotated[float, Parameter(ge=15, le=35)]] = Parameter(default={})
    classes: dict[Literal["galaxy", "star", "qso"], Annotated[float, Parameter(ge=0, allow_inf_nan=False)]] = Parameter(
        default={"galaxy": 0.8, "star": 0.15, "qso": 0.05}
    )
    mag_limit: float | None = Parameter(default=None, le=30)
    missing: float = Parameter(default=0.0, ge=0, le=1)
    without: tuple[Literal["z_spec", "class_true"], ...] = ()

    @field_validator("bands")
    @classmethod
    def _known_bands(cls, bands: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        # Without a valid system there is nothing to compare with; that error is reported already.
        if "system" not in info.data:
            return bands
        return bands_of_system(bands, info.data["system"]) or SYSTEMS[info.data["system"]].bands

    @field_validator("depth")
    @classmethod
    def _known_depths(cls, depth: dict[str, float], info: ValidationInfo) -> dict[str, float]:
        if "system" in info.data:
            bands_of_system(depth, info.data["system"])
        return depth

    @field_validator("classes")
    @classmethod
    def _some_class(cls, classes: dict[str, float]) -> dict[str, float]:
        if sum(classes.values()) <= 0:
            raise ValueError("needs a share above 0 for at least one of galaxy, star, qso")
        return classes

    @model_validator(mode="after")
    def _limit_fainter_than_brightest(self) -> Self:
        system = SYSTEMS[self.system]
        if self.faintest < system.bright + 1:
            raise ValueError(f"mag_limit {self.faintest} is too bright; {self.system} starts at {system.bright} mag")
        return self

    @model_validator(mode="after")
    def _known_columns(self) -> Self:
        if self.where:
            Expression.parse(self.where).only(by_name(self._made()))
        return self

    @property
    def faintest(self) -> float:
        """Magnitude limit in the reference band."""
        reference = SYSTEMS[self.system].reference
        return self.depths[reference] - 1.5 if self.mag_limit is None else self.mag_limit

    @property
    def depths(self) -> dict[str, float]:
        """5 sigma magnitudes of all bands of the system."""
        return SYSTEMS[self.system].depth | self.depth

    def fields(self) -> tuple[Field, ...]:
        """Fields of the catalog: identifier, position, fluxes and errors, truth, flags."""
        return tuple(field for field in self._made() if field.name not in self.without)

    def _made(self) -> tuple[Field, ...]:
        """All fields; a condition may name them though they are left out."""
        photometry = [
            flux_field(band, measure, filter=SYSTEMS[self.system].filters[band], photometry="model", dereddened="yes")
            for band in self.bands
            for measure in ("", "err")
        ]
        return (OBJECT_ID, RA, DEC, *photometry, Z_SPEC, CLASS_TRUE, FLAGS)

    def partitions(self, max_rows: int) -> Iterator[Partition]:
        """Ranges of row numbers; whole blocks where they fit, which saves work and changes no value."""
        step = max_rows - max_rows % BLOCK or max_rows
        width = len(str(self.rows))
        for start in range(0, self.rows, step):
            stop = min(start + step, self.rows)
            yield Partition(f"{start:0{width}d}", rows=stop - start, payload={"start": start, "stop": stop})

    def read(self, partition: Partition, columns: Iterable[str]) -> QTable:
        """Make the rows of a partition.

        Raises
        ------
        ChunkError
            If a column is unknown.
        """
        start, stop = partition.payload["start"], partition.payload["stop"]
        return selected(self, columns, stop - start, lambda names: generate(self, start, stop, names))
