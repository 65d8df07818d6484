"""The card of a model: what it takes, what it gives, what it was trained on, how good it is. Needs no Keras."""

from __future__ import annotations

import os
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from typing import Annotated, Literal

from pydantic import Field as Parameter
from pydantic import StringConstraints, model_validator

from .. import dates
from ..errors import ModelError, did_you_mean
from ..fields import FACTS, Band, Field, by_name, flux_field
from .calibration import Calibration
from .card_parts import ClassSetRule, Components, Grid, Metric, Morphology, Part, Training

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


class Card(Part):
    """Everything about a model but its weights.

    Parameters
    ----------
    format : int
        Version of this format.
    name, version : str
        ``boss-photoz``, ``1.0.0``.
    task : str
        What `astrokeras.models.columns.decode` makes of the outputs: ``photoz``, ``classify`` or ``morphology``; or
        ``pca``, whose output is a column.
    method : str
        ``keras`` for a network, ``pca`` for a projection, else the name of a method of scikit-learn.
    description, licence, created : str
        For people; the date is ISO and obeys SOURCE_DATE_EPOCH.
    bands : tuple of str
        Order of the bands in the tensors; none where a model takes no photometry.
    inputs : tuple of Field
        Columns of the chunk: ``flux_{band}`` (with filter, photometry and dereddened where known), ``flux_err_{band}``,
        a stamp (cells ``(y, x, band)``), and any further scalars and vectors.
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
    morphology : Morphology, optional
        What a morphology model tells.
    components : Components, optional
        What principal components hold.
    class_fractions : tuple of float
        Share of each class among the training rows, to which the probabilities refer.
    label_balance : float
        ``class_label`` is the class with the largest ``p / share^label_balance``: 0, the most probable one; 1, the one
        that would be if all classes were equally frequent.
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
    task: Literal["photoz", "classify", "morphology", "pca"]
    method: Literal[
        "keras", "random_forest", "hist_gradient_boosting", "svm_rbf", "gaussian_process", "knn", "linear", "pca"
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
    label_balance: float = 0.0
    class_sets: ClassSetRule | None = None
    morphology: Morphology | None = None
    components: Components | None = None
    calibration: Calibration | None = None
    domain: dict[str, tuple[float, float]] = Parameter(default={})
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
        if self.bands and not 1 <= self.min_bands <= len(self.bands):
            raise ValueError(f"min_bands must be 1 to {len(self.bands)}, got {self.min_bands}")
        self._inputs_fit()
        if self.task == "photoz" and self.grid is None:
            raise ValueError("a photoz model needs a grid")
        if self.task == "morphology" and self.morphology is None:
            raise ValueError("a morphology model needs `morphology`: what it tells")
        if len({self.task == "pca", self.method == "pca", self.components is not None}) > 1:
            raise ValueError("a model of the task pca has the method pca, and `components`; no other has")
        if self.task == "pca" and (self.bands or len(self.outputs) != 1 or len(self.outputs[0].shape) != 1):
            raise ValueError("a pca takes no bands and gives one vector")
        if self.tells_classes and len(set(self.classes)) < 2:
            raise ValueError(f"a {self.task} model of classes needs two or more of them, got {list(self.classes)}")
        return self

    def _inputs_fit(self) -> None:
        """Raise ValueError unless there is anything to look at, in shapes that a graph takes."""
        if not (self.bands or self.extras or self.stamp):
            raise ValueError("a model needs bands, a stamp or further inputs")
        stamps = [field.name for field in self.inputs if len(field.shape) == 3]
        if len(stamps) > 1:
            raise ValueError(f"a model takes one stamp, got {', '.join(stamps)}")
        for field in self.inputs:
            if len(field.shape) == 2 or any(n < 1 for n in field.shape):
                shape = field.shape
                raise ValueError(f"input {field.name!r} has cells of shape {shape}; known are (), (k,), (y, x, band)")

    @property
    def tells_classes(self) -> bool:
        """Whether the model has the output ``p_class``."""
        return self.task == "classify" or (self.morphology is not None and self.morphology.kind == "classes")

    @property
    def stamp(self) -> Field | None:
        """The input that is a stamp, if there is one."""
        return next((field for field in self.inputs if len(field.shape) == 3), None)

    @property
    def scores_domain(self) -> bool:
        """Whether the graph says itself how far an object lies from the training rows."""
        return DOMAIN_SCORE.name in by_name(self.outputs)

    @property
    def extras(self) -> tuple[str, ...]:
        """Names of the inputs that are no flux, no flux error and no stamp, in the order of the tensor ``extra``."""
        fluxes = {f"{kind}_{band}" for kind in ("flux", "flux_err") for band in self.bands}
        return tuple(f.name for f in self.inputs if f.name not in fluxes and len(f.shape) < 3)

    @property
    def extra_places(self) -> dict[str, slice]:
        """Where each further input lies in the tensor ``extra``: a scalar takes one place, a vector several."""
        known, places, start = by_name(self.inputs), {}, 0
        for name in self.extras:
            stop = start + (known[name].shape or (1,))[0]
            places[name], start = slice(start, stop), stop
        return places

    @property
    def tensors(self) -> dict[str, tuple[int, ...]]:
        """Names of the graph's inputs and the shape of one row of each."""
        names = ("flux", "flux_err", "observed", *(("limited",) if self.limits else ())) if self.bands else ()
        shapes: dict[str, tuple[int, ...]] = dict.fromkeys(names, (len(self.bands),))
        further = ("extra", "extra_observed") if self.extras_may_miss else ("extra",)
        if self.extras:
            shapes |= dict.fromkeys(further, (list(self.extra_places.values())[-1].stop,))
        if self.stamp:
            shapes |= dict.fromkeys(("stamp", "stamp_observed"), self.stamp.shape)
        return shapes

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
        Bands, and names of further columns: scalars, vectors, a stamp.
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
