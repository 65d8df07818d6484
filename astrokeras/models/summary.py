"""A card in a few lines, for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..fields import Field
from .calibration import Calibration
from .card import Card


def summary(card: Card) -> list[tuple[str, str]]:
    """What a user asks of a model first, as pairs of a name and a text.

    Parameters
    ----------
    card : Card
        Of the model.
    """
    training = card.training
    facts = {
        "model": f"{card.name}@{card.version} ({card.task})",
        "description": card.description,
        "method": card.method,
        "bands": ", ".join(_band(card, band) for band in card.bands),
        "may be missing": ", ".join(card.may_miss),
        "stamps": _stamp(card.stamp),
        "further inputs": ", ".join(card.extras),
        "redshift grid": f"{card.grid.z_min:g} to {card.grid.z_max:g}, {card.grid.n} nodes" if card.grid else "",
        "components": _components(card),
        "trained on": _pairs(training.source),
        "rows": _pairs(training.counts),
        "selection": training.where,
        "split": _pairs({k: v for k, v in training.split.items() if v}),
        "recipe": _pairs({k: v for k, v in training.recipe.items() if v not in ("", None)}),
        **_calibration(card.calibration),
        "search": _pairs(training.search),
        "metrics": "; ".join(f"{m.name} {m.value:.4f} (n = {m.n}, {m.definition})" for m in card.metrics),
        "made with": _pairs(training.versions),
        "created": card.created,
        "licence": card.licence,
        "digest": card.digest,
    }
    return [(name, text) for name, text in facts.items() if text]


def _components(card: Card) -> str:
    if card.components is None:
        return ""
    ratios = card.components.explained_variance_ratio
    first = ", ".join(f"{ratio:.1%}" for ratio in ratios[:8]) + (", ..." if len(ratios) > 8 else "")
    return f"{len(ratios)}, with {sum(ratios):.1%} of the variance ({first})"


def _stamp(field: Field | None) -> str:
    if field is None:
        return ""
    facts = {"unit": field.unit or "none", **field.meta}
    return f"{field.name}, {' x '.join(map(str, field.shape))} (y, x, band; {_pairs(facts)})"


def _calibration(found: Calibration | None) -> dict[str, str]:
    if found is None:
        return {}
    how = f"out of {found.folds} folds" if found.folds else "set aside"
    if found.patches:
        how += f" of whole patches of sky ({found.patches}, told apart by their flux errors)"
    cuts = (
        f">= {cut.quality} (z_risk <= {cut.max_risk:.3g}) keeps {cut.completeness:.1%}, {cut.faint_completeness:.1%} "
        f"of the faintest fifth: sigma_nmad {cut.sigma_nmad:.4f}, outliers {cut.outlier_fraction:.2%}"
        for cut in found.quality
    )
    before, after = (f"{ks:.4f}" if ks is not None else "?" for ks in (found.pit_ks_before, found.pit_ks))
    said = f"{found.rows} rows {how}, by magnitude in {found.band}; PIT KS {before} before, {after} after"
    return {
        "calibrated on": said,
        "z_quality": "; ".join(cuts),
    }


def _band(card: Card, band: str) -> str:
    field = next(f for f in card.inputs if f.name == f"flux_{band}")
    stated = [text for text in (field.filter, field.photometry) if text]
    if field.dereddened:
        stated.append(f"dereddened: {field.dereddened}")
    return f"{band} ({', '.join(stated)})" if stated else band


def _pairs(values: Mapping[str, Any]) -> str:
    texts = (f"{k} {', '.join(map(str, v)) if isinstance(v, list) else v}" for k, v in values.items() if v != [])
    return "; ".join(texts)
