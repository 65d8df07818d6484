"""Search for settings: combinations are drawn, each is trained on the training rows and judged on validation rows.

Rows of the parts ``calibrate`` and ``test`` have no say.
"""

from __future__ import annotations

import itertools
import json
import logging
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import AstrokerasError, TrainingError
from .estimators import drawn, trained
from .examples import Examples
from .learner import Learner, outputs
from .methods import Value
from .recipe import Recipe
from .search_recipe import METRICS, Range, Search

LOG = logging.getLogger("astrokeras")

#: File with the table of trials, beside the model.
TRIALS = "trials.json"
#: Share of the trials that goes on in successive halving, and factor of what they are trained with.
FACTOR = 3
#: Validation rows without which nothing is judged.
FEWEST = 20

Values = dict[str, Value]


@dataclass(frozen=True)
class Trial:
    """One combination of settings, and what came of it.

    Attributes
    ----------
    values : dict
        Settings.
    share : float
        Fraction of the epochs, or of the rows, that it was trained with.
    scores : dict
        On the validation rows set aside to judge; empty if it failed.
    error : str
        Why it failed.
    """

    values: Values
    share: float = 1.0
    scores: Mapping[str, float] | None = None
    error: str = ""

    def row(self, number: int) -> dict[str, Any]:
        """Row of the table of trials."""
        return {
            "trial": number,
            "share": round(self.share, 6),
            "values": self.values,
            "scores": {name: float(value) for name, value in (self.scores or {}).items()},
            "error": self.error,
        }

    def said(self) -> str:
        """Settings and scores in a line."""
        settings = ", ".join(f"{k} {v:.4g}" if isinstance(v, float) else f"{k} {v}" for k, v in self.values.items())
        share = "" if self.share == 1 else f" ({self.share:.3g} of the training)"
        scores = ", ".join(f"{k} {v:.5g}" for k, v in (self.scores or {}).items())
        return f"{settings}{share}: {scores or self.error}"


@dataclass(frozen=True)
class Found:
    """Outcome of a search.

    Attributes
    ----------
    recipe : Recipe
        With the best settings.
    trials : list of Trial
        In the order in which they ran.
    summary : dict
        For the card.
    """

    recipe: Recipe
    trials: list[Trial]
    summary: dict[str, Any]

    def table(self) -> list[dict[str, Any]]:
        """Rows of the table of trials."""
        return [trial.row(number) for number, trial in enumerate(self.trials, 1)]


class _Judge:
    """Trains a combination and judges it, each on rows of its own."""

    def __init__(self, learner: Learner, rows: Mapping[str, Examples], on_epoch: Callable[[str], None] | None):
        search = learner.recipe.search
        held = rows["validate"]
        if len(held) < FEWEST:
            raise TrainingError(
                f"train: a search needs {FEWEST} or more rows to validate on, there are {len(held)}; "
                "give `split: {validate: ...}`"
            )
        # One half ends the training and calibrates, the other judges.
        aside, judged = halves(held, search.seed)
        self.rows = {"train": rows["train"], "validate": aside, "calibrate": aside}
        self.learner, self.judged, self.on_epoch = learner, judged, on_epoch
        self.metric = search.score(learner.recipe.task)
        self.sign = -1 if METRICS[learner.recipe.task][self.metric] else 1
        self.trials: list[Trial] = []

    def __call__(self, values: Values, share: float = 1.0) -> float:
        """Loss of a combination, infinite if it failed."""
        try:
            scores = self._scores(values, share)
            trial = Trial(values, share, scores)
        except (AstrokerasError, ValueError, ArithmeticError) as error:
            trial = Trial(values, share, error=" ".join(str(error).split()))
        self.trials.append(trial)
        LOG.info("trial %d: %s", len(self.trials), trial.said())
        return self.loss(trial)

    def loss(self, trial: Trial) -> float:
        """Score that decides, less is better."""
        value = self.sign * (trial.scores or {}).get(self.metric, math.inf * self.sign)
        return value if math.isfinite(value) else math.inf

    def _scores(self, values: Values, share: float) -> dict[str, float]:
        recipe = self.learner.recipe.with_values(values)
        updates: dict[str, Any] = {}
        if recipe.method != "keras":
            updates["max_rows"] = max(10, round(share * len(drawn(self.rows["train"].target, recipe))))
        else:
            updates["epochs"] = max(1, round(share * recipe.epochs))
            # One network shows what settings are worth; the best get all members.
            updates["members"] = values.get("members", 1)
        learner = replace(self.learner, recipe=recipe.model_copy(update=updates))
        model, _, _ = trained(learner, self.rows, self._note)
        return _measured(learner, model, self.judged)

    def _note(self, text: str) -> None:
        if self.on_epoch is not None:
            self.on_epoch(f"trial {len(self.trials) + 1}, {text}")


def halves(held: Examples, seed: int) -> tuple[Examples, Examples]:
    """Two halves of some rows, drawn at random; rows that may be one object stay together."""
    group = np.arange(len(held)) if held.group is None else held.group
    objects = np.unique(group)
    first = np.random.default_rng(seed).permutation(objects)[: len(objects) // 2]
    inside = np.isin(group, first)
    return held.take(np.flatnonzero(inside)), held.take(np.flatnonzero(~inside))


def searched(learner: Learner, rows: Mapping[str, Examples], on_epoch: Callable[[str], None] | None = None) -> Found:
    """Look for the best settings.

    Parameters
    ----------
    learner : Learner
        Its recipe has a ``search``.
    rows : mapping of Examples
        ``train`` and ``validate``; no other part is touched.
    on_epoch : callable, optional
        Called with a short note after every epoch.

    Raises
    ------
    TrainingError
        If there are too few rows, or every trial failed.
    """
    search = learner.recipe.search
    judge = _Judge(learner, rows, on_epoch)
    {"halving": _halving, "optuna": _optuna}.get(search.method, _plain)(search, judge)
    best = min((t for t in judge.trials if t.share == 1), key=judge.loss)
    if judge.loss(best) == math.inf:
        reasons = list(dict.fromkeys(trial.error for trial in judge.trials if trial.error))
        said = "; ".join(reasons[:3]) or f"{judge.metric} was not finite"
        raise TrainingError(f"train: all {len(judge.trials)} trials of the search failed: {said}")
    summary = {
        **search.model_dump(mode="json", include={"method", "over", "seed"}),
        "trials": len(judge.trials),
        "failed": sum(bool(trial.error) for trial in judge.trials),
        "metric": judge.metric,
        "score": float(best.scores[judge.metric]),
        "judged_on": len(judge.judged),
        "values": best.values,
    }
    return Found(learner.recipe.with_values(best.values), judge.trials, summary)


def _plain(search: Search, judge: _Judge) -> None:
    for values in combinations(search):
        judge(values)


def _halving(search: Search, judge: _Judge) -> None:
    """Train all a little; of the best third each, three times as much, until one round trains as the recipe says."""
    left = list(combinations(search))
    rounds = max(1, math.floor(math.log(len(left), FACTOR) + 1e-9))
    for number in range(rounds, -1, -1):
        losses = [judge(values, FACTOR**-number) for values in left]
        order = np.argsort(losses, kind="stable")
        working = [i for i in order if losses[i] < math.inf]
        if number and not working:
            # None is left to go on with; the last round says that all failed.
            working = order[:1]
        left = [left[i] for i in working[: max(1, len(left) // FACTOR)]]


def _optuna(search: Search, judge: _Judge) -> None:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=search.seed))
    for _ in range(search.trials):
        trial = study.ask()
        loss = judge({name: _suggested(trial, name, values) for name, values in search.over.items()})
        if loss < math.inf:
            study.tell(trial, loss)
        else:
            study.tell(trial, state=optuna.trial.TrialState.FAIL)


def _suggested(trial: Any, name: str, values: Range | tuple[Value, ...]) -> Value:
    if not isinstance(values, Range):
        return trial.suggest_categorical(name, values)
    suggest = trial.suggest_int if values.whole else trial.suggest_float
    return suggest(name, values.low, values.high, log=values.log)


def combinations(search: Search) -> Iterator[Values]:
    """All combinations of a grid; otherwise ``trials`` drawn at random, none twice, or as many as there are."""
    names = list(search.over)
    if search.method == "grid":
        yield from (dict(zip(names, chosen, strict=True)) for chosen in itertools.product(*search.over.values()))
        return
    rng, seen = np.random.default_rng(search.seed), set()
    # Few whole numbers and short lists may run out before the trials do.
    for _ in range(100 * search.trials):
        values = {name: _drawn(rng, search.over[name]) for name in names}
        if len(seen) < search.trials and repr(values) not in seen:
            seen.add(repr(values))
            yield values


def _drawn(rng: np.random.Generator, values: Range | tuple[Value, ...]) -> Value:
    if not isinstance(values, Range):
        return values[rng.integers(len(values))]
    if values.whole and not values.log:
        return int(rng.integers(values.low, values.high + 1))
    low, high = (math.log(values.low), math.log(values.high)) if values.log else (values.low, values.high)
    x = rng.uniform(low, high)
    x = math.exp(x) if values.log else x
    return min(max(round(x), values.low), values.high) if values.whole else float(min(max(x, values.low), values.high))


def _measured(learner: Learner, model: Any, judged: Examples) -> dict[str, float]:
    """All scores of a task."""
    if learner.recipe.task == "classify":
        from .. import class_metrics

        p = outputs(model, judged, "p_class")
        names = METRICS["classify"]
        return {name: float(np.mean(getattr(class_metrics, name)(p, judged.target))) for name in names}
    from .. import metrics
    from ..densities import pdf_summary

    pdf, nodes = outputs(model, judged, "z_pdf"), learner.card.grid.nodes()
    z_phot = pdf_summary(pdf, nodes)["median"]
    scores = metrics.pdf_scores(pdf, nodes, judged.target, z_phot)
    found = {name: float(scores[name].mean()) for name in ("crps", "cde_loss", "log_likelihood")}
    points = {name: float(getattr(metrics, name)(z_phot, judged.target)) for name in ("sigma_nmad", "outlier_fraction")}
    return found | points


def trial_lines(model: Path) -> tuple[str, ...]:
    """Table of trials beside a model, for people; none where it was not searched for."""
    path = model / TRIALS
    if not path.is_file():
        return ()
    rows = json.loads(path.read_text(encoding="utf-8"))
    said = ((row["trial"], Trial(row["values"], row["share"], row["scores"], row["error"]).said()) for row in rows)
    return tuple(f"trial {number}: {text}" for number, text in said)
