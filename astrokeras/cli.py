"""The command ``astrokeras``. Imports what a command needs only when it runs, so that ``--help`` is instant."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from importlib.metadata import version

from .errors import AstrokerasError, SpecError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit status: 0 done, 1 failed, 2 the command or pipeline file is wrong."""
    options = _parser().parse_args(arguments)
    # TensorFlow greets with a page of hints on standard error, which hides ours.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    from . import commands

    try:
        return getattr(commands, options.command.replace("-", "_"))(options) or 0
    except SpecError as error:
        print(error, file=sys.stderr)
        return 2
    except AstrokerasError as error:
        print(f"astrokeras: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:
        # The reader of our output has gone (``| head``): nothing left to say.
        sys.stderr.close()
        return 1
    except OSError as error:
        # Of whatever no part of ours foresaw: a disk that fills, a directory that vanishes.
        where = f"{error.filename}: " if error.filename else ""
        print(f"astrokeras: {where}{error.strerror or error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("astrokeras: interrupted; finished parts are kept, run again to go on", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="astrokeras", description="Survey images and catalogs in, science-ready columns out.", allow_abbrev=False
    )
    parser.add_argument("--version", action="version", version=f"astrokeras {version('astrokeras')}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")

    def command(name: str, text: str) -> argparse.ArgumentParser:
        return commands.add_parser(name, help=text, description=text, allow_abbrev=False)

    for name, text in (
        ("check", "find all mistakes of a pipeline file; opens nothing but the file and its models"),
        ("plan", "show what a run would do: partitions, columns, sizes, what is done"),
        ("run", "run a pipeline; what was done before is not done again"),
        ("status", "show what of a pipeline is done, and its last run"),
    ):
        _pipeline_options(command(name, text), name)
    _listing(command("stages", "list sources, stages and outputs, or show the parameters of one"))
    models = command("models", "list the models found, show a card, replay golden rows, draw a training")
    models = models.add_subparsers(dest="action", required=True, metavar="list|show|verify|plot")
    models.add_parser("list", help="models that are found by name")
    for name, text in (
        ("show", "print the card of a model, and how its training went"),
        ("verify", "replay the golden rows of a model"),
        ("plot", "draw loss curves, gradient norms, importance of inputs, first kernels, calibration"),
    ):
        parser_of = models.add_parser(name, help=text)
        parser_of.add_argument("model", help="directory, or name@version")
        if name == "show":
            parser_of.add_argument("--json", action="store_true", help="print the whole card as JSON")
        if name == "plot":
            parser_of.add_argument("--out", default=".", metavar="FOLDER", help="where the pictures go (default: here)")
            parser_of.add_argument("--format", choices=("png", "svg"), default="png", help="default: %(default)s")
    catalogs = command("catalogs", "list the survey maps, show one, or guess which fits a file").add_subparsers(
        dest="action", required=True, metavar="list|show|guess"
    )
    catalogs.add_parser("list", help="survey maps that ship with astrokeras")
    catalogs.add_parser("show", help="print a survey map").add_argument("survey", help="name, or path of a map")
    guess = catalogs.add_parser("guess", help="name the survey maps that fit a table, and why")
    guess.add_argument("file", help="table; its names of columns are read, no rows")
    guess.add_argument("--hdu", help="number or name of the HDU, of a FITS file with several tables")
    _simulation(command("simulate", "write a simulated field: images in several bands and epochs, and the truth"))
    _injection(command("inject", "put simulated sources into images; measure completeness and bias of fluxes"))
    _report(command("report", "write the page of a report about products that exist; runs no pipeline"))
    send = command("send", "send a table to TOPCAT, Aladin or another program on this desktop (SAMP)")
    send.add_argument("file", help="VOTable or FITS table")
    send.add_argument("--to", metavar="PROGRAM", help="name of the program (default: all that take such tables)")
    send.add_argument("--name", help="what the table is called there (default: the name of the file)")
    command("json-schema", "print the JSON schema of pipeline files, for completion in editors")
    return parser


def _pipeline_options(parser: argparse.ArgumentParser, name: str) -> None:
    parser.add_argument("pipeline", help="pipeline file (YAML)")
    parser.add_argument(
        "--set", action="append", default=[], metavar="ADDRESS=VALUE", dest="sets",
        help="change a value, for example stages.photoz.batch=512; may be repeated",
    )  # fmt: skip
    if name == "check":
        return
    parser.add_argument("--work", default=".astrokeras", help="work directory (default: %(default)s)")
    parser.add_argument(
        "--field", action="append", default=[], dest="only", help="run this field only; may be repeated"
    )
    if name in ("run", "plan"):
        parser.add_argument("--from", dest="start", metavar="STAGE", help="do this stage and what follows again")
        parser.add_argument("--to", dest="stop", metavar="STAGE", help="stop after this stage; write no outputs")
    if name == "run":
        parser.add_argument("--site", help="site file: executor, workers, threads; cannot change results")
        parser.add_argument("--keep-going", action="store_true", help="go on with other partitions when one fails")
        parser.add_argument("--quiet", action="store_true", help="show errors only")


def _simulation(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", required=True, metavar="FOLDER", help="where the files go")
    parser.add_argument(
        "--preset", type=int, choices=(256, 512, 1024, 2048), default=512, dest="size",
        help="pixels along a side (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--system",
        choices=("sdss", "lsst", "decam"),
        default="sdss",
        help="survey that is imitated (default: %(default)s)",
    )
    parser.add_argument("--bands", help="bands, with commas: g,r,i (default: those of the survey)")
    parser.add_argument("--seed", type=int, default=0, help="equal seeds give equal fields (default: %(default)s)")
    parser.add_argument("--epochs", type=int, default=2, help="number of epochs (default: %(default)s)")
    parser.add_argument("--transients", type=int, help="number of transients (default: 3 to 80, by size)")
    parser.add_argument(
        "--star-density", type=float, default=1.0, help="stars, relative to the Galactic poles (default: 1)"
    )


def _injection(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("images", nargs="+", metavar="IMAGE", help="images, one per band; or a pipeline with `images`")
    parser.add_argument("--out", required=True, metavar="FOLDER", help="where the files go")
    parser.add_argument("--measure", action="store_true", help="detect, and report completeness and bias of fluxes")
    parser.add_argument("--number", type=int, default=300, help="sources per image (default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=1, help="images with other sources (default: %(default)s)")
    parser.add_argument("--magnitudes", default="18,25", metavar="FROM,TO", help="AB (default: %(default)s)")
    parser.add_argument(
        "--radii", default="0,0.5,1,2", metavar="R,...",
        help="half-light radii in arcsec, 0 for points (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument("--bulge", type=float, default=0.0, help="share of a de Vaucouleurs profile (default: 0)")
    parser.add_argument(
        "--colors",
        default="",
        metavar="BAND=MAG,...",
        help="magnitude in a band minus that of the source; g=0.5,i=-0.2",
    )
    parser.add_argument("--spacing", type=float, default=15.0, help="arcsec between sources (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    parser.add_argument(
        "--psf", action="append", default=[], metavar="BAND=FWHM|FILE",
        help="FWHM in arcsec, or an image of the PSF (default: made of the image's stars); may be repeated",
    )  # fmt: skip
    parser.add_argument("--layout", help="layout of the images (default: found by their headers)")


def _report(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("products", nargs="+", metavar="PRODUCT", help="VOTable, Parquet or FITS; with equal columns")
    parser.add_argument("--out", default="report.html", metavar="FILE", help="the page (default: %(default)s)")
    parser.add_argument("--title", help="heading (default: name of the pipeline that made the products)")
    parser.add_argument(
        "--truth", action="append", default=[], metavar="ESTIMATE=COLUMN",
        help="column with the truth of an estimate (default: z_spec, class_true); may be repeated",
    )  # fmt: skip
    parser.add_argument("--stamps", metavar="COLUMN", help="column with stamps (default: stamp, if it is there)")
    parser.add_argument(
        "--image", action="append", default=[], dest="images", metavar="FILE",
        help="image of the field; up to three, from blue to red",
    )  # fmt: skip
    parser.add_argument("--sample", type=int, default=20_000, help="rows in pictures and scores (default: %(default)s)")
    parser.add_argument("--gallery", type=int, default=12, help="objects in each gallery (default: %(default)s)")
    parser.add_argument("--where", metavar="CONDITION", help="rows to look at")
    parser.add_argument(
        "--all-rows", action="store_true", help="score all rows of products without `split`: no model has seen them"
    )


def _listing(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", nargs="?", help="show the parameters of this one")


if __name__ == "__main__":
    sys.exit(main())
