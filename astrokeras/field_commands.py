"""Commands that make or change images: ``simulate`` and ``inject``."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from . import registry
from .errors import AstrokerasError
from .part_help import made
from .spec import load

if TYPE_CHECKING:
    from astropy.table import QTable

OUT = Console(soft_wrap=True, highlight=False, markup=False)


def simulate(options: Namespace) -> int:
    """Write a simulated field."""
    names = ("size", "system", "seed", "epochs", "transients", "star_density")
    given = {name: getattr(options, name) for name in names}
    given["bands"] = [band.strip() for band in options.bands.split(",")] if options.bands else ()
    sky = made(registry.lookup("sources", "sky"), path=options.out, **given)
    rows = sum(part.rows for part in sky.partitions(1 << 30))
    OUT.print(f"{options.out}: {rows} objects, {len(sky.bands) * sky.epochs} images; not the sky")
    return 0


def inject(options: Namespace) -> int:
    """Put simulated sources into images."""
    from .synthetic.inject import Injection
    from .synthetic.inject_files import Run, run

    given = made(
        Injection,
        **{name: getattr(options, name) for name in ("number", "bulge", "spacing", "seed")},
        magnitudes=_two(options.magnitudes, "--magnitudes"),
        radii=_numbers(options.radii, "--radii"),
        colors={band: _number(value, "--colors") for band, value in pairs(options.colors.split(","), "--colors")},
    )
    if options.repeats < 1:
        raise AstrokerasError(f"--repeats: needs 1 or more, got {options.repeats}")
    images = _images(options)
    images["psf"] |= {band: _width_or_file(value) for band, value in pairs(options.psf, "--psf")}
    report = run(Run(out=Path(options.out), given=given, repeats=options.repeats, measure=options.measure, **images))
    for note in report.notes:
        OUT.print(f"note: {note}")
    OUT.print(f"{options.out}: {report.sources} sources, {len(report.written)} files")
    for name, table in report.tables.items():
        _show(table, {"mag": "magnitude", "surface_brightness": "mag per square arcsec"}[name])
    return 0


def _images(options: Namespace) -> dict[str, Any]:
    """Images to inject into: named, or those of a pipeline, with its settings of the detection."""
    from .images.reader import open_image
    from .photometry.detection_options import DetectionOptions

    first = Path(options.images[0])
    if first.suffix not in (".yaml", ".yml"):
        return {"files": [open_image(path, layout=options.layout) for path in options.images], "psf": {}}
    source = load(first).source
    if len(options.images) > 1 or source.name != "images":
        raise AstrokerasError(
            f"{first}: needs the source `images`, one pipeline at a time; its source is {source.name!r}"
        )
    if options.layout:
        raise AstrokerasError("--layout: a pipeline states the layout of its images")
    settings = source.model_dump(include=set(DetectionOptions.model_fields))
    files = [source.open(band) for band in source.bands]
    return {"files": files, "psf": source.read_psfs(files), "options": settings, "detect": source.detect}


def pairs(texts: list[str], option: str, form: str = "BAND=VALUE") -> list[tuple[str, str]]:
    """Texts of a form such as ``BAND=VALUE`` as pairs."""
    parts = [text.partition("=") for text in texts if text.strip()]
    for name, equals, value in parts:
        if not (name.strip() and equals and value.strip()):
            raise AstrokerasError(f"{option}: needs {form}, got {name + equals + value!r}")
    return [(name.strip(), value.strip()) for name, _, value in parts]


def _number(text: str, option: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise AstrokerasError(f"{option}: needs a number, got {text!r}") from None


def _numbers(text: str, option: str) -> tuple[float, ...]:
    return tuple(_number(part, option) for part in text.split(","))


def _two(text: str, option: str) -> tuple[float, ...]:
    found = _numbers(text, option)
    if len(found) != 2:
        raise AstrokerasError(f"{option}: needs two numbers, LOW,HIGH, got {text!r}")
    return found


def _width_or_file(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


def _show(table: QTable, what: str) -> None:
    bands = [name.removeprefix("flux_bias_err_") for name in table.colnames if name.startswith("flux_bias_err_")]
    shown = Table(
        f"r_half ({table['r_half'].unit})", what, "n", "found", "complete", *(f"bias {b}" for b in bands), box=None
    )
    for row in table:
        biases = [f"{row[f'flux_bias_{b}']:+.3f}({row[f'flux_bias_err_{b}']:.3f})" for b in bands]
        low, high, size = (getattr(row[name], "value", row[name]) for name in ("low", "high", "r_half"))
        complete = f"{row['completeness']:.2f} ({row['completeness_lo']:.2f} to {row['completeness_hi']:.2f})"
        shown.add_row(f"{size:g}", f"{low:g} to {high:g}", str(row["n"]), str(row["n_found"]), complete, *biases)
    OUT.print(shown)
