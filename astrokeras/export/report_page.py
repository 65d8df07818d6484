"""Sections of a report and the page that holds them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..fields import bands_of
from ..flags import DESCRIPTIONS, Flag, describe
from ..stage import Product
from . import report_figures as draw
from .atomic import replacing
from .classes import Classes
from .facts import flatten
from .picks import Pick, Picks
from .report_field import field_picture
from .samples import Estimate, texts
from .score_table import COLUMNS, cell
from .stamp_pictures import colours, drawn, png

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Most classes with a gallery of their own.
MOST_CLASSES = 12
TEMPLATES = Path(__file__).with_name("templates")


@dataclass
class Section:
    """A part of the page."""

    id: str
    title: str
    text: str = ""
    figures: list[dict[str, str]] = field(default_factory=list)
    tables: list[dict[str, Any]] = field(default_factory=list)
    galleries: list[dict[str, Any]] = field(default_factory=list)
    facts: list[tuple[str, str]] = field(default_factory=list)

    def add(self, figure: Figure, alt: str, caption: str = "") -> None:
        """Append a figure."""
        self.figures.append({"image": drawn(figure), "alt": alt, "caption": caption or alt})

    @property
    def empty(self) -> bool:
        """Whether there is nothing in it."""
        return not (self.figures or self.tables or self.galleries or self.facts)


@dataclass(frozen=True)
class Contents:
    """What goes on a page.

    Attributes
    ----------
    title : str, optional
        Heading; by default the name of the pipeline.
    kinds : list of Estimate
        Estimates to show.
    images : tuple of str
        Of the field.
    plain : bool
        Stamps are pictures already.
    picks : dict
        Rows to show: ``sample``, ``doubtful``, ``strange``, ``class <label>``, ``scored <estimate>``.
    counts : list of dict
        What was counted in each partition.
    scores : mapping
        Scores by the column of the estimate.
    """

    title: str | None
    kinds: list[Estimate]
    images: tuple[str, ...]
    plain: bool
    picks: Picks
    counts: list[dict[str, Any]]
    scores: Mapping[str, Any]


def write_page(contents: Contents, product: Product) -> None:
    """Write the page.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    facts, picks = product.provenance, contents.picks
    classes = [kind for kind in contents.kinds if isinstance(kind, Classes)]
    label = classes[0].estimate if classes else None
    sections = [
        *([_field(contents.images, picks["sample"], label, bands_of(product.fields))] if "sample" in picks else []),
        *(_estimate(kind, contents) for kind in contents.kinds),
        _galleries(picks, contents.plain, classes),
        _flags(facts),
        Section("provenance", "Provenance", facts=[p for p in flatten(facts) if not p[0].startswith("flags.")]),
    ]
    page = Environment(loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined)
    text = page.get_template("report.html").render(
        title=contents.title or facts.get("pipeline", "Report"),
        subtitle=_subtitle(sum(c["rows"] for c in contents.counts), facts),
        warnings=list(facts.get("warnings", ())),
        sections=[section for section in sections if not section.empty],
    )
    with replacing(product.path) as stream:
        stream.write(text.encode())


def _subtitle(rows: int, facts: Mapping[str, Any]) -> str:
    left = facts.get("rows_left_out_by_where", 0)
    said = f"{rows} objects" + (f", {left} more left out by where" if left else "")
    return f"{said}; {facts.get('date', '')}; astrokeras {facts.get('astrokeras_version', '')}"


def _field(images: tuple[str, ...], rows: Pick, label: str | None, bands: tuple[str, ...]) -> Section:
    section = Section("field", "The field")
    labels = draw.labels_of(rows, label)
    of = f"{len(rows['score'])} objects"
    if images:
        picture, x, y = field_picture(images, rows)
        section.add(draw.field_figure(picture, x, y, labels), "Image of the field with the objects", f"{of} in rings")
    if "ra" in rows and "dec" in rows and np.isfinite(rows["ra"]).any():
        section.add(draw.sky_figure(rows, labels), "Positions of the objects on the sky", f"Positions of {of}")
    if bands:
        section.add(
            draw.magnitude_figure(rows, bands), "Histogram of magnitudes", f"Magnitudes of {of}, where positive"
        )
    return section


def _estimate(kind: Estimate, contents: Contents) -> Section:
    picks, counts, scores = contents.picks, contents.counts, contents.scores.get(kind.estimate)
    of_classes = isinstance(kind, Classes)
    section = Section(kind.estimate, f"{'Classes' if of_classes else 'Redshifts'}: {kind.estimate}")
    if of_classes:
        section.add(
            draw.label_counts_figure(_labels(kind.estimate, counts)), "Objects by class", "All objects by class"
        )
    elif "sample" in picks:
        z = picks["sample"][kind.estimate]
        section.add(draw.distribution_figure(z), "Distribution of redshifts", f"{np.isfinite(z).sum()} objects")
    if scores is None:
        section.text = f"Not scored: no rows that no model has seen, with a true value in {kind.target}."
        return section
    total = sum(c[f"scored {kind.estimate}"] for c in counts)
    section.text = f"Scored on {scores['n']} of {total} rows that no model has seen and that have a true value."
    _add_scores(section, kind, picks[f"scored {kind.estimate}"], scores)
    return section


def _labels(estimate: str, counts: list[dict[str, Any]]) -> dict[str, int]:
    out: dict[str, int] = {}
    for facts in counts:
        for name, count in facts["labels"].get(estimate, {}).items():
            out[name] = out.get(name, 0) + count
    return out


def _add_scores(section: Section, kind: Estimate, sample: Pick, scores: Mapping[str, Any]) -> None:
    shown = [column for column in COLUMNS if column[1] in scores]
    baseline = kind.baseline({k: v for k, v in sample.items() if k not in ("score", "lot")})
    rows = [["this"] + [cell(scores[key], *how) for _, key, *how in shown]]
    rows.append(["baseline"] + [cell(baseline.get(key), *how) for _, key, *how in shown])
    heading = ["", *(column[0] for column in shown)]
    section.tables.append({"title": "", "heading": heading, "rows": rows, "numbers": True})
    if isinstance(kind, Classes):
        section.add(draw.confusion_figure(scores["confusion"]), "Confusion matrix", "True classes against labels")
        section.add(draw.reliability_figure(scores), "Reliability of the probabilities")
    else:
        section.add(draw.scatter_figure(sample), "Photometric against true redshift", "Dashed: limits of outliers")
        if scores.get("pit_histogram") and scores.get("n_pdf"):
            section.add(draw.pit_figure(scores), "PIT histogram", "Flat, within the grey band, where p(z) is right")


def _galleries(picks: Picks, plain: bool, kinds: Iterable[Classes]) -> Section:
    section = Section("objects", "Objects")
    names = sorted(name for name in picks if name.startswith("class "))
    titles = {name: f"Labelled {name.removeprefix('class ')}, drawn at random" for name in names[:MOST_CLASSES]}
    titles |= {"gallery": "Drawn at random", "doubtful": "Most uncertain", "strange": "Least like the training rows"}
    for name, title in titles.items():
        rows = picks.get(name)
        if rows is None or not len(rows["score"]):
            continue
        if "stamp" in rows:
            shown = [_stamp(rows, i, plain, kinds) for i in range(len(rows["score"]))]
            section.galleries.append({"title": title, "stamps": shown})
        else:
            section.tables.append({"title": title, **_listed(rows)})
    return section


def _stamp(rows: Pick, i: int, plain: bool, kinds: Iterable[Classes]) -> dict[str, Any]:
    lines = []
    for kind in kinds:
        p = [float(rows[column][i]) for column in kind.columns]
        best = int(np.argmax(np.where(np.isfinite(p), p, -1)))
        if np.isfinite(p[best]):
            lines.append(f"{kind.names[best]} {p[best]:.2f}")
    if "class_true" in rows and texts(rows["class_true"])[i]:
        lines.append(f"true: {rows['class_true'][i]}")
    if "z_phot" in rows and np.isfinite(rows["z_phot"][i]):
        lines.append(f"z = {rows['z_phot'][i]:.3f}")
    return {"name": str(rows["object_id"][i]), "image": png(colours(rows["stamp"][i], plain)), "lines": lines}


def _listed(rows: Pick) -> dict[str, Any]:
    names = [n for n in rows if n not in ("score", "lot", "split", "fold") and not n.startswith("flux_")]
    cells = [[_cell(name, rows[name][i]) for name in names] for i in range(len(rows["score"]))]
    return {"heading": names, "rows": cells, "numbers": False}


def _cell(name: str, value: Any) -> str:
    if name == "flags":
        return ", ".join(describe(int(value)))
    if isinstance(value, np.floating):
        return "" if np.isnan(value) else f"{value:.6f}" if name in ("ra", "dec") else f"{value:.4g}"
    return str(value)


def _flags(facts: Mapping[str, Any]) -> Section:
    section = Section("flags", "Flags")
    rows = [[name, str(count), DESCRIPTIONS[Flag[name]]] for name, count in facts.get("flags", {}).items()]
    if rows:
        section.tables.append({"title": "", "heading": ["flag", "objects", "meaning"], "rows": rows, "numbers": False})
    return section
