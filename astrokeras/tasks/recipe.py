"""The recipe of a training: what every ``train:`` block says."""

from __future__ import annotations

import re
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError, model_validator
from pydantic import Field as Parameter

from ..errors import did_you_mean
from ..models.allowed import ACTIVATIONS, INITIALIZERS
from .methods import KERNELS, METHODS, Name, Value, check_parameters
from .reweighting import Reweight
from .search_recipe import Search
from .stamp_recipe import StampRecipe

_OPTIMIZERS = frozenset(
    ["adadelta", "adafactor", "adagrad", "adam", "adamax", "adamw", "lamb", "lion", "nadam", "rmsprop", "sgd"]
)
_INITIALIZERS = frozenset(re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower() for name in INITIALIZERS)


def _one_of(names: frozenset[str]) -> AfterValidator:
    """A Keras name, known without importing Keras."""

    def check(name: str) -> str:
        if name not in names:
            raise ValueError(f"no {name!r} in Keras{did_you_mean(name, names)}")
        return name

    return AfterValidator(check)


def fold_count(number: int) -> int:
    """Number of folds, which is not 1."""
    if number == 1:
        raise ValueError("one fold leaves nothing to train on; say 0, or 2 and more")
    return number


class Recipe(BaseModel):
    """How a model is built and trained; the defaults serve every survey.

    Parameters
    ----------
    target : str
        Column with the truth.
    allow : tuple of str
        Inputs that may predict the target nearly alone, such as psf - model magnitudes; others are warned about.
    reweight : Reweight, optional
        Weight the training rows so that they look like a field.
    method : str
        ``keras`` for a network, or a method of scikit-learn behind the same inputs, to compare with: then
        ``parameters`` and ``max_rows`` take the place of all that describes a network and its training.
    parameters : dict
        Of the estimator, by the names of scikit-learn; ``kernel`` of a Gaussian process is ``rbf``, ``matern`` or
        ``rational_quadratic``.
    max_rows : int, optional
        Train the estimator on that many rows at most, drawn at random, of classes in their ratio; by default 20 000 for
        support vectors; 1000 for redshifts, 400 for classes by Gaussian processes.
    search : Search, optional
        Look for the best settings first.
    width, depth, members : int
        Units of a layer, residual layers, networks whose probabilities are averaged (Lakshminarayanan et al. 2017).
    activation, initializer : str
        Keras names; ``activation`` may also be ``maxout`` (Goodfellow et al. 2013).
    maxout_pieces : int
        Linear functions of which a unit of ``maxout`` is the largest.
    l1, l2, dropout : float
        Regularisation of the dense layers.
    batch_norm : bool
        Batch normalisation in every residual layer.
    band_dropout : float
        Probability to hide a band during training, so that a missing one makes the result less certain
        instead of breaking it.
    instrument_dropout : float
        Probability to hide, in training, all bands of one instrument, where the filters of the bands name several: an
        object without a match in another survey lacks all of its bands.
    limit_rate : float
        Probability to try, during training, to make a band an upper limit, as a shallower survey would have; 0 makes a
        network that takes no upper limits: they count as missing.
    limit_nsigma : float
        Detection threshold of those simulated limits, in units of their depth (1 sigma).
    errors : bool
        Whether flux errors are inputs of the network. Say false where the training catalog has none of its own (a
        ``constant_error``), so that the model serves catalogs that have.
    error_jitter : float
        Scatter (natural logarithm) by which flux errors are rescaled during training, object by object: errors follow
        the sky and the exposure, and a network that knows a field by them fails on other fields.
    optimizer : str
        Keras name.
    learning_rate, weight_decay : float
        Of the optimizer; ``weight_decay`` needs an optimizer that has it.
    clipnorm : float, optional
        Largest norm of the gradient of all weights together.
    schedule : str
        ``cosine`` (warm-up over 5 %, then to zero) or ``constant``.
    batch_size, epochs, patience : int
        ``patience`` epochs without a better validation loss end the training; the best weights are kept.
    stamp : StampRecipe
        How a network looks at stamps, where there are any.
    seed : int
        Of initial weights, order of rows, dropout.
    threads : int
        Threads of the numerical library: results depend on it in the last bits.
    name : str
        Name of the model; by default that of the directory it is saved in.
    licence, description : str
        Written into the card.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    task: ClassVar[str] = ""
    #: What means the same whatever the method.
    any_method: ClassVar[frozenset[str]] = frozenset(
        [
            "target",
            "allow",
            "reweight",
            "errors",
            "method",
            "search",
            "seed",
            "threads",
            "name",
            "licence",
            "description",
        ]
    )

    target: str
    allow: tuple[str, ...] = ()
    reweight: Reweight | None = None
    method: Name = "keras"
    parameters: dict[str, Value] = {}
    max_rows: int | None = Parameter(default=None, ge=10)
    search: Search | None = None
    width: int = Parameter(default=192, ge=1, le=4096)
    depth: int = Parameter(default=3, ge=1, le=64)
    members: int = Parameter(default=4, ge=1, le=32)
    activation: Annotated[str, _one_of(ACTIVATIONS | {"maxout"})] = "swish"
    # With the largest width, as many units as a saved model may have.
    maxout_pieces: int = Parameter(default=2, ge=2, le=4)
    initializer: Annotated[str, _one_of(_INITIALIZERS)] = "he_normal"
    l1: float = Parameter(default=0.0, ge=0)
    l2: float = Parameter(default=0.0, ge=0)
    dropout: float = Parameter(default=0.0, ge=0, lt=1)
    batch_norm: bool = False
    band_dropout: float = Parameter(default=0.06, ge=0, lt=1)
    instrument_dropout: float = Parameter(default=0.2, ge=0, lt=1)
    limit_rate: float = Parameter(default=0.03, ge=0, lt=1)
    limit_nsigma: float = Parameter(default=5.0, gt=0, le=100)
    errors: bool = True
    error_jitter: float = Parameter(default=0.2, ge=0, le=5)
    optimizer: Annotated[str, _one_of(_OPTIMIZERS)] = "adamw"
    learning_rate: float = Parameter(default=4e-3, gt=0)
    weight_decay: float = Parameter(default=0.2, ge=0)
    clipnorm: float | None = Parameter(default=None, gt=0)
    schedule: Literal["cosine", "constant"] = "cosine"
    batch_size: int = Parameter(default=256, ge=1)
    epochs: int = Parameter(default=60, ge=1)
    patience: int = Parameter(default=15, ge=1)
    stamp: StampRecipe = StampRecipe()
    seed: int = Parameter(default=0, ge=0, lt=2**31)
    threads: int = Parameter(default=2, ge=1, le=256)
    name: str = ""
    licence: str = ""
    description: str = ""

    @model_validator(mode="after")
    def _one_method(self) -> Self:
        """Keys of networks and of estimators exclude each other; an estimator has the parameters it has."""
        estimator = {"parameters", "max_rows"}
        others = estimator if self.method == "keras" else set(type(self).model_fields) - self.any_method - estimator
        wrong = sorted(self.model_fields_set & others)
        if wrong and self.method == "keras":
            methods = ", ".join(METHODS)
            raise ValueError(f"`{wrong[0]}` belongs to the methods of scikit-learn ({methods}); the method is keras")
        if wrong:
            raise ValueError(f"`{'`, `'.join(wrong)}` describe a network; {self.method} takes `parameters`")
        if self.method != "keras":
            check_parameters(self.method, self.task, list(self.parameters))
            kernel = self.parameters.get("kernel", KERNELS[0])
            if kernel not in KERNELS:
                raise ValueError(f"`parameters`: kernel must be one of {', '.join(KERNELS)}, got {kernel!r}")
        return self

    @property
    def steps(self) -> int:
        """How often a training tells of its progress."""
        own = (self.members + getattr(self, "cross_fit", 0)) * self.epochs if self.method == "keras" else 1
        trials = 0 if self.search is None else self.search.trials
        return own + trials * (self.epochs if self.method == "keras" else 1)

    @model_validator(mode="after")
    def _searchable(self) -> Self:
        """Every setting of the search is one, and every value it may take is allowed."""
        if self.search is None:
            return self
        known = self.searchable()
        for name in self.search.over:
            if name not in known:
                raise ValueError(f"`search.over`: {self.method} has no {name!r} to search{did_you_mean(name, known)}")
        self.search.score(self.task)
        for name, value in self.search.ends():
            try:
                self.with_values({name: value})
            except ValidationError as error:
                reason = error.errors()[0]["msg"].removeprefix("Value error, ")
                raise ValueError(f"`search.over`: {name} cannot be {value!r}: {reason}") from None
        return self

    def searchable(self) -> tuple[str, ...]:
        """Names that a search may vary: settings of a network, or parameters of the estimator."""
        if self.method != "keras":
            return METHODS[self.method].names[self.task]
        # What decides the inputs or the columns of a model is settled before.
        settled = {"parameters", "max_rows", "limit_rate", "cross_fit", "magnitude_band", "stamp"}
        return tuple(sorted(set(type(self).model_fields) - self.any_method - settled))

    def with_values(self, values: dict[str, Value]) -> Self:
        """Recipe with other settings of those that `searchable` names, and without a search.

        Raises
        ------
        ValidationError
            If a value is not allowed.
        """
        said = self.model_dump(exclude_unset=True, exclude={"search"})
        if self.method != "keras":
            values = {"parameters": {**self.parameters, **values}}
        return type(self).model_validate({**said, **values})

    def stated(self) -> dict[str, Any]:
        """What decides the training, for a card: of an estimator nothing that describes a network.

        Where a field lies to which rows are weighted is no fact of a model; what it was is in `Training.weighting`.
        """
        if self.method == "keras":
            return self.model_dump(mode="json", exclude={"parameters", "max_rows", "reweight", "search"})
        return self.model_dump(
            mode="json", include={*self.any_method, "parameters", "max_rows"} - {"reweight", "search"}
        )
