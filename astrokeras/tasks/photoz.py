"""Photometric redshifts with their densities."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import numpy as np
from pydantic import Field as Parameter
from pydantic import model_validator

from ..errors import TrainingError
from ..fields import FLAGS, Band, Field, flux_field
from ..flags import Flag
from ..models.bundle import inspected
from ..models.card import Card, Grid, photometry_inputs, read_card
from ..models.library import find
from ..models.tensors import blank, decode, encode, match, written_fields
from ..stage import Trainable
from .photoz_training import facts_of, model_name, provisional_card, split_of, train_and_save
from .recipe import Recipe, redshift_range, usable_targets
from .training import Examples

if TYPE_CHECKING:
    from astropy.table import QTable, Table

#: What a card decides beside the graph.
RULES = {"bands", "inputs", "outputs", "may_miss", "min_bands", "grid", "domain"}
COLUMNS = ("z_phot", "z_mode", "z_lo", "z_hi", "z_pdf")
Override = Literal["filter", "photometry", "dereddened"]


class PhotoZ(Trainable):
    """Photometric redshifts: ``z_phot`` (median), ``z_mode``, ``z_lo``, ``z_hi`` (16, 84 %) and the density ``z_pdf``.

    Give ``model`` to apply one, or ``bands`` and ``train`` to make one.

    Parameters
    ----------
    model : str, optional
        A model directory, or the name and version of a model that astrokeras finds (``boss-photoz@1``).
    bands : tuple of str
        Bands to train on, in order of wavelength.
    extra : tuple of str
        Further columns to train on (sizes, concentrations); must be finite.
    train : Recipe, optional
        How to train.
    save : str, optional
        Directory for the trained model.
    pdf : bool
        Write ``z_pdf``, densities on the uniform grid which the PARAMs ``z_min`` and ``z_max`` describe.
    override : tuple of str
        Use the model although ``filter``, ``photometry`` or ``dereddened`` differ from what it was trained on; such
        objects are flagged PHOTOMETRY_MISMATCH.
    batch : int
        Objects that go through the network at once.

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
    >>> recipe = {"width": 8, "depth": 1, "members": 1, "epochs": 1, "n_grid": 32}
    >>> with TemporaryDirectory() as directory:
    ...     photoz = PhotoZ(bands=("g", "r", "i"), train=recipe).fit(galaxies, f"{directory}/model")
    ...     table = photoz(galaxies)
    >>> table.colnames[-6:]
    ['flags', 'z_phot', 'z_mode', 'z_lo', 'z_hi', 'z_pdf']
    >>> table["z_pdf"].shape
    (300, 32)

    A model that was saved needs its directory only:

    >>> photoz = PhotoZ.from_pretrained("products/photoz-train/model", pdf=False)  # doctest: +SKIP
    >>> photoz(table)["z_phot", "z_lo", "z_hi"]  # doctest: +SKIP
    """

    name: ClassVar[str] = "photoz"
    bands: tuple[Band, ...] = ()
    extra: tuple[str, ...] = ()
    train: Recipe | None = None
    pdf: bool = True
    override: tuple[Override, ...] = ()
    batch: int = Parameter(default=8192, ge=1, le=1_048_576)

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if (self.model is None) == (self.train is None):
            raise ValueError("photoz needs either `model` (to apply one) or `train` (to make one)")
        if self.train is None:
            for name in ("bands", "extra", "save"):
                if getattr(self, name):
                    raise ValueError(f"`{name}` belongs to training; a model brings its own")
            return self
        if not self.bands or len(set(self.bands)) < len(self.bands):
            raise ValueError(f"training needs distinct `bands`, got {list(self.bands)}")
        taken = [self.train.target] if self.train.target in self._input_names() else []
        if taken:
            raise ValueError(f"the target {taken[0]!r} is among the inputs")
        return self

    def _columns(self) -> tuple[str, ...]:
        return COLUMNS if self.pdf else COLUMNS[:-1]

    def _input_names(self) -> tuple[str, ...]:
        return (*(f"{p}_{b}" for b in self.bands for p in ("flux", "flux_err")), *self.extra)

    @classmethod
    def from_pretrained(cls, model: str | Path, **parameters: Any) -> Self:
        """Stage that applies a saved model.

        Parameters
        ----------
        model : str or Path
            See ``model`` of the class.
        **parameters
            Other parameters of the class.

        Raises
        ------
        ModelError
            If there is no such model or it cannot be read.
        """
        read_card(find(str(model)))
        return cls(model=str(model), **parameters)

    def _provisional(self, fields: tuple[Field, ...], grid: Grid) -> Card:
        return provisional_card(self.save, self.train, photometry_inputs(self.bands, fields, self.extra), grid)

    def card(self) -> Card:
        """Card of the model in use."""
        return read_card(find(self.model))

    def model_digest(self) -> str | None:
        """See `Trainable.model_digest`."""
        return None if self.model is None else self.card().digest

    def model_state(self) -> dict[str, Any]:
        """See `Trainable.model_state`: the rules of the card count, and the name that training writes into it."""
        if self.model is None:
            return {"name": model_name(self.save)}
        card = self.card()
        return {"digest": card.digest, **card.model_dump(mode="json", include=RULES)}

    def with_model(self, directory: str | Path) -> Self:
        """See `Trainable.with_model`."""
        return self.model_copy(update={"model": str(directory), "train": None, "bands": (), "extra": (), "save": None})

    def model_facts(self) -> dict[str, str]:
        """See `Trainable.model_facts`."""
        card = self.card()
        return {"name": card.name, "version": card.version, "digest": card.digest}

    def reads(self) -> tuple[Field, ...]:
        """See `Stage.reads`."""
        if self.model is not None:
            return self.card().source_inputs()
        fluxes = (flux_field(band, kind) for band in self.bands for kind in ("", "err"))
        return (*fluxes, *(Field(name=name, kind="f4") for name in self.extra))

    def writes(self) -> tuple[Field, ...]:
        """See `Stage.writes`."""
        if self.model is not None:
            return written_fields(self.card(), self._columns())
        return written_fields(self._provisional((), Grid(z_min=0.0, z_max=1.0, n=self.train.n_grid)), self._columns())

    def accepts(self, available: tuple[Field, ...]) -> tuple[str, ...]:
        """See `Stage.accepts`."""
        return () if self.model is None else match(inspected(find(self.model)), available, self.override)

    def run(self, chunk: QTable) -> dict[str, Any]:
        """See `Stage.run`."""
        from ..models import backend
        from ..models.predict import predictor

        backend.start()
        if self.model is None:
            raise TrainingError("photoz has no model yet: call fit")
        ready = predictor(find(self.model), batch=self.batch)
        # The predictor is kept by the digest of the graph; the card may have changed since.
        names, card = self._columns(), self.card()
        tensors, flags = encode(chunk, card, self.override)
        columns = ready.run(tensors, lambda outputs: decode(outputs, card, names))
        return {**blank(columns, flags), FLAGS.name: flags}

    def training_fields(self) -> tuple[Field, ...]:
        """See `Trainable.training_fields`."""
        return (*self.reads(), Field(name=self.train.target, kind="f8"))

    def fit(self, dataset: Table, directory: str | Path, on_epoch: Callable[[str], None] | None = None) -> Self:
        """Train on a table and return a new stage with the model, saved in ``directory``.

        Parameters
        ----------
        dataset : Table
            Columns of `training_fields`; with a column ``split`` only rows marked ``train``, ``validate`` and
            ``calibrate`` are used, without one a tenth each is set aside by object to validate and calibrate.
        directory : str or Path
            Where the model goes.
        on_epoch : callable, optional
            Called with a short note after every epoch.

        Raises
        ------
        TrainingError
            If the rows cannot give a model.
        """
        from .. import chunk as border
        from ..models import backend
        from ..models.predict import set_threads

        set_threads(self.train.threads)
        backend.start()
        table = border.canonical(dataset)
        projected = border.project(table, self.training_fields(), self.name)
        target = np.asarray(projected[self.train.target], float)
        chosen = self._chosen(projected, table)
        target = np.where(chosen, target, np.nan)
        good = usable_targets(target, self.train)
        part = split_of(table, projected, self._input_names(), self.train.seed)
        known = good & np.isin(part, ("train", "validate", "calibrate"))
        z_min, z_max = redshift_range(self.train, target[known & (part == "train")])
        card = self._provisional(facts_of(projected), Grid(z_min=z_min, z_max=z_max, n=self.train.n_grid))
        tensors, flags = encode(projected, card)
        known &= (flags & Flag.NO_DATA) == 0
        rows = {
            name: Examples(tensors, target).take(known & (part == name)) for name in ("train", "validate", "calibrate")
        }
        facts = {
            "split": table.meta.get("split", {}),
            "where": table.meta.get("where", ""),
            "source": table.meta.get("source", {}),
            "unusable_target": int(np.count_nonzero(chosen & ~good)),
        }
        train_and_save(self.train, card, rows, Path(directory), facts, on_epoch)
        return self.with_model(directory)
