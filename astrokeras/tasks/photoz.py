"""Photometric redshifts with their densities."""

from __future__ import annotations

from typing import ClassVar, Self

import numpy as np
from pydantic import model_validator

from ..errors import did_you_mean
from ..fields import Field
from ..models.calibration import Calibration
from ..models.card import Card, Grid
from ..models.columns import output_fields
from .model_stage import ModelStage
from .photoz_learner import PhotozLearner
from .photoz_recipe import PhotozRecipe, redshift_range, usable_targets
from .train_model import provisional_card


class PhotoZ(ModelStage):
    """Photometric redshifts, their densities, intervals and quality.

    ``z_phot`` (median), ``z_mode``, ``z_best`` (smallest risk), ``z_lo`` and ``z_hi`` (16, 84 %), ``z_risk``,
    ``z_odds``, conformal intervals ``z_lo68``, ``z_hi68``, ``z_lo95``, ``z_hi95``, ``z_quality`` and the density
    ``z_pdf``. Give ``model`` to apply one, or ``bands`` and ``train`` to make one.

    Parameters
    ----------
    train : PhotozRecipe, optional
        How to train.
    pdf : bool
        Write ``z_pdf``, densities on the uniform grid which the PARAMs ``z_min`` and ``z_max`` describe.

    Notes
    -----
    A missing band (NaN) is masked in the network, which was trained with bands hidden at random; flags say which
    objects that concerns. An object without any usable band gets NaN and the flag NO_DATA.

    Examples
    --------
    Train on a table, then apply; any astropy table with fluxes and their errors does, in any unit of flux density:

    >>> from tempfile import TemporaryDirectory
    >>> from astrokeras.synthetic.catalog import Synthetic
    >>> source = Synthetic(rows=300, seed=1, classes={"galaxy": 1})
    >>> (rows,) = source.partitions(300)
    >>> galaxies = source.read(rows, [field.name for field in source.fields()])
    >>> recipe = {"width": 8, "depth": 1, "members": 1, "epochs": 1, "n_grid": 32, "cross_fit": 2}
    >>> with TemporaryDirectory() as directory:
    ...     photoz = PhotoZ(bands=("g", "r", "i"), train=recipe).fit(galaxies, f"{directory}/model")
    ...     table = photoz(galaxies)
    >>> table.colnames[-14:-7]
    ['z_phot', 'z_mode', 'z_best', 'z_lo', 'z_hi', 'z_risk', 'z_odds']
    >>> table.colnames[-7:]
    ['z_lo68', 'z_hi68', 'z_lo95', 'z_hi95', 'z_quality', 'z_pdf', 'domain_score']
    >>> table["z_pdf"].shape
    (300, 32)

    A model that was saved needs its directory only:

    >>> photoz = PhotoZ.from_pretrained("products/photoz-train/model", pdf=False)  # doctest: +SKIP
    >>> photoz(table)["z_phot", "z_lo", "z_hi"]  # doctest: +SKIP
    """

    name: ClassVar[str] = "photoz"
    task: ClassVar[str] = "photoz"
    target_kind: ClassVar[str] = "f8"
    agreement: ClassVar[float] = 0.005
    train: PhotozRecipe | None = None
    pdf: bool = True

    @model_validator(mode="after")
    def _known_band(self) -> Self:
        band = None if self.train is None else self.train.magnitude_band
        if band is not None and band not in self.bands:
            raise ValueError(f"train.magnitude_band: {band!r} is not among the bands{did_you_mean(band, self.bands)}")
        return self

    def _columns(self) -> tuple[str, ...] | None:
        if self.pdf:
            return None
        card = self.provisional((), None) if self.model is None else self.card()
        return tuple(field.name for field in output_fields(card) if field.name != "z_pdf")

    def provisional(self, fields: tuple[Field, ...], target: np.ndarray | None) -> Card:
        inputs = self.card_inputs(fields)
        z_min, z_max = (0.0, 1.0) if target is None else redshift_range(self.train, target)
        grid = Grid(z_min=z_min, z_max=z_max, n=self.train.n_grid)
        pdf = Field(name="z_pdf", shape=(grid.n,), meta={"z_min": grid.z_min, "z_max": grid.z_max})
        calibration = Calibration() if self.train.folds else None
        return provisional_card(self.task, self.save, self.train, inputs, (pdf,), grid=grid, calibration=calibration)

    def targets(self, column: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        target = column.astype(float)
        return target, usable_targets(target, self.train)

    def learner(self, card: Card) -> PhotozLearner:
        return PhotozLearner(self.train, card)

    def _settled(self, target: np.ndarray) -> PhotozRecipe:
        return self.train.model_copy(update={"z_max": redshift_range(self.train, target)[1]})
