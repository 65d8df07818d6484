"""The card of a model: what it takes, what it gives, what it was trained on, how good it is. Needs no Keras."""

from __future__ import annotations

import os
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from typing import Annotated, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, JsonValue, StringConstraints, model_validator

from .. import dates
from ..errors import ModelError, did_you_mean
from ..fields import FACTS, Band, Field, by_name, flux_field
from .calibration import Calibration

#: Output of a graph: distance to the training rows.
DOMAIN_SCORE = Field(
    name="domain_score",
    description="Distance to the nearest training rows; above 1 (their own 99 % quantile) is out of the domain",
    ucd="stat.value",
)

Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._-]*$", max_length=64)]
Version = Annotated[str, StringConstraints(pattern=r"^\d{1,6}\.\d{1,6}\.\d{1,6}$")]


def created() -> str:
    """Return today's date (UTC, ISO), or that of SOURCE_DATE_EPOCH."""
    return dates.now().date().isoformat()


def versions(*further: str) -> dict[str, str]:
    """Versions of astrokeras, of ``further`` packages and of those that always decide what a training gives.

    None of them is imported.
    """
    backend = os.environ.get("KERAS_BACKEND", "tensorflow")
    found = {"backend": backend}
    for package in ("astrokeras", "keras", backend, "numpy", *further):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


class Part(BaseModel):
    """Base of the parts of a card: immutable, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=(), ser_json_inf_nan="constants")


class Grid(Part):
    """A uniform redshift grid: ``n`` nodes from ``z_min`` to ``z_max``, both included."""

    z_min: float
    z_max: float
    n: int

    @model_validator(mode="after")
    def _rises(self) -> Grid:
        if not (np.isfinite(self.z_min) and np.isfinite(self.z_max) and self.z_min < self.z_max and self.n >= 2):
            raise ValueError(f"z_min must be below z_max and n at least 2, got {self.z_min}, {self.z_max}, {self.n}")
        return self

    def nodes(self) -> np.ndarray:
        """Nodes, float64 ``(n,)``."""
        return np.linspace(self.z_min, self.z_max, self.n)


class Metric(Part):
    """A score with its number of rows, its definition and, if known, its standard error."""

    name: str
    value: float
    n: int
    definition: str = ""
    error: float | None = None


class ClassSetRule(Part):
    """Split-conformal class sets: see `astrokeras.probabilities.conformal_quantile`.

    Parameters
    ----------
    coverage, method : float, str
        Probability that a set holds the true class; how sets are made.
    quantile, n : float, int
        Threshold, and number of rows it comes from.
    """

    coverage: float
    method: Literal["lac", "aps"]
    quantile: float
    n: int


class Training(Part):
    """Where a model comes from.

    Parameters
    ----------
    data, source : str, dict
        Digest of the training rows; where they came from.
    where : str
        Selection; empty for none.
    count, counts : int, dict
        Rows used to fit; rows of each part of the split.
    split : dict
        The rule of the split: fractions, group, seed.
    seed, threads : int
        The result changes with both.
    versions : dict
        See `versions`.
    recipe : dict
        The ``train:`` block, plain JSON, with the settings that a search found.
    search : dict
        What was searched and found: ``over``, ``metric``, ``values``, ``score`` and how many rows judged it.
    notes : tuple of str
        What was suspicious about the training rows.
    weighting : dict
        The field that training rows were weighted to look like, how many of its rows have no training row near them,
        and the effective sample size; empty where all rows weigh the same.
    """

    data: str = ""
    source: dict[str, JsonValue] = {}
    where: str = ""
    count: int = 0
    counts: dict[str, int] = {}
    split: dict[str, JsonValue] = {}
    seed: int = 0
    threads: int = 0
    versions: dict[str, str] = {}
    recipe: dict[str, JsonValue] = {}
    search: dict[str, JsonValue] = {}
    notes: tuple[str, ...] = ()
    weighting: dict[str, JsonValue] = {}


class Card(Part):
    """Everything about a model but its weights.

    Parameters
    ----------
    format : int
        Version of this format.
    name, version : str
        ``boss-photoz``, ``1.0.0``.
    task : str
        What `astrokeras.models.columns.decode` makes of the outputs: ``photoz`` or ``classify``.
    method : str
        ``keras`` for a network, else the name of a method of scikit-learn.
    description, licence, created : str
        For people; the date is ISO and obeys SOURCE_DATE_EPOCH.
    bands : tuple of str
        Order of the bands in the tensors.
    inputs : tuple of Field
        Columns of the chunk: ``flux_{band}`` (with filter, photometry and dereddened where known), ``flux_err_{band}``,
        and any further scalars.
    outputs : tuple of Field
        Outputs of the graph.
    may_miss : tuple of str
        Bands that an object, or a whole catalog, may lack.
    extras_may_miss : bool
        Whether the same holds for the further inputs.
    min_bands : int
        An object with fewer detected bands gets no result, and ``Flag.NO_DATA``.
    limits : bool
        Whether the graph takes upper limits, in the input ``limited``; if not, they count as missing.
    grid : Grid, optional
        Redshift grid of the output ``z_pdf``.
    classes : tuple of str
        Classes in the order of the output ``p_class``.
    class_fractions : tuple of float
        Share of each class among the training rows, to which the probabilities refer.
    class_sets : ClassSetRule, optional
        How ``class_set`` is made.
    calibration : Calibration, optional
        Of redshifts: how it was done, conformal intervals, cuts in quality.
    domain : dict
        Input column to the range that the training rows cover. Outside it, ``Flag.OUT_OF_DOMAIN``, unless the graph
        has an output ``domain_score``, which says it better.
    training : Training
        Data, split, recipe, versions.
    metrics : tuple of Metric
        Scores.
    digest : str
        sha256 of the architecture and the weights; set when the model is saved.
    """

    format: Literal[1] = 1
    name: Name
    version: Version
    task: Literal["photoz", "classify"]
    method: Literal[
        "keras", "random_forest", "hist_gradient_boosting", "svm_rbf", "gaussian_process", "knn", "linear"
    ] = "keras"
    description: str = ""
    licence: str = ""
    created: str = ""
    bands: tuple[Band, ...]
    inputs: tuple[Field, ...]
    outputs: tuple[Field, ...]
    may_miss: tuple[Band, ...] = ()
    extras_may_miss: bool = False
    min_bands: int = 1
    limits: bool = False
    grid: Grid | None = None
    classes: tuple[str, ...] = ()
    class_fractions: tuple[float, ...] = ()
    class_sets: ClassSetRule | None = None
    calibration: Calibration | None = None
    domain: dict[str, tuple[float, float]] = {}
    training: Training = Training()
    metrics: tuple[Metric, ...] = ()
    digest: str = ""

    @model_validator(mode="after")
    def _consistent(self) -> Card:
        known = by_name(self.inputs)
        for band in self.bands:
            for column in (f"flux_{band}", f"flux_err_{band}"):
                if column not in known:
                    raise ValueError(f"inputs lack {column!r} for band {band!r}")
        if len(set(self.bands)) < len(self.bands) or len(known) < len(self.inputs):
            raise ValueError("a band or an input occurs twice")
        for band in self.may_miss:
            if band not in self.bands:
                raise ValueError(f"may_miss: no band {band!r}{did_you_mean(band, self.bands)}")
        for column in self.domain:
            if column not in known:
                raise ValueError(f"domain: no input {column!r}{did_you_mean(column, known)}")
        if not 1 <= self.min_bands <= len(self.bands):
            raise ValueError(f"min_bands must be 1 to {len(self.bands)}, got {self.min_bands}")
        if self.task == "photoz" and self.grid is None:
            raise ValueError("a photoz model needs a grid")
        if self.task == "classify" and len(set(self.classes)) < 2:
            raise ValueError(f"a classify model needs two or more classes, got {list(self.classes)}")
        return self

    @property
    def scores_domain(self) -> bool:
        """Whether the graph says itself how far an object lies from the training rows."""
        return DOMAIN_SCORE.name in by_name(self.outputs)

    @property
    def extras(self) -> tuple[str, ...]:
        """Names of the inputs that are no flux and no flux error, in the order of the tensor ``extra``."""
        fluxes = {f"{kind}_{band}" for kind in ("flux", "flux_err") for band in self.bands}
        return tuple(f.name for f in self.inputs if f.name not in fluxes)

    @property
    def tensors(self) -> dict[str, int]:
        """Names of the graph's inputs and the width of each."""
        names = ("flux", "flux_err", "observed", *(("limited",) if self.limits else ()))
        widths = dict.fromkeys(names, len(self.bands))
        further = ("extra", "extra_observed") if self.extras_may_miss else ("extra",)
        return widths | (dict.fromkeys(further, len(self.extras)) if self.extras else {})

    def source_inputs(self) -> tuple[Field, ...]:
        """Fields for `Stage.reads`: bands that may be missing are optional; the facts are left to `tensors.match`."""
        loose = {f"{kind}_{band}" for kind in ("flux", "flux_err") for band in self.may_miss}
        loose |= set(self.extras) if self.extras_may_miss else set()
        bare = dict.fromkeys(FACTS)
        return tuple(f.model_copy(update={**bare, "optional": f.name in loose}) for f in self.inputs)


def photometry_inputs(
    bands: Iterable[str], fields: Iterable[Field] = (), extras: Iterable[str] = ()
) -> tuple[Field, ...]:
    """Inputs of a card for the given bands, with the facts that ``fields`` (of the training source) state.

    Parameters
    ----------
    bands, extras : iterable of str
        Bands, and names of further scalar columns.
    fields : iterable of Field
        What the training source offers.

    Raises
    ------
    ModelError
        If an extra is not among the fields.
    """
    known = by_name(fields)
    bands, extras = tuple(bands), tuple(extras)
    inputs = []
    for band in bands:
        source = known.get(f"flux_{band}")
        inputs.append(flux_field(band, **(source.facts if source else {})))
    inputs += [flux_field(band, "err") for band in bands]
    for name in extras:
        if name not in known:
            raise ModelError(f"extra input {name!r} is no column{did_you_mean(name, known)}")
        inputs.append(known[name].model_copy(update={"optional": False}))
    return tuple(inputs)
