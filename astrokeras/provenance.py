"""Where a result comes from: facts that go into products, and a fuller record that stays in the work directory."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Iterable, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from . import dates
from .stage import Configured, Output, Source
from .trainable import Trainable

if TYPE_CHECKING:
    from .plan import Plan

PACKAGES = ("astrokeras", "keras", "tensorflow", "jax", "torch", "numpy", "astropy", "pandas", "pyarrow", "scipy")


def creation_date() -> str:
    """Date and time (UTC, ISO) to write into products; ``SOURCE_DATE_EPOCH`` replaces the clock."""
    return dates.now().strftime("%Y-%m-%dT%H:%M:%S")


def versions() -> dict[str, str]:
    """Versions of the packages on which results depend, as installed."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def parameters(part: Configured, short: bool = False) -> dict[str, Any]:
    """Parameters of a part as JSON values, without those that only name or place it; ``short``: without defaults."""
    left_out = {"id", "checkpoint", "save"}
    if isinstance(part, Trainable):
        # A model counts by its digest, not by where it lies.
        left_out.add("model")
    if isinstance(part, Output):
        left_out.add("path")
    return part.model_dump(mode="json", exclude=left_out, exclude_defaults=short)


def identity(part: Configured, digest_of: Callable[[str], str]) -> dict[str, Any]:
    """What of a part decides its result: name, version, parameters, model, contents of the files it reads.

    Parameters
    ----------
    digest_of : callable
        Digest of a file.
    """
    facts = {"name": part.name, "version": part.version, "parameters": parameters(part)}
    if isinstance(part, Trainable):
        facts["model"] = part.model_state()
        if part.folds:
            facts["folds"] = [stage.model_state() for stage in part.folds]
    return facts | {"files": [digest_of(path) for path in part.inputs()]}


def source_identity(source: Source, digest_of: Callable[[str], str]) -> dict[str, Any]:
    """What of a source decides its rows; the files themselves count by content, partition by partition."""
    facts = identity(source, digest_of)
    facts["parameters"] = {k: v for k, v in facts["parameters"].items() if k not in source.places}
    return facts


def model_facts(stages: Iterable[Configured]) -> list[dict[str, str]]:
    """Name, version and digest of the models in use."""
    used = [s for s in stages if isinstance(s, Trainable) and s.model is not None]
    return [facts for s in used for facts in _model_facts(s, s.id or s.name)]


def _model_facts(stage: Trainable, name: str) -> list[dict[str, str]]:
    folds = [{"stage": f"{name}.fold{k}", **other.model_facts()} for k, other in enumerate(stage.folds)]
    return [{"stage": name, **stage.model_facts()}, *folds]


def product_facts(
    name: str, digest: str, sources: Sequence[Configured], chains: Sequence[Sequence[Configured]]
) -> dict[str, Any]:
    """Provenance to be written into a product: nothing of when (but the date), where or how fast it was made.

    Parameters
    ----------
    name, digest : str
        Of the pipeline, and of the stages and rows that lead to the product.
    sources : sequence of Configured
        Sources of the fields that it merges; the first one speaks for all.
    chains : sequence of sequence of Configured
        Stages of the fields that it merges; the first ones speak for all, but every model is told.
    """
    models = [facts for stages in chains for facts in model_facts(stages)]
    return {
        "pipeline": name,
        "pipeline_digest": digest,
        "astrokeras_version": version("astrokeras"),
        "date": creation_date(),
        "source": _told(sources[0]),
        "stages": [_told(stage) | ({"id": stage.id} if stage.id else {}) for stage in chains[0]],
        "models": [facts for i, facts in enumerate(models) if facts not in models[:i]],
    }


def _told(part: Configured) -> dict[str, Any]:
    return {"name": part.name, "version": part.version, "parameters": _unplaced(parameters(part, short=True))}


def _unplaced(value: Any) -> Any:
    """JSON value with file names in place of absolute paths."""
    if isinstance(value, dict):
        return {key: _unplaced(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_unplaced(item) for item in value]
    return os.path.basename(value) if isinstance(value, str) and os.path.isabs(value) else value


def machine() -> dict[str, Any]:
    """The machine, for the record of a run (never for products)."""
    return {"python": platform.python_version(), "system": platform.platform(), "cpus": os.cpu_count()}


def opened_record(plan: Plan, stamp: str, files: Callable[[str], str]) -> dict[str, Any]:
    """Record of a run that begins: what it is, and what is left to say."""
    return {
        "pipeline": plan.pipeline.name,
        "pipeline_digest": plan.pipeline.digest,
        "started": stamp,
        "versions": versions(),
        "machine": machine(),
        "stages": [identity(s, files) | {"parameters": parameters(s)} for s in plan.bounds[0].stages],
        "segments": [],
        "products": [],
        "failures": [],
        "seconds": 0.0,
        "error": "killed, or still running",
    }
