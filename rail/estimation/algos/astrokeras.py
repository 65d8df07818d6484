"""Photometric redshifts of astrokeras as stages of RAIL: ``AstroKerasInformer`` and ``AstroKerasEstimator``.

The model that goes from one to the other is a `rail.core.model.Model` whose data are the files of an astrokeras model
(``model.keras``, ``card.json``, ``golden.npz``) as bytes, and nothing else: RAIL pickles the bytes, no class of
astrokeras or Keras is in the pickle, and the archive is inspected before Keras reads it.
"""

from __future__ import annotations

import re
import shutil
import tempfile
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import qp
from astropy.table import QTable
from ceci.config import StageParameter as Param
from rail.core.common_params import SharedParams
from rail.core.enums import DistributionType
from rail.core.model import Model
from rail.estimation.estimator import CatEstimator
from rail.estimation.informer import CatInformer

from astrokeras.errors import ModelError
from astrokeras.export.qp import POINTS
from astrokeras.fields import OBJECT_ID, flux_field
from astrokeras.flags import Flag
from astrokeras.models.library import find
from astrokeras.tasks.photoz import PhotoZ
from astrokeras.units import MAG_ERROR_SCALE, ab_to_njy

#: Files of a model, and the version of this way to pack them.
FILES = ("model.keras", "card.json", "golden.npz")
VERSION = 1

PHOTOMETRY = ("bands", "err_bands", "mag_limits", "nondetect_val", "nonobserved_val", "redshift_col", "id_col")


def pack(model: str | Path) -> Model:
    """Model for ``AstroKerasEstimator`` from one that was trained elsewhere.

    Parameters
    ----------
    model : str or Path
        A model directory, or the name and version of a model that astrokeras finds.

    Returns
    -------
    rail.core.model.Model
        ``pack("lsst-photoz@1").write("lsst.pkl")`` makes the file.

    Raises
    ------
    astrokeras.errors.ModelError
        If there is no such model, or it is damaged.
    """
    directory = find(model)
    lacking = [name for name in FILES if not (directory / name).is_file()]
    if lacking:
        raise ModelError(f"{directory}: lacks {', '.join(lacking)}")
    data = {name: (directory / name).read_bytes() for name in FILES}
    return Model(data, creation_class_name="AstroKerasInformer", version=VERSION)


def unpack(model: Any, directory: Path) -> None:
    """Write the files of a model into a directory.

    Raises
    ------
    astrokeras.errors.ModelError
        If it is no model of ``AstroKerasInformer``.
    """
    data = model.data if isinstance(model, Model) else model
    if not isinstance(data, Mapping) or set(data) != set(FILES) or not all(isinstance(b, bytes) for b in data.values()):
        what = ", ".join(map(str, data)) if isinstance(data, Mapping) else type(data).__name__
        raise ModelError(f"no model of AstroKerasInformer: holds {what}, not the bytes of {', '.join(FILES)}")
    for name, content in data.items():
        (directory / name).write_bytes(content)


def band_names(columns: Sequence[str]) -> tuple[str, ...]:
    """Names of bands: what tells the columns apart (``u``, ``g`` of ``mag_u_lsst``, ``mag_g_lsst``).

    Raises
    ------
    ValueError
        If no names come of it.
    """
    alone = len(columns) == 1
    start = 0 if alone else _alike(columns)
    end = 0 if alone else _alike([column[:start:-1] for column in columns])
    short = [column[start : len(column) - end] for column in columns]
    good = all(re.fullmatch(r"[A-Za-z][A-Za-z0-9]{0,15}", name) for name in short)
    names = short if good else [re.sub(r"[^A-Za-z0-9]", "", column)[-16:] for column in columns]
    if len(set(names)) < len(names) or not all(re.fullmatch(r"[A-Za-z][A-Za-z0-9]*", name) for name in names):
        raise ValueError(f"bands {list(columns)} give no distinct names of bands (letters and digits)")
    return tuple(names)


def _alike(texts: Sequence[str]) -> int:
    """Number of characters with which all texts begin."""
    places = zip(*texts, strict=False)
    return next((i for i, letters in enumerate(places) if len(set(letters)) > 1), min(map(len, texts)))


def photometry(data: Mapping[str, np.ndarray], config: Any) -> QTable:
    """Fluxes in nJy of AB magnitudes as RAIL has them.

    Parameters
    ----------
    data : mapping of numpy.ndarray
        Columns of ``bands`` and ``err_bands``.
    config : ceci.config.StageConfig
        Of the stage. A magnitude of ``nondetect_val`` is an upper limit: no flux, and the flux of the ``mag_limits`` of
        the band, which are 1 sigma, as its error. One of ``nonobserved_val``, or any other that is not finite, is
        missing, as is a non-detection of a band without a limit.

    Returns
    -------
    QTable
        ``object_id``, ``flux_<band>`` and ``flux_err_<band>``; the caller's arrays stay as they are.
    """
    from astrokeras.chunk import as_column

    columns, errors = list(config.bands), list(config.err_bands)
    if len(columns) != len(errors):
        raise ValueError(f"{len(columns)} bands and {len(errors)} err_bands; every band needs one")
    size = len(data[columns[0]])
    ids = np.asarray(data[config.id_col]) if config.id_col in data else np.arange(size)
    table = QTable({"object_id": as_column(ids, OBJECT_ID)})
    for band, column, error in zip(band_names(columns), columns, errors, strict=True):
        mag, mag_err = (np.asarray(data[name], float) for name in (column, error))
        undetected = _equals(mag, config.nondetect_val)
        known = np.isfinite(mag) & ~undetected & ~_equals(mag, config.nonobserved_val)
        flux = ab_to_njy(np.where(known, mag, np.nan))
        flux_err = flux * mag_err * MAG_ERROR_SCALE
        limit = config.mag_limits.get(column)
        if limit is not None:
            flux_err = np.where(undetected, ab_to_njy(limit), flux_err)
        for kind, values in (("", flux), ("err", flux_err)):
            field = flux_field(band, kind)
            table[field.name] = as_column(values.astype(np.float32), field)
    return table


def _equals(values: np.ndarray, marker: float) -> np.ndarray:
    return np.isnan(values) if np.isnan(marker) else np.isclose(values, marker)


class AstroKerasInformer(CatInformer):
    """Trains a photo-z model of astrokeras (an ensemble of density networks) on AB magnitudes.

    Rows for validation and calibration, a tenth each, are set aside by object. Redshifts outside ``zmin`` to ``zmax``
    are not used.
    """

    name = "AstroKerasInformer"
    entrypoint_function = "inform"
    interactive_function = "astro_keras_informer"
    config_options = CatInformer.config_options.copy()
    config_options.update(
        **{name: SharedParams.copy_param(name) for name in (*PHOTOMETRY, "zmin", "zmax", "nzbins")},
        recipe=Param(dict, {}, msg="keys of a `train:` block of astrokeras, such as {epochs: 60, members: 4, seed: 1}"),
    )

    def run(self) -> None:
        """Train, and put the model where the estimator finds it."""
        data = self.get_data("input")
        data = data[self.config.hdf5_groupname] if self.config.hdf5_groupname else data
        data = self._convert_table_format(data, "numpyDict")
        table = photometry(data, self.config)
        table["z_spec"] = np.asarray(data[self.config.redshift_col], float)
        bands = band_names(list(self.config.bands))
        grid = {"z_min": self.config.zmin, "z_max": self.config.zmax, "n_grid": self.config.nzbins}
        photoz = PhotoZ(bands=bands, train={**grid, **self.config.recipe})
        with tempfile.TemporaryDirectory() as folder:
            directory = Path(folder) / "rail-photoz"
            photoz.fit(table, directory)
            self.model = pack(directory)
        self.add_data("model", self.model)

    def validate(self) -> None:
        """Check that the columns are there."""
        self._get_stage_columns()
        self._check_column_names(self.get_handle("input", allow_missing=True), self.stage_columns)

    def _get_stage_columns(self) -> None:
        self.stage_columns = [*self.config.bands, *self.config.err_bands, self.config.redshift_col]


class AstroKerasEstimator(CatEstimator):
    """Densities of a model of ``AstroKerasInformer`` (or of `pack`), as a qp.interp.

    Beside them ``zmode``, ``zmedian``, ``zbest`` (smallest risk, as RAIL defines it), and the ``flags`` of astrokeras.
    An object without any usable band has a flat density, no point estimates (NaN), and the flag NO_DATA.
    """

    name = "AstroKerasEstimator"
    entrypoint_function = "estimate"
    interactive_function = "astro_keras_estimator"
    config_options = CatEstimator.config_options.copy()
    config_options.update(
        **{name: SharedParams.copy_param(name) for name in PHOTOMETRY},
        batch=Param(int, 8192, msg="objects that go through the network at once"),
    )

    def __init__(self, args: Any, **kwargs: Any) -> None:
        super().__init__(args, **kwargs)
        self._photoz: PhotoZ | None = None

    @classmethod
    def default_distribution_type(cls) -> DistributionType:
        """Densities follow from the redshifts of the training set as their prior."""
        return DistributionType.posterior

    def open_model(self, tag: str = "model", **kwargs: Any) -> Any:
        """Load the model, once for all chunks.

        Raises
        ------
        astrokeras.errors.ModelError
            If it is no model of ``AstroKerasInformer``, is damaged, or has other bands.
        """
        super().open_model(tag, **kwargs)
        directory = Path(tempfile.mkdtemp(prefix="astrokeras-rail-"))
        weakref.finalize(self, shutil.rmtree, directory, ignore_errors=True)
        unpack(self.model, directory)
        self._photoz = PhotoZ.from_pretrained(directory, batch=self.config.batch)
        wanted, given = self._photoz.card().bands, band_names(list(self.config.bands))
        if wanted != given:
            raise ModelError(
                f"the model has the bands {', '.join(wanted)}, in this order; bands gives {', '.join(given)}"
            )
        return self.model

    def _process_chunk(self, start: int, end: int, data: Any, first: bool) -> None:
        data = self._convert_table_format(data, "numpyDict")
        made = self._photoz(photometry(data, self.config))
        grid = np.linspace(self.config.zmin, self.config.zmax, self.config.nzbins)
        pdf = _on_grid(np.asarray(made["z_pdf"], float), self._photoz.card().grid.nodes(), grid)
        empty = ~(pdf.sum(axis=1) > 0)
        pdf[empty] = 1 / (grid[-1] - grid[0])
        ensemble = qp.Ensemble(qp.interp, data={"xvals": grid, "yvals": pdf})
        flags = np.asarray(made["flags"]) | np.where(empty, int(Flag.NO_DATA), 0).astype(np.int32)
        points = {name: np.asarray(made[column], float) for name, column in POINTS.items()}
        ensemble.set_ancil({**points, "flags": flags})
        self._do_chunk_output(ensemble, start, end, first, data=data)

    def validate(self) -> None:
        """Check that the columns are there."""
        self._get_stage_columns()
        self._check_column_names(self.get_handle("input", allow_missing=True), self.stage_columns)

    def _get_stage_columns(self) -> None:
        self.stage_columns = [*self.config.bands, *self.config.err_bands]


def _on_grid(pdf: np.ndarray, nodes: np.ndarray, grid: np.ndarray) -> np.ndarray:
    """Densities, piecewise linear between uniform nodes and zero outside, at the points of another grid."""
    if len(nodes) == len(grid) and np.allclose(nodes, grid):
        return pdf.copy()
    place = (grid - nodes[0]) / (nodes[1] - nodes[0])
    left = np.clip(np.floor(place).astype(int), 0, len(nodes) - 2)
    share = place - left
    values = pdf[:, left] * (1 - share) + pdf[:, left + 1] * share
    return np.where((place < 0) | (place > len(nodes) - 1), 0.0, values)
