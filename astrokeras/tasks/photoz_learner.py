"""Training of photometric redshifts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import TrainingError
from ..fields import Field
from ..models.card import Card, Metric
from .examples import Examples, HeldOut
from .learner import HIDING, MEASURED_ON, TRUNK, outputs
from .stamp_learner import StampLearner

if TYPE_CHECKING:
    import keras

    from ..models.classical import Classical

_SHAPE = ("network", "coefficients", "components")


class PhotozLearner(StampLearner):
    """Members give the log density of the redshift; their mean is recalibrated, or gets at least a temperature."""

    def member(self, encoder: keras.Model) -> keras.Model:
        """See `Learner.member`."""
        from ..networks.dense import photoz_network

        grid = self.card.grid
        if self.looks:
            return self._looking_member(encoder)
        settings = self.settings((*_SHAPE, *HIDING, *TRUNK)) | {"instruments": self.instruments}
        return photoz_network(encoder, z_min=grid.z_min, z_max=grid.z_max, n_grid=grid.n, **settings)

    def _looking_member(self, encoder: keras.Model) -> keras.Model:
        """One network to train on stamps beside the photometry."""
        import keras

        from ..layers import LogDensity
        from ..networks.dense import grid_logits

        grid = self.card.grid
        member = self.any_member(encoder, self._size())
        logits = grid_logits(member.output, self.recipe.network, grid.z_min, grid.z_max, grid.n)
        log_pdf = LogDensity(grid.z_min, grid.z_max, name="log_pdf")(logits)
        return keras.Model(member.input, log_pdf, name="photoz_member")

    def _size(self) -> int:
        from ..networks.dense import density_size

        settings = self.settings(_SHAPE)
        return density_size(settings.pop("network"), self.card.grid.n, **settings)

    def _joined(self, members: Sequence[keras.Model]) -> keras.Model:
        """One graph of all members, not calibrated."""
        from ..networks.dense import density_model, ensemble, photoz_model

        if not self.looks:
            return ensemble(members)
        place = self.card.grid.z_min, self.card.grid.z_max
        shape = (self.recipe.network, self._size(), *place, self.card.grid.n)
        return photoz_model(*self.mean(members, lambda name: density_model(*shape, name)), *place)

    def loss(self, train: Examples) -> Any:
        """See `Learner.loss`."""
        from ..layers import DensityLoss

        return DensityLoss(self.card.grid.z_min, self.card.grid.z_max, crps_weight=self.recipe.crps_weight)

    def finish(self, members: Sequence[keras.Model], rows: Mapping[str, Examples]) -> tuple[keras.Model, Card]:
        """See `Learner.finish`."""
        from ..networks.dense import fit_temperature

        model = self._joined(members)
        held = rows["calibrate"]
        if len(held) and not self.folds:
            temperature = fit_temperature(outputs(model, held, "z_pdf"), self.card.grid.nodes(), held.target)
            model.get_layer("z_pdf").set_temperature(temperature)
        return model, self.card

    @property
    def folds(self) -> int:
        """See `Learner.folds`."""
        return self.recipe.folds

    def recalibrate(self, model: keras.Model, card: Card, held: HeldOut) -> tuple[keras.Model, Card]:
        """See `Learner.recalibrate`."""
        import keras

        from ..layers import ReferenceMagnitude
        from ..networks.recalibration import recalibrated
        from .photoz_calibration import Sample, calibration

        number = self._magnitude_band(held.examples.tensors)
        reference = ReferenceMagnitude(number)
        reference.adapt(*(held.examples.tensors[name] for name in ("flux", "flux_err", "observed")))

        def sample(pdf: np.ndarray, rows: Examples) -> Sample:
            magnitude = reference([rows.tensors["flux"], rows.tensors["observed"]])
            return Sample(pdf, rows.target, keras.ops.convert_to_numpy(magnitude), card.grid.nodes())

        own = sample(outputs(model, held.aside, "z_pdf"), held.aside) if len(held.aside) else None
        found = calibration(sample(held.output, held.examples), self.folds, own, held.aside_output)
        model.get_layer("z_pdf").set_temperature(found.temperature)
        band = card.bands[number]
        magnitude = Field(name="magnitude", unit="mag", description=f"Asinh magnitude (AB) in band {band}")
        facts = found.facts.model_copy(update={"band": band, "patches": held.patches if found.facts.folds else 0})
        update = {"calibration": facts, "outputs": (*card.outputs, magnitude)}
        return recalibrated(model, found.pit_map, reference), card.model_copy(update=update)

    def _magnitude_band(self, tensors: Mapping[str, np.ndarray]) -> int:
        """Number of the band whose magnitude the recalibration follows."""
        if self.recipe.magnitude_band is not None:
            return self.card.bands.index(self.recipe.magnitude_band)
        seen, error = tensors["observed"] > 0, tensors["flux_err"]
        ratio = np.divide(tensors["flux"], error, out=np.zeros_like(error), where=seen & (error > 0))
        return int(np.argmax([np.median(column[here]) for column, here in zip(ratio.T, seen.T, strict=True)]))

    def row_losses(self, model: keras.Model, examples: Examples) -> np.ndarray:
        """See `Learner.row_losses`."""
        from ..metrics import log_likelihood

        return -log_likelihood(outputs(model, examples, "z_pdf"), self.card.grid.nodes(), examples.target)

    def wrapped(self, encoder: keras.Model, estimator: Any, rows: Mapping[str, Examples]) -> tuple[Classical, Card]:
        """See `Learner.wrapped`: the scatter of rows set aside makes a density of each redshift."""
        from ..models.classical import Classical
        from ..models.residuals import fit_residuals

        held = rows["calibrate"] if len(rows["calibrate"]) else rows["validate"]
        if len(held) < 2:
            raise TrainingError(
                f"train: {self.recipe.method} has no error bars without rows to calibrate on; "
                "give `split: {calibrate: ...}`"
            )
        nodes = self.card.grid.nodes()
        bare = Classical(encoder, estimator, {"grid": nodes})
        predicted = estimator.predict(bare.features(held.tensors))
        arrays = fit_residuals(predicted, held.target, nodes[1] - nodes[0])
        return Classical(encoder, estimator, {"grid": nodes, **arrays}), self.card

    def metrics(self, model: keras.Model | Classical, validate: Examples) -> tuple[Metric, ...]:
        """See `Learner.metrics`."""
        from .. import metrics
        from ..densities import pdf_summary

        if not len(validate):
            return ()
        z_phot = pdf_summary(outputs(model, validate, "z_pdf"), self.card.grid.nodes())["median"]
        values = {
            "sigma_nmad": metrics.sigma_nmad(z_phot, validate.target),
            "outlier_fraction": metrics.outlier_fraction(z_phot, validate.target),
        }
        return tuple(Metric(name=k, value=float(v), n=len(validate), definition=MEASURED_ON) for k, v in values.items())
