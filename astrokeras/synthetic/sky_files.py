"""Files of a simulated field: images with their errors and masks, the truth, and what made them."""

from __future__ import annotations

import json
from collections.abc import Collection
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from ..errors import IngestError
from ..export.atomic import replacing
from ..fields import Field
from ..images.image import Image, Pixel
from .cameras import BETA
from .image_hdus import image_hdus, write_hdus
from .population import CLASSES
from .scene import CATALOG, Recipe, Scene
from .shapes import type_names, whole_radius, winding_names
from .systems import SYSTEMS

if TYPE_CHECKING:
    from astropy.io import fits
    from astropy.table import QTable

    from .scene import Exposure

#: Name of the file that says what made the others, written last.
RECORD = "simulation.json"


class FieldOnDisk(Recipe, Protocol):
    """A recipe and its files; the source `astrokeras.synthetic.sky.Sky`."""

    path: str

    @property
    def recipe(self) -> dict[str, Any]:
        """What decides the files, as JSON values."""

    @property
    def truth(self) -> Path:
        """Path of the catalog."""

    def image(self, band: str, epoch: int = 1) -> Path:
        """Path of an image."""

    def fields(self) -> tuple[Field, ...]:
        """Fields of the catalog."""


def write_sky(sky: FieldOnDisk) -> None:
    """Write all files of a field, unless they are there; the record comes last.

    Raises
    ------
    IngestError
        If files of these names are there that no record speaks of.
    OutputError
        If a file cannot be written.
    """
    record = Path(sky.path) / RECORD
    images = {(epoch, band): sky.image(band, epoch) for epoch in range(1, sky.epochs + 1) for band in sky.bands}
    paths = [*images.values(), sky.truth]
    made = _made(record)
    if made and made.get("parameters") == sky.recipe and all(path.exists() for path in paths):
        return
    strange = [path for path in paths if path.exists()]
    if strange and not made:
        raise IngestError(
            f"{strange[0]}: is there, but no {RECORD} beside it, so it is not replaced; name another folder"
        )
    record.unlink(missing_ok=True)
    scene = Scene(sky)
    for (epoch, band), path in images.items():
        write_hdus(path, _image(scene.expose(band, epoch), sky, band, epoch))
    objects, transients = objects_table(scene, sky), transients_table(scene, sky)
    write_hdus(sky.truth, _tables(OBJECTS=objects, TRANSIENTS=transients))
    with replacing(record) as stream:
        stream.write(json.dumps(_facts(scene, sky, len(objects)), indent=1).encode() + b"\n")


def _made(record: Path) -> dict[str, Any] | None:
    try:
        made = json.loads(record.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except ValueError as error:
        raise IngestError(f"{record}: is no record of a simulated field: {error}") from None
    return made if isinstance(made, dict) else None


def _facts(scene: Scene, sky: FieldOnDisk, rows: int) -> dict[str, Any]:
    given = {
        f"{band}-{epoch}": scene.conditions(band, epoch) for epoch in range(1, sky.epochs + 1) for band in sky.bands
    }
    images = {
        name: {
            "seeing": one.fwhm,
            "sky_sigma": one.sigma,
            "sky": one.sky,
            "gain": one.gain,
            "read_noise": one.read_noise,
        }
        for name, one in given.items()
    }
    return {
        "what": "a simulated field; scores on it are not scores on the sky",
        "astrokeras": version("astrokeras"),
        "numpy": np.__version__,
        "parameters": sky.recipe,
        "objects": rows,
        "units": {
            "images": "nJy per pixel",
            "seeing": "arcsec",
            "sky_sigma, sky": "nJy per pixel",
            "gain": "electron/nJy",
        },
        "mask": {bit.name: int(bit) for bit in Pixel},
        "images": images,
    }


def _image(shot: Exposure, sky: FieldOnDisk, band: str, epoch: int) -> fits.HDUList:
    """HDUs of an image, and its ``PSF``."""
    from astropy.io import fits

    given = shot.given
    image = Image(
        data=shot.science,
        unit="nJy",
        mask=shot.mask,
        band=band,
        sigma=shot.error,
        wcs=shot.wcs,
        filter=SYSTEMS[sky.system].filters[band],
        exposure=given.exposure,
        mjd=shot.mjd,
    )
    cards = [
        ("RDNOISE", given.read_noise, "[electron] noise of the readout"),
        ("SKYLEVEL", given.sky, "[nJy] sky per pixel, subtracted"),
        ("SKYSIGMA", given.sigma, "[nJy] noise of a pixel of empty sky"),
        ("SATURATE", given.full_well / given.gain - given.sky, "[nJy] level of saturation"),
        ("PSFFWHM", given.fwhm, "[arcsec] full width at half maximum"),
        ("PSFBETA", BETA, "exponent of the Moffat profile"),
    ]
    about = [
        ("CREATOR", "astrokeras simulate", "not the sky"),
        ("SEED", str(sky.seed), "seed of the simulation"),
        ("EPOCH_NR", epoch, "number of the epoch, from 1"),
    ]
    hdus = image_hdus(image, given.gain, cards, about)
    psf = fits.ImageHDU(shot.psf.astype(np.float32), name="PSF")
    psf.header["PIXSCALE"] = (given.pixel_scale, "[arcsec] pixel")
    hdus.append(psf)
    return hdus


def objects_table(scene: Scene, sky: FieldOnDisk) -> QTable:
    """Catalog of the objects whose centre is in the field, in order of x."""
    from astropy.table import QTable

    objects, shapes = scene.objects, scene.objects.shapes
    n, galaxies = len(objects.kind), len(shapes.type)
    ra, dec = scene.wcs().all_pix2world(scene.x, scene.y, 0)
    columns = {"object_id": None, "ra": ra, "dec": dec}
    rng = scene.stream(CATALOG)
    noise = rng.standard_normal((len(scene.bands), n))
    for band in sky.bands:
        k = scene.bands.index(band)
        error = scene.flux_errors(band)
        columns |= {
            f"flux_{band}": objects.flux[:, k] + error * noise[k],
            f"flux_err_{band}": error,
            f"flux_true_{band}": objects.flux[:, k],
        }
    disk = shapes.type > 0
    ratio = np.where(disk, shapes.disk_ratio, shapes.bulge_ratio)
    columns |= {
        "z_spec": objects.z,
        "class_true": np.array(CLASSES)[objects.kind],
        "morphology_true": np.append(type_names(shapes), np.full(n - galaxies, "point")),
        "winding_true": np.append(winding_names(shapes), np.full(n - galaxies, "")),
        "r_half": _padded(whole_radius(shapes), n, 0.0),
        "bulge_fraction": _padded(shapes.shares[:, 0], n, np.nan),
        "bulge_radius": _padded(np.where(shapes.shares[:, 0] > 0, shapes.bulge_radius, np.nan), n, np.nan),
        "disk_radius": _padded(np.where(disk, shapes.disk_radius, np.nan), n, np.nan),
        "axis_ratio": _padded(ratio, n, np.nan),
        "position_angle": _padded(shapes.angle, n, np.nan),
        "inclination": _padded(np.where(disk, shapes.inclination, np.nan), n, np.nan),
    }
    columns["object_id"] = numbers = object_numbers(scene, sky.size)
    rows = np.argsort(numbers)[np.count_nonzero(numbers < 0) :]
    known = {field.name: field for field in sky.fields()}
    table = QTable({name: values[rows] for name, values in columns.items()})
    for name in table.colnames:
        if known[name].kind == "f4":
            table[name] = table[name].astype(np.float32)
        if known[name].unit:
            table[name].unit = known[name].unit
        table[name].info.description = known[name].description
    return table


def object_numbers(scene: Scene, size: int) -> np.ndarray:
    """Numbers of the objects in the catalog, from 1 in x from left to right; -1 for those outside of the field."""
    inside = (np.minimum(scene.x, scene.y) >= -0.5) & (np.maximum(scene.x, scene.y) < size - 0.5)
    order = np.argsort(scene.x, kind="stable")
    numbers = np.full(len(scene.x), -1)
    numbers[order[inside[order]]] = np.arange(1, np.count_nonzero(inside) + 1)
    return numbers


def _padded(values: np.ndarray, n: int, rest: float) -> np.ndarray:
    """Values of the galaxies, then those of the point sources."""
    return np.append(values, np.full(n - len(values), rest))


def transients_table(scene: Scene, sky: FieldOnDisk) -> QTable:
    """Catalog of the transients: position, host, flux in nJy by band and epoch."""
    from astropy.table import QTable

    found = scene.transients
    ra, dec = scene.wcs().all_pix2world(found.x, found.y, 0)
    numbers = object_numbers(scene, sky.size)
    columns = {
        "transient_id": np.arange(1, len(ra) + 1),
        "ra": ra,
        "dec": dec,
        "host_id": np.where(found.host >= 0, numbers[found.host], -1),
    }
    for band in sky.bands:
        for epoch in range(1, sky.epochs + 1):
            columns[f"flux_{band}_{epoch}"] = found.flux[:, scene.bands.index(band), epoch - 1]
    table = QTable(columns)
    for name in table.colnames:
        table[name].unit = "deg" if name in ("ra", "dec") else "nJy" if name.startswith("flux") else None
    return table


def _tables(**tables: QTable) -> fits.HDUList:
    from astropy.io import fits

    hdus = [fits.table_to_hdu(table, name=name) for name, table in tables.items()]
    return fits.HDUList([fits.PrimaryHDU(), *hdus])


def count_rows(path: Path) -> int:
    """Objects of a catalog."""
    from astropy.io import fits

    with fits.open(path) as hdus:
        return len(hdus["OBJECTS"].data)


def read_truth(path: Path, columns: Collection[str], start: int, stop: int) -> dict[str, np.ndarray]:
    """Columns of some rows of a catalog, in native byte order."""
    from astropy.io import fits

    with fits.open(path, memmap=False) as hdus:
        data = hdus["OBJECTS"].data[start:stop]
        taken = {name: np.asarray(data[name]) for name in columns}
    return {name: v.astype(v.dtype.newbyteorder("="), copy=True) for name, v in taken.items()}
