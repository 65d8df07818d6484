"""Injection into image files, and what detection then finds of it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import IngestError
from ..export.atomic import replacing
from .completeness import completeness, limit, recovered
from .image_hdus import image_hdus, write_hdus
from .inject import Injection, inject, plan_sources
from .mixture import Mixture, fitted

if TYPE_CHECKING:
    from astropy.table import QTable

    from ..images.image import Image
    from ..images.reader import ImageFile
    from ..photometry.psf_model import Psf


#: Pixels of the FWHM of a PSF, at most.
_WIDEST = 200


@dataclass(frozen=True)
class Run:
    """An injection into images of one part of the sky.

    Attributes
    ----------
    files : sequence of ImageFile
        One per band.
    out : Path
        Folder of what is written.
    given : Injection
        Which sources.
    psf : mapping of str to float, str or Psf
        By band, FWHM in arcsec of a Moffat profile, the path of a PSF, or the PSF; by default it is made of the
        image's own stars.
    repeats : int
        How many images are made, each with other sources.
    measure : bool
        Detect, and report completeness and bias.
    options : mapping
        Settings of the detection, see `astrokeras.photometry.detection_options.DetectionOptions`.
    detect : sequence of str, optional
        Bands that objects are found in; the first is the reference, whose data decide where sources may be.
    """

    files: Sequence[ImageFile]
    out: Path
    given: Injection
    psf: Mapping[str, float | str | Psf] = field(default_factory=dict)
    repeats: int = 1
    measure: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)
    detect: Sequence[str] | None = None


@dataclass(frozen=True)
class Report:
    """What came of it.

    Attributes
    ----------
    written : tuple of Path
        Files.
    sources : int
        Injected, in all repeats.
    tables : dict of str to QTable
        Completeness by ``mag`` and ``surface_brightness``, if it was measured.
    notes : tuple of str
        What a user should know.
    """

    written: tuple[Path, ...]
    sources: int
    tables: dict[str, QTable]
    notes: tuple[str, ...]


def run(job: Run) -> Report:
    """Inject sources into images, write these and the truth, and measure what is found.

    Writes ``{band}-injected-{k}.fits``, ``truth-{k}.fits`` and, where it is measured, ``completeness.fits`` (HDUs
    ``MAG`` and ``SURFACE_BRIGHTNESS``) and ``completeness.json`` (the magnitudes of 50 and 90 %).

    Raises
    ------
    IngestError
        If an image has no calibration, coordinates or data, or a colour is that of no image.
    OutputError
        If a file cannot be written.
    """
    images = {file.band: file.read() for file in job.files}
    _check(job, images)
    reference = images[(job.detect or tuple(images))[0]]
    psfs = {band: _psf(image, job.psf.get(band), job.options) for band, image in images.items()}
    mixtures = {b: fitted(p.data, p.oversampling).scaled(1 / p.oversampling) for b, p in psfs.items()}
    notes = [
        f"{band}: the gain is not known; the sources have no noise of their own"
        for band, image in images.items()
        if image.electrons is None
    ]
    _clear(job)
    before = _detected(job, images, psfs) if job.measure else None
    written, truths, found, rows = [], [], [], []
    for k in range(job.repeats):
        truth = _with_bands(plan_sources(reference, job.given, k), job.given, images)
        made = _injected(job, images, truth, mixtures, k)
        written += _write(job, made, truth, k)
        truths.append(truth)
        if before is not None:
            after = _detected(job, made, psfs)
            row = recovered(truth, after, before, radius=_radius(psfs, reference))
            rows.append(np.where(row >= 0, row + sum(map(len, found)), -1))
            found.append(after)
    tables = {}
    if before is not None:
        tables = _tables(truths, found, np.concatenate(rows))
        written += _write_report(job, tables)
    asked, placed = job.given.number * job.repeats, sum(map(len, truths))
    if placed < asked:
        notes.append(
            f"{placed} of {asked} sources have room, {job.given.spacing:g} arcsec from each other; see `spacing`"
        )
    return Report(tuple(written), placed, tables, tuple(notes))


def _clear(job: Run) -> None:
    """Remove truth and scores that an earlier injection left there: they would be taken for those of this one."""
    for pattern in ("truth-*.fits", "completeness.fits", "completeness.json"):
        for path in job.out.glob(pattern):
            path.unlink()


def _check(job: Run, images: Mapping[str, Image]) -> None:
    if len(images) < len(job.files) or "" in images:
        raise IngestError(f"every image needs a band of its own, found {[file.band for file in job.files]}")
    for what, bands in (("colors", job.given.colors), ("psf", job.psf), ("detect", job.detect or ())):
        for band in bands:
            if band not in images:
                raise IngestError(f"{what}: there is no image of band {band!r} (there are {', '.join(images)})")


def _psf(image: Image, stated: float | str | Psf | None, options: Mapping[str, Any]) -> Psf:
    """PSF of an image: as stated, or made of its stars."""
    from ..photometry.prepared import Held, prepare, scale_of
    from ..photometry.psf_files import read_psf
    from ..photometry.psf_model import Psf

    if isinstance(stated, Psf):
        return stated
    if isinstance(stated, str):
        return read_psf(stated, image.band, image.shape)
    if stated is None:
        return prepare(Held(image), options.get("box", 128), options.get("background", True)).psf
    fwhm = stated / (scale_of(image) or np.nan)
    if not 0 < fwhm < _WIDEST:
        raise IngestError(
            f"{image.path or f'image of band {image.band}'}: a PSF of {stated:g} arcsec, {fwhm:g} pixels, is none"
        )
    return Psf.moffat(fwhm, 3.0, int(np.ceil(6 * fwhm)), f"Moffat profile, FWHM {stated:g} arcsec")


def _radius(psfs: Mapping[str, Psf], reference: Image) -> float:
    """Radius of a match in arcsec: the FWHM of the reference image, at least one arcsec."""
    from ..photometry.prepared import scale_of

    return max(1.0, psfs[reference.band].fwhm * (scale_of(reference) or 0.0))


def _with_bands(truth: QTable, given: Injection, images: Mapping[str, Image]) -> QTable:
    for band in images:
        truth[f"mag_{band}"] = truth["mag"] + given.colors.get(band, 0.0) * truth["mag"].unit
    return truth


def _injected(
    job: Run, images: Mapping[str, Image], truth: QTable, psfs: Mapping[str, Mixture], k: int
) -> dict[str, Image]:
    return {
        band: inject(image, truth, psfs[band], job.given, np.random.default_rng([job.given.seed, k, 1 + number]))
        for number, (band, image) in enumerate(images.items())
    }


def _write(job: Run, made: Mapping[str, Image], truth: QTable, k: int) -> list[Path]:
    from astropy.io import fits

    paths = []
    for band, image in made.items():
        paths.append(job.out / f"{band}-injected-{k + 1}.fits")
        about = [("CREATOR", "astrokeras inject", "with simulated sources"), ("SEED", str(job.given.seed), "")]
        cards = [("INFILE", Path(image.path).name[:60], "image as it was")]
        write_hdus(paths[-1], image_hdus(image, image.electrons, cards, about))
    paths.append(job.out / f"truth-{k + 1}.fits")
    write_hdus(paths[-1], fits.HDUList([fits.PrimaryHDU(), fits.table_to_hdu(truth, name="INJECTED")]))
    return paths


def _detected(job: Run, images: Mapping[str, Image], psfs: Mapping[str, Psf]) -> QTable:
    from ..photometry.detection import detect

    return detect(list(images.values()), job.detect, psfs, **job.options)


def _tables(truths: list[QTable], found: list[QTable], row: np.ndarray) -> dict[str, QTable]:
    from astropy.table import vstack

    truth, detected = (vstack(tables, metadata_conflicts="silent") for tables in (truths, found))
    tables = {"mag": completeness(truth, detected, row=row)}
    if (truth["r_half"].value > 0).any():
        extended = truth["r_half"].value > 0
        tables["surface_brightness"] = completeness(
            truth[extended], detected, by="surface_brightness", row=row[extended]
        )
    return tables


def _write_report(job: Run, tables: Mapping[str, QTable]) -> list[Path]:
    from astropy.io import fits

    hdus = [fits.table_to_hdu(table, name=name.upper()) for name, table in tables.items()]
    write_hdus(job.out / "completeness.fits", fits.HDUList([fits.PrimaryHDU(), *hdus]))
    limits = {
        name: {
            f"{share:.0%}": {f"{size:g}": _number(x) for size, x in limit(table, share).items()} for share in (0.9, 0.5)
        }
        for name, table in tables.items()
    }
    facts = {
        "what": "completeness and bias of injected sources; limits by half-light radius in arcsec",
        "injection": job.given.model_dump(mode="json"),
        "repeats": job.repeats,
        "limits": limits,
    }
    with replacing(job.out / "completeness.json") as stream:
        stream.write(json.dumps(facts, indent=1).encode() + b"\n")
    return [job.out / "completeness.fits", job.out / "completeness.json"]


def _number(value: float) -> float | None:
    return round(value, 3) if np.isfinite(value) else None
