"""Training of photometric redshifts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..models.card import Card, Metric
from .examples import Examples
from .learner import MEASURED_ON, TRUNK, Learner, outputs

if TYPE_CHECKING:
    import keras

_SHAPE = ("network", "coefficients", "components", "band_dropout", "error_jitter", "limit_rate")


class PhotozLearner(Learner):
    """Members give the log density of the redshift; their mean gets a temperature."""

    def member(self, encoder: keras.Model) -> keras.Model:
        """See `Learner.member`."""
        from ..networks.dense import photoz_network

        grid = self.card.grid
        return photoz_network(
            encoder, z_min=grid.z_min, z_max=grid.z_max, n_grid=grid.n, **self.settings(_SHAPE + TRUNK)
        )

    def loss(self, train: Examples) -> Any:
        """See `Learner.loss`."""
        from ..layers import DensityLoss

        return DensityLoss(self.card.grid.z_min, self.card.grid.z_max, crps_weight=self.recipe.crps_weight)

    def finish(self, members: Sequence[keras.Model], rows: Mapping[str, Examples]) -> tuple[keras.Model, Card]:
        """See `Learner.finish`."""
        from ..networks.dense import ensemble, fit_temperature

        model = ensemble(members)
        held = rows["calibrate"]
        if len(held):
            temperature = fit_temperature(outputs(model, held, "z_pdf"), self.card.grid.nodes(), held.target)
            model.get_layer("z_pdf").set_temperature(temperature)
        return model, self.card

    def metrics(self, model: keras.Model, validate: Examples) -> tuple[Metric, ...]:
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
