"""A page for people about one product: pictures, scores, odd objects, provenance."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from pydantic import Field as Parameter
from pydantic import model_validator

from ..errors import ChunkError, did_you_mean
from ..fields import Field, bands_of, by_name
from ..stage import Output, Product
from .classes import Classes
from .picks import Pick, Picks, load_picks, lots, merged, pick, save_picks
from .redshifts import Redshifts
from .samples import Columns, Estimate, columns_of, floats, sampled, score, texts
from .scoring import MARKS, unseen

if TYPE_CHECKING:
    from astropy.table import QTable

#: Columns shown of single objects, where they are there.
SHOWN = ("object_id", "field", "ra", "dec", "z_phot", "z_lo", "z_hi", "z_spec", "class_true", "domain_score", "flags")
#: What makes an object doubtful, and what makes it strange: the first column that is there counts.
DOUBT = ("class_entropy", "z_risk")
STRANGE = ("domain_score",)


class Report(Output):
    """One self-contained HTML page: where the objects lie, how they came out, how good that is, which look odd.

    The page has no scripts and loads nothing. What it shows depends on the columns there are: redshifts, classes (of
    every method, with its suffix), stamps, the truth. Numbers of rows and flags are of all rows. Pictures are of a
    sample of the rows, chosen by their identifiers, and say of how many; memory does not grow with the rows.

    Parameters
    ----------
    path : str
        The page.
    title : str, optional
        Heading; by default the name of the pipeline.
    truth : dict
        Column with the truth of an estimate (``class_label_morphology: hubble_class``); by default ``z_spec`` of
        redshifts and ``class_true`` of classes.
    stamps : str, optional
        Column with stamps, ``(y, x, band)``; by default ``stamp`` if it is there.
    images : tuple of str
        One image of the field, or up to three by rising wavelength, with the objects drawn on it.
    sample : int
        Rows in pictures and scores, at most.
    gallery : int
        Objects in each gallery.
    all_rows : bool
        Score all rows of a table without a column ``split``: says that no model was trained on any of them.
    where : str, optional
        Rows to look at.

    Notes
    -----
    Scores are those of `Evaluate`, of the rows in the sample that no model has seen, with errors from 200 bootstrap
    resamples.
    """

    name: ClassVar[str] = "report"

    title: str | None = None
    truth: dict[str, str] = Parameter(default={})
    stamps: str | None = None
    images: tuple[str, ...] = Parameter(default=(), max_length=3)
    sample: int = Parameter(default=20_000, ge=10, le=1_000_000)
    gallery: int = Parameter(default=12, ge=1, le=200)
    all_rows: bool = False

    @model_validator(mode="after")
    def _no_columns(self) -> Self:
        if self.columns is not None:
            raise ValueError("report takes no columns: it knows what it can show")
        return self

    def inputs(self) -> tuple[str, ...]:
        """See `Configured.inputs`: the pictures of the field."""
        return self.images

    def reads(self, available: tuple[Field, ...]) -> tuple[Field, ...]:
        """Columns it can show, of those available.

        Raises
        ------
        ChunkError
            If a column named in ``stamps`` or ``truth`` is missing or unfit.
        """
        have = by_name(available)
        names = [*SHOWN, *DOUBT, *MARKS, *(f"flux_{band}" for band in bands_of(available))]
        for kind in self.kinds(have):
            # Densities are wide, and nothing is made of them without the truth.
            names += [
                n for n in kind.needs() if kind.target in have or not have[n if n in have else kind.estimate].shape
            ]
        stamp = self._stamp(have)
        return tuple(have[name] for name in dict.fromkeys([*names, *([stamp] if stamp else [])]) if name in have)

    def _stamp(self, have: Mapping[str, Field]) -> str | None:
        name = self.stamps or "stamp"
        if name not in have and self.stamps is None:
            return None
        if name not in have:
            raise ChunkError(f"report: no column {name!r}{did_you_mean(name, have)}")
        if len(have[name].shape) != 3:
            raise ChunkError(f"report: column {name!r} has cells of shape {have[name].shape}, not (y, x, band)")
        return name

    def kinds(self, have: Mapping[str, Field]) -> list[Estimate]:
        """Estimates that the columns hold."""
        for name in self.truth:
            if name not in have:
                raise ChunkError(f"report: `truth`: no column {name!r}{did_you_mean(name, have)}")
        redshifts = [n for n in have if n == "z_phot" or n.startswith("z_phot_")]
        labels = [n for n in have if n == "class_label" or n.startswith("class_label_")]
        found: list[Estimate] = [Redshifts.of(have, self.truth.get(n, "z_spec"), n, "report") for n in redshifts]
        return found + [Classes.of(have, self.truth.get(n, "class_true"), n, "report") for n in labels]

    def write(self, chunk: QTable, fields: tuple[Field, ...], piece: Path) -> dict[str, Any]:
        """Choose the rows of a partition that may be shown, and count.

        Raises
        ------
        OutputError
            If a PDF does not say its grid, or a class has no probability.
        """
        known = by_name(fields)
        columns = columns_of(chunk, fields, self.name)
        lot = lots(np.asarray(chunk["object_id"]))
        picks = dict(self._picks(columns, known, lot))
        counts: dict[str, Any] = {"rows": len(chunk), "labels": {}}
        for kind in self.kinds(known):
            if isinstance(kind, Classes):
                counts["labels"][kind.estimate] = dict(Counter(texts(columns[kind.estimate]).tolist()))
            chosen = self._scored(kind, columns, len(chunk))
            counts[f"scored {kind.estimate}"] = int(chosen.sum())
            if chosen.any():
                sample = sampled(kind, columns, chosen, self.name)
                picks[f"scored {kind.estimate}"] = pick(sample, lot[chosen], lot[chosen], self.sample)
        save_picks(piece, picks)
        return counts

    def _picks(self, columns: Columns, known: Mapping[str, Field], lot: np.ndarray) -> Iterator[tuple[str, Pick]]:
        """Rows for the pictures, and for the galleries."""
        stamp = self._stamp(known)
        flat = {n: _stored(c) for n, c in columns.items() if not known[n].shape}
        yield "sample", pick(flat, lot, lot, self.sample)
        shown = flat | ({"stamp": columns[stamp]} if stamp else {})
        for title, candidates in (("doubtful", DOUBT), ("strange", STRANGE)):
            name = next((n for n in candidates if n in flat), None)
            if name is not None:
                yield title, pick(shown, floats(columns[name]), lot, self.gallery)
        if stamp is None:
            return
        labels = next((texts(columns[k.estimate]) for k in self.kinds(known) if isinstance(k, Classes)), None)
        if labels is None:
            yield "gallery", pick(shown, lot, lot, self.gallery)
            return
        for label in np.unique(labels[labels != ""]).tolist():
            yield f"class {label}", pick(shown, np.where(labels == label, lot, np.nan), lot, self.gallery)

    def _scored(self, kind: Estimate, columns: Columns, n: int) -> np.ndarray:
        """Rows of an estimate that can be scored."""
        marked = any(name in columns for name in MARKS)
        if kind.target not in columns or not (marked or self.all_rows):
            return np.zeros(n, bool)
        truth, given = kind.known(columns)
        return unseen(columns, n) & truth & given if marked else truth & given

    def close(self, pieces: list[tuple[Path, dict[str, Any]]], product: Product) -> None:
        """Draw the pictures and write the page; see `Output.close`."""
        from .report_page import Contents, write_page

        picks: Picks = {}
        for path, _ in pieces:
            for name, rows in load_picks(path).items():
                many = name == "sample" or name.startswith("scored ")
                picks[name] = merged(picks.get(name), rows, self.sample if many else self.gallery)
        known = by_name(product.fields)
        kinds = self.kinds(known)
        scores = {
            kind.estimate: score(kind, _without(picks[f"scored {kind.estimate}"]), 200, 1)
            for kind in kinds
            if f"scored {kind.estimate}" in picks
        }
        stamp = self._stamp(known)
        plain = stamp is not None and not known[stamp].unit
        facts = [facts for _, facts in pieces]
        write_page(Contents(self.title, kinds, self.images, plain, picks, facts, scores), product)


def _stored(column: np.ndarray) -> np.ndarray:
    """Column as it goes into a file: masked values become -1, NaN or the empty text."""
    if not np.ma.isMA(column):
        return column
    return column.filled({"f": np.nan, "U": "", "b": False}.get(column.dtype.kind, -1))


def _without(rows: Pick) -> Pick:
    return {name: column for name, column in rows.items() if name not in ("score", "lot")}
