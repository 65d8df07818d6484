"""Does a model fit the data: bands, further inputs, and what kind of flux each band holds. Needs no Keras."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ..errors import ModelError, did_you_mean
from ..fields import FACTS, Field, by_name
from .card import Card

#: Facts whose mismatch a pipeline may override.
OVERRIDES = FACTS
#: Relative difference of pixel scales that does not matter.
SCALE_TOLERANCE = 0.1


def match(card: Card, fields: Iterable[Field], override: Iterable[str] = ()) -> tuple[str, ...]:
    """Compare what a model takes with what a source offers, before any data is read.

    Parameters
    ----------
    card : Card
        Of the model.
    fields : iterable of Field
        Columns available to the stage.
    override : iterable of str
        Facts whose mismatch is accepted, out of `OVERRIDES`; the objects are flagged then.

    Returns
    -------
    tuple of str
        Notes: mismatches overridden, bands that are masked, facts that the source does not state.

    Raises
    ------
    ModelError
        If a band or an extra input is missing that the card does not allow to be missing, or a fact differs; names all.
    """
    known = by_name(fields)
    lacking = lacking_bands(card, known)
    if card.stamp is not None:
        same_stamps(card, known[card.stamp.name])
    notes = [f"band {band!r} is not in the data and is masked" for band in lacking]
    notes += [f"input {name!r} is not in the data and is masked" for name in card.extras if name not in known]
    present = [band for band in card.bands if band not in lacking]
    notes += differences(card, {band: known[f"flux_{band}"].facts for band in present}, override)
    stated = by_name(card.inputs)
    for fact in FACTS:
        silent = [b for b in present if fact in stated[f"flux_{b}"].facts and fact not in known[f"flux_{b}"].facts]
        if silent:
            notes.append(f"the data do not state {fact} of {_names(silent)}; not compared with the model's")
    return tuple(notes)


def lacking_bands(card: Card, known: Iterable[str]) -> list[str]:
    """Bands of the model that the data lack, all of which the card allows to be missing."""
    known = set(known)
    if card.stamp is not None and card.stamp.name not in known:
        raise ModelError(f"model {card.name} needs the stamps {card.stamp.name!r}, which the data do not have")
    extras = [name for name in card.extras if name not in known]
    if extras and not card.extras_may_miss:
        raise ModelError(
            f"model {card.name} needs {_names(extras)}, which the data do not have{did_you_mean(extras[0], known)}"
        )
    lacking = [b for b in card.bands if not {f"flux_{b}", f"flux_err_{b}"} <= known]
    refused = [b for b in lacking if b not in card.may_miss]
    if refused:
        allowed = (
            f"only {_names(card.may_miss)} may be missing" if card.may_miss else "none of its bands may be missing"
        )
        raise ModelError(
            f"model {card.name} needs the bands {_names(refused)} (flux_{refused[0]} and flux_err_{refused[0]}, ...), "
            f"which the data do not have; {allowed}"
        )
    if card.bands and len(card.bands) - len(lacking) < card.min_bands:
        raise ModelError(
            f"model {card.name} needs at least {card.min_bands} of its bands {_names(card.bands)}; "
            f"the data lack {_names(lacking)} (columns flux_{lacking[0]} and flux_err_{lacking[0]}, ...; a survey map "
            "makes them of other columns)"
        )
    return lacking


def same_stamps(card: Card, found: Field) -> None:
    """Raise ModelError unless stamps have the shape, bands and pixel scale that a model was trained with.

    What one side does not state is not compared; scales agree within 10 %.
    """
    wanted = card.stamp
    shape = tuple(n if m < 0 else m for n, m in zip(wanted.shape, found.shape, strict=False))
    texts = []
    if len(found.shape) != 3 or shape != wanted.shape:
        texts.append(f"cells of shape {wanted.shape}, the data have {found.shape}")
    ours, theirs = (field.meta.get("bands") for field in (wanted, found))
    if ours and theirs and ours != theirs:
        texts.append(f"the bands {ours!r}, the data have {theirs!r}")
    ours, theirs = (field.meta.get("pixel_scale") for field in (wanted, found))
    if ours and theirs and abs(float(theirs) / float(ours) - 1) > SCALE_TOLERANCE:
        texts.append(f"pixels of {float(ours):g} arcsec, the data have {float(theirs):g}")
    if texts:
        raise ModelError(f"model {card.name}: {wanted.name!r} was trained on with {'; '.join(texts)}")


def differences(card: Card, facts: Mapping[str, Mapping[str, str]], override: Iterable[str]) -> list[str]:
    """Mismatches that are overridden; the others raise. A fact that one side does not state is not compared."""
    override = _checked(override)
    stated = by_name(card.inputs)
    accepted, refused = [], []
    for band, found in facts.items():
        wanted = stated[f"flux_{band}"].facts
        for fact in FACTS:
            ours, theirs = wanted.get(fact), found.get(fact)
            if None in (ours, theirs) or ours == theirs or (fact == "dereddened" and "unverified" in (ours, theirs)):
                continue
            text = f"band {band!r}: the model was trained on {fact} {ours!r}, the data have {theirs!r}"
            (accepted if fact in override else refused).append((fact, text))
    if refused:
        names = ", ".join(sorted({fact for fact, _ in refused}))
        listed = "; ".join(text for _, text in refused)
        raise ModelError(f"model {card.name}: {listed}. `override: [{names}]` accepts this and flags the objects")
    return [f"{text} (overridden)" for _, text in accepted]


def _checked(override: Iterable[str]) -> frozenset[str]:
    override = frozenset(override)
    for name in sorted(override - set(OVERRIDES)):
        raise ModelError(f"override: no fact {name!r}{did_you_mean(name, OVERRIDES)}")
    return override


def _names(names: Iterable[str]) -> str:
    return ", ".join(repr(name) for name in names)
