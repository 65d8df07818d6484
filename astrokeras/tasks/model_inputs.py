"""The inputs of a model to train, as the parameters of a stage name them."""

from __future__ import annotations

from typing import ClassVar

from ..fields import Band, Field, flux_field
from ..models.card import photometry_inputs
from ..trainable import Trainable
from .recipe import Recipe


class ModelInputs(Trainable):
    """Base of the stages with a model: what a model to train takes.

    Parameters
    ----------
    bands : tuple of str
        Bands to train on, in order of wavelength.
    extra : tuple of str
        Further columns to train on (sizes, concentrations); where one is missing it is masked, as bands are.
    vectors : tuple of str
        Further columns whose cells hold several numbers (``hog``).
    stamps : str, optional
        Column of stamps to train on, cells ``(y, x, band)``.
    """

    #: Type of the column with the truth.
    target_kind: ClassVar[str]
    train: Recipe | None = None
    bands: tuple[Band, ...] = ()
    extra: tuple[str, ...] = ()
    vectors: tuple[str, ...] = ()
    stamps: str | None = None

    def input_names(self) -> tuple[str, ...]:
        """Columns that a model to train would take."""
        fluxes = (f"{p}_{b}" for b in self.bands for p in ("flux", "flux_err"))
        return (*fluxes, *self.extra, *self.vectors, *((self.stamps,) if self.stamps else ()))

    def card_inputs(self, fields: tuple[Field, ...]) -> tuple[Field, ...]:
        """Inputs of the card of a model to train; before there are data (no ``fields``) by their names alone."""
        known = fields or tuple(field.model_copy(update={"unit": ""}) for field in self._further((1,), (8, 8, 1)))
        return photometry_inputs(self.bands, known, self.input_names()[2 * len(self.bands) :])

    def _further(self, vector: tuple[int, ...], stamp: tuple[int, ...]) -> tuple[Field, ...]:
        """Fields of all inputs but photometry, with the shapes of their cells."""
        return (
            *(Field(name=name, unit=None) for name in self.extra),
            *(Field(name=name, unit=None, shape=vector) for name in self.vectors),
            *((Field(name=self.stamps, unit=None, shape=stamp),) if self.stamps else ()),
        )

    def target_fields(self) -> tuple[Field, ...]:
        """Columns with the truth."""
        return (Field(name=self.train.target, kind=self.target_kind),)

    def training_inputs(self) -> tuple[Field, ...]:
        """Fields of the inputs of a model to train."""
        fluxes = (flux_field(band, kind) for band in self.bands for kind in ("", "err"))
        return (*fluxes, *self._further((-1,), (-1, -1, -1)))
