"""What ``train: {search: ...}`` says: which settings are tried, how, and by which score. Needs no Keras."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, model_validator
from pydantic import Field as Parameter

from ..errors import did_you_mean
from .methods import Value

#: Scores by task, the default first; True where more is better.
METRICS = {
    "photoz": {
        "crps": False,
        "cde_loss": False,
        "log_likelihood": True,
        "sigma_nmad": False,
        "outlier_fraction": False,
    },
    "classify": {"log_loss": False, "brier": False, "accuracy": True, "balanced_accuracy": True},
}
#: Combinations of a grid, at most.
MAX_GRID = 1000


class Range(BaseModel):
    """Numbers between two ends; whole ones if both ends are.

    Parameters
    ----------
    low, high : int or float
        Ends, both included.
    log : bool
        Equal chances for equal ratios instead of equal differences.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    low: int | float
    high: int | float
    log: bool = False

    @model_validator(mode="after")
    def _rises(self) -> Self:
        if not self.low < self.high:
            raise ValueError(f"a range needs low below high, got {self.low} and {self.high}")
        if self.log and not self.low > 0:
            raise ValueError(f"a logarithmic range needs low above 0, got {self.low}")
        return self

    @property
    def whole(self) -> bool:
        """Whether only whole numbers are meant."""
        return isinstance(self.low, int) and isinstance(self.high, int)


class Search(BaseModel):
    """A search for settings of the recipe; every trial learns from the training rows and is judged on validation rows.

    Parameters
    ----------
    method : str
        ``random``; ``grid``, all combinations; ``halving``, random ones, of which the best third is trained again with
        three times as many epochs (of networks) or rows, and so on (successive halving, Jamieson & Talwalkar 2016);
        ``optuna``, tree-structured Parzen estimators (needs the extra ``optuna``).
    trials : int
        Combinations that are tried; a grid has as many as it has.
    over : dict
        Settings and their values, a list or a range: keys of the recipe of a network (``width``), or parameters of the
        estimator.
    metric : str, optional
        Score that decides; by default ``crps`` for redshifts, ``log_loss`` for classes.
    seed : int
        Of the draws.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    method: Literal["random", "grid", "halving", "optuna"] = "random"
    trials: int = Parameter(default=20, ge=2, le=10_000)
    over: dict[str, Range | tuple[Value, ...]] = Parameter(min_length=1)
    metric: str | None = None
    seed: int = Parameter(default=0, ge=0, lt=2**31)

    @model_validator(mode="after")
    def _usable(self) -> Self:
        combinations = 1
        for name, values in self.over.items():
            if isinstance(values, Range):
                if self.method == "grid":
                    raise ValueError(f"`over`: a grid takes lists, {name!r} is a range")
                continue
            if not values or len(set(map(repr, values))) < len(values):
                raise ValueError(f"`over`: {name!r} needs one value or more, each once, got {list(values)}")
            combinations *= len(values)
        if self.method == "grid" and combinations > MAX_GRID:
            raise ValueError(f"`over`: a grid of {combinations} combinations; at most {MAX_GRID}, or `method: random`")
        if self.method == "optuna" and find_spec("optuna") is None:
            raise ValueError("`method: optuna` needs a package that is not installed: pip install 'astrokeras[optuna]'")
        return self

    def score(self, task: str) -> str:
        """Name of the score that decides.

        Raises
        ------
        ValueError
            If the task has no such score.
        """
        known = METRICS[task]
        if self.metric is not None and self.metric not in known:
            raise ValueError(f"`metric`: no {self.metric!r} for {task}{did_you_mean(self.metric, known)}")
        return self.metric or next(iter(known))

    def ends(self) -> list[tuple[str, Value]]:
        """Every value of every list, and both ends of every range, with its name."""
        found: list[tuple[str, Value]] = []
        for name, values in self.over.items():
            found += [(name, v) for v in ((values.low, values.high) if isinstance(values, Range) else values)]
        return found
