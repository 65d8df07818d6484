"""What happens when all partitions have arrived: repeated identifiers are found, rows are split, a stage is fitted."""

from __future__ import annotations

import filecmp
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from astropy.table import QTable

from .errors import StoreError, TrainingError
from .identifiers import duplicates, id_hashes
from .links import Link
from .provenance import identity
from .spec import Split
from .split import Split as Assigned
from .split import assign, divide, row_keys
from .store import Store, beside, digest, made_once, receipt, sweep
from .trainable import Trainable
from .training_rows import Before, TrainingRows
from .walk import needed


def find_repeated(store: Store, links: Sequence[Link]) -> tuple[Path, int]:
    """Keys of object ids that occur more than once: the file that holds them, and how many they are."""
    directory = store.ids(digest(["ids", [link.digest for link in links]]))

    def make(new: Path) -> dict[str, Any]:
        repeated = duplicates(link.parts[-1] / "ids.npy" for link in links)
        np.save(new / "repeated.npy", repeated)
        return {"repeated": len(repeated)}

    made = made_once(directory, make)
    return directory / "repeated.npy", made["repeated"]


@dataclass(frozen=True)
class Fitted:
    """A stage that was fitted.

    Attributes
    ----------
    stage : Trainable
        It uses the model in the work directory.
    links : tuple of Link
        With the split.
    counts : dict
        Rows per part of the split, and what was found on the way.
    folds : tuple of int
        Rows of each fold.
    """

    stage: Trainable
    links: tuple[Link, ...]
    counts: dict[str, int]
    folds: tuple[int, ...] = ()


def train(
    store: Store,
    stage: Trainable,
    links: Sequence[Link],
    split: Split | None,
    digest_of: Callable[[str], str],
    on_epoch: Callable[[str], None],
    again: bool = False,
    before: Before = lambda link: (),
) -> Fitted:
    """Split the rows by object and fit the stage on them, unless that was done before and is not to be done ``again``.

    With folds, models are fitted without each of them, and then one on all rows, which is the one that is saved.
    ``before`` gives the fitted stages before this one: see `TrainingRows`.

    Raises
    ------
    TrainingError
        If the rows cannot give a model, or object ids repeat and no group says which rows are one object.
    """
    meta = {"split": _said(split) or {}, "where": links[0].source.where or "", "source": _source(links)}
    rows = TrainingRows(stage, links, partial(_columns, stage, split), before, meta)
    table, keys = rows.narrow() if stage.streams else (rows.table(), None)
    part = _assigned(stage, table, split, "split" if links[0].split else None, keys)
    table["split"], table["group"] = part.part, part.group
    table.meta.update(meta)
    if part.fold is not None:
        stage = stage.settled(table)
    key = digest(["train", identity(stage, digest_of), [link.digest for link in links], _said(split)])
    folds = []
    for k in range(0 if part.fold is None else split.folds):
        told = partial(_told, on_epoch, f"fold {k + 1} of {split.folds}")
        fit = partial(_fit, rows, table, part, k, told)
        folds.append(_fitted(store.model(digest([key, "fold", k])), stage, fit, again))
    fitted = _fitted(store.model(key), stage, partial(_fit, rows, table, part, None, on_epoch), again)
    if stage.save is not None:
        publish(Path(fitted.model), Path(stage.save))
    moved = _spread(store, key, part, links)
    names, counts = np.unique(part.part, return_counts=True)
    found = {str(n) or "unused": int(c) for n, c in zip(names, counts, strict=True)}
    found |= {"repeated": part.repeated, "withheld": part.withheld}
    sizes = () if part.fold is None else tuple(np.bincount(part.fold[part.fold >= 0]).tolist())
    return Fitted(fitted.with_folds(folds), moved, found, sizes)


def _fit(
    rows: TrainingRows,
    table: QTable,
    part: Assigned,
    k: int | None,
    on_epoch: Callable[[str], None],
    stage: Trainable,
    directory: Path,
) -> None:
    """Fit a stage on the rows that are not in fold k, or on all (None); ``table`` holds them all."""
    chosen = np.ones(len(part.part), bool) if k is None else part.apart(k)
    meta = rows.meta if k is None else {**rows.meta, "split": {**rows.meta["split"], "fold": k}}
    if stage.streams:
        stage.fit_parts(replace(rows, meta=meta).parts(part, chosen, k), directory, on_epoch)
        return
    if rows.redone():
        table = rows.table(k)
        table["split"], table["group"] = part.part, part.group
    table = table if k is None else table[chosen]
    table.meta.update(meta)
    stage.fit(table, directory, on_epoch)


def _fitted(directory: Path, stage: Trainable, fit: Callable[[Trainable, Path], None], again: bool) -> Trainable:
    """The stage with the model that is in a directory; it is made there first, if it is not yet."""
    if again:
        shutil.rmtree(directory, ignore_errors=True)

    def make(new: Path) -> dict[str, Any]:
        fit(stage, new / "model")
        return {"stage": stage.name}

    made_once(directory, make)
    return stage.with_model(directory / "model")


def _told(on_epoch: Callable[[str], None], name: str, note: str = "") -> None:
    on_epoch(f"{name}: {note}")


def _source(links: Sequence[Link]) -> dict[str, Any]:
    """Where the rows came from, for the card: names, not paths."""
    files = sorted({Path(path).name for link in links for path in link.partition.files})
    return {"name": links[0].source.name, "files": files[:20], "number_of_files": len(files)}


def _said(split: Split | None) -> Any:
    return None if split is None else split.model_dump(mode="json", by_alias=True, exclude_none=True)


def _columns(stage: Trainable, split: Split | None, link: Link) -> list[str]:
    keys = [name for name in (split.group, split.by) if name] if split else []
    # A survey map may say which rows are one object, and files to which part they belong.
    own = sorted({"split", "group", *(["fold"] if link.fold else [])} & link.columns())
    return ["object_id", "flags", *(f.name for f in needed(stage)), *keys, *own]


def _assigned(
    stage: Trainable, table: QTable, split: Split | None, divided: str | None, inputs: np.ndarray | None = None
) -> Assigned:
    """Split by object: equal photometry is one object, and what the group column says; and the folds, if there are any.

    ``inputs`` are the keys of the photometry (and of other inputs), where the table does not have these.
    An earlier training has ``divided`` the rows already, in that column: an object tested there is tested here, and
    folds stay what they are.
    """
    split = split or Split()
    ids = id_hashes(np.asarray(table["object_id"]))
    repeats = len(ids) - len(np.unique(ids))
    told = split.group or ("group" if "group" in table.colnames else None)
    if repeats and told is None:
        raise TrainingError(
            f"{repeats} of {len(ids)} object ids repeat an earlier one; name the column that tells objects apart, "
            "`split: {group: object_id}` if equal ids are one object"
        )
    group = {} if told is None else {"group": row_keys([np.asarray(table[told])])}
    # Unique ids join nothing; they name the object for the draw.
    names = {} if repeats else {"object_id": row_keys([ids.view(np.int64)])}
    if inputs is None:
        inputs = row_keys([np.asarray(table[f.name]) for f in stage.reads() if f.name in table.colnames])
    said = divided or split.by or "split"
    fixed = np.asarray(table[said]) if said in table.colnames else None
    keys = {**names, **group, "photometry": inputs}
    part = assign(keys, split.fractions, split.seed, fixed)
    if divided:
        # What could not be used there is not used here: it may be an object that is tested.
        part = replace(part, part=np.where(fixed == "", "", part.part))
    if split.folds is None:
        return part
    if divided:
        return replace(part, fold=np.asarray(table["fold"]))
    return divide(keys, part, split.folds, split.seed)


def _spread(store: Store, key: str, part: Assigned, links: Sequence[Link]) -> tuple[Link, ...]:
    """Store split and folds beside the partitions, and let the links know."""
    directory = store.split(key)

    def make(new: Path) -> dict[str, Any]:
        start = 0
        for link in links:
            rows = receipt(link.parts[-1])["rows"]
            mine = slice(start, start + rows)
            np.save(new / f"{link.number}.npy", part.part[mine])
            if part.fold is not None:
                np.save(new / f"{link.number}.fold.npy", part.fold[mine])
            start += rows
        return {"rows": start}

    made_once(directory, make)
    return tuple(
        replace(
            link,
            split=directory / f"{link.number}.npy",
            fold=None if part.fold is None else directory / f"{link.number}.fold.npy",
            digest=digest([link.digest, "split", key]),
        )
        for link in links
    )


def publish(model: Path, save: Path) -> None:
    """Copy a model directory to where the user wants it; an older model there is replaced, anything else is refused.

    Raises
    ------
    StoreError
        If something that is no model is in the way, or the place cannot be written.
    """
    if save.exists() and not (save / "card.json").exists():
        raise StoreError(f"{save}: exists and is no model; it is not replaced")
    if save.exists() and _equal(save, model):
        return
    try:
        save.parent.mkdir(parents=True, exist_ok=True)
        sweep(save.parent)
        with beside(save) as folder:
            new = shutil.copytree(model, folder / "new")
            if save.exists():
                save.rename(folder / "old")
            new.rename(save)
    except shutil.Error as error:
        # One entry per file; the first reason is the reason of all.
        raise StoreError(f"{save}: cannot save the model ({error.args[0][0][2]})") from None
    except OSError as error:
        raise StoreError(f"{save}: cannot save the model ({error.strerror or error})") from None


def _equal(a: Path, b: Path) -> bool:
    """Whether two directories hold the same files with the same bytes."""
    names = {path.name for path in a.iterdir()}
    return names == {path.name for path in b.iterdir()} and all(
        filecmp.cmp(a / name, b / name, shallow=False) for name in names
    )
