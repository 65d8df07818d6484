"""From photometry to the features of a network, and what a training does to the photometry before."""

from itertools import pairwise

import keras
import numpy as np

from ..layers import (
    AsinhMagnitudes,
    BandDropout,
    Colors,
    ErrorJitter,
    InstrumentDropout,
    LimitDepths,
    LimitSimulation,
    MaskedNormalization,
)
from ..layers.photometry import LOG_ERROR_FLOOR

INPUTS = ("flux", "flux_err", "observed")


def photometry_inputs(n_bands, n_extra=0, limits=False, extra_mask=False):
    """Named inputs of every network on photometry.

    Parameters
    ----------
    n_bands, n_extra : int
        Number of bands, at least 2, and of further scalars per object; 0 leaves the input ``extra`` out.
    limits : bool
        Whether the network takes upper limits: the input ``limited``.
    extra_mask : bool
        Whether a further scalar may be missing: the input ``extra_observed``.

    Returns
    -------
    dict of keras.KerasTensor
        ``flux`` and ``flux_err`` in nJy, 0 where missing, and ``observed``, 1 or 0, all ``(batch, n_bands)``;
        ``limited``, 1 where the band is an upper limit of the depth ``flux_err``, else 0; and ``extra``
        ``(batch, n_extra)``, and ``extra_observed``, 1 where it is known, else 0.
    """
    if n_bands < 2:
        raise ValueError(f"photometry_inputs: n_bands must be at least 2, got {n_bands!r}")
    names = (*INPUTS, "limited") if limits else INPUTS
    inputs = {name: keras.Input((n_bands,), name=name, dtype="float32") for name in names}
    for name in ("extra", *(("extra_observed",) if extra_mask else ())) if n_extra else ():
        inputs[name] = keras.Input((n_extra,), name=name, dtype="float32")
    return inputs


def photometry_encoder(
    flux, flux_err, observed, extra=None, limited=None, extra_observed=None, nsigma=5.0, errors=True
):
    """Model from photometry to normalised features, its statistics taken from the given training rows.

    The features are asinh magnitudes, colors of neighbouring bands, logarithms of the magnitude errors, one indicator
    per missing band, with limits one indicator per upper limit and its depth, and the extra inputs. Magnitude, colors
    and error of a limit are hidden like those of a missing band. No weight of it is trainable.

    Parameters
    ----------
    flux, flux_err, observed : array-like
        Training rows, ``(rows, n_bands)``: nJy, nJy, and 1 where observed, else 0.
    extra : array-like, optional
        Further scalars, ``(rows, n_extra)``, finite.
    limited : array-like, optional
        1 where the band is an upper limit, whose depth (1 sigma) is in ``flux_err``, else 0; ``(rows, n_bands)``. Given
        (it may be all 0), the network takes upper limits.
    extra_observed : array-like, optional
        1 where the further scalar is known, else 0; ``(rows, n_extra)``. Given (it may be all 1), the network takes
        missing ones, with an indicator.
    errors : bool
        Whether flux errors are among the features.
    nsigma : float
        Fluxes below ``nsigma`` times the depth are upper limits.

    Returns
    -------
    keras.Model
        From the inputs of `photometry_inputs` to ``(batch, n_features)``.

    Raises
    ------
    ValueError
        When a band has no positive error in any row.
    """
    given = {"flux": flux, "flux_err": flux_err, "observed": observed, "limited": limited, "extra": extra}
    given["extra_observed"] = extra_observed
    rows = {name: np.asarray(values, dtype="float32") for name, values in given.items() if values is not None}
    n_extra = 0 if extra is None else rows["extra"].shape[1]
    inputs = photometry_inputs(rows["flux"].shape[1], n_extra, "limited" in rows, "extra_observed" in rows)
    asinh = AsinhMagnitudes(name="asinh_magnitudes")
    asinh.adapt(rows["flux_err"], rows["observed"])

    def normalised(name, values, mask, sample, sample_mask, floor=0.0):
        layer = MaskedNormalization(name=name, floor=floor)
        layer.adapt(keras.ops.convert_to_numpy(sample), keras.ops.convert_to_numpy(sample_mask))
        return layer([values, mask])

    magnitudes, log_errors = asinh([inputs[name] for name in INPUTS])
    sample_magnitudes, sample_log_errors = asinh([rows[name] for name in INPUTS])
    colors, both = Colors(name="colors")([magnitudes, inputs["observed"]])
    sample_colors, sample_both = Colors()([sample_magnitudes, rows["observed"]])
    features = [
        normalised("magnitudes", magnitudes, inputs["observed"], sample_magnitudes, rows["observed"]),
        normalised("color_values", colors, both, sample_colors, sample_both),
        *(
            [
                normalised(
                    "log_errors", log_errors, inputs["observed"], sample_log_errors, rows["observed"], LOG_ERROR_FLOOR
                )
            ]
            if errors
            else []
        ),
    ]
    missing = 1 - inputs["observed"]
    if "limited" in rows:
        depths = LimitDepths(nsigma, name="limit_depths")
        depths.adapt(*(rows[name] for name in (*INPUTS, "limited")))
        limits = inputs["limited"]
        features += [missing - limits, limits, depths([inputs["flux_err"], limits])]
    else:
        features.append(missing)
    if extra is not None:
        known = inputs.get("extra_observed", keras.ops.ones_like(inputs["extra"]))
        sample_known = rows.get("extra_observed", np.ones_like(rows["extra"]))
        features.append(normalised("extra_values", inputs["extra"], known, rows["extra"], sample_known))
        features += [1 - known] if "extra_observed" in rows else []
    return keras.Model(inputs, keras.layers.Concatenate(name="features")(features), name="encoder", trainable=False)


def feature_names(encoder, bands, extras=()):
    """Names of the features of an encoder, in their order.

    Parameters
    ----------
    encoder : keras.Model
        From `photometry_encoder`.
    bands, extras : sequence of str
        Names of its bands and of its further scalars.

    Returns
    -------
    list of str

    Raises
    ------
    ValueError
        When the encoder has another number of features.
    """
    layers = {layer.name for layer in encoder.layers}
    names = [*bands, *(f"{a} - {b}" for a, b in pairwise(bands))]
    if "log_errors" in layers:
        names += [f"error {band}" for band in bands]
    names += [f"{band} missing" for band in bands]
    if "limit_depths" in layers:
        names += [f"{band} limit" for band in bands] + [f"{band} depth" for band in bands]
    names += extras
    if "extra_observed" in encoder.input:
        names += [f"{name} missing" for name in extras]
    if len(names) != encoder.output_shape[-1]:
        raise ValueError(f"feature_names: the encoder has {encoder.output_shape[-1]} features, {len(names)} are named")
    return names


def seen_in_training(
    encoder, band_dropout, error_jitter, limit_rate=0.0, instrument_dropout=0.0, instruments=(), inputs=None
):
    """Inputs of a trainable member, and what its encoder sees of them: the same, but with random changes in training.

    Parameters
    ----------
    encoder : keras.Model
        From `photometry_encoder`.
    band_dropout, error_jitter, limit_rate : float
        See `astrokeras.layers.BandDropout`, `astrokeras.layers.ErrorJitter` and
        `astrokeras.layers.LimitSimulation`; only an encoder that takes limits can have a ``limit_rate`` above 0.

    instrument_dropout, instruments : float, sequence of int
        See `astrokeras.layers.InstrumentDropout`; without ``instruments`` there is none.
    inputs : dict of keras.KerasTensor, optional
        Where the encoder is part of another; by default new ones are made.

    Returns
    -------
    inputs, seen : dict of keras.KerasTensor
        Named as the inputs of the encoder.

    Raises
    ------
    ValueError
        When a parameter is out of range.
    """
    inputs = inputs or {name: keras.Input(x.shape[1:], name=name, dtype="float32") for name, x in encoder.input.items()}
    seen = dict(inputs)
    if "extra_observed" in inputs:
        hide_extra = BandDropout(band_dropout, keep_one=False, name="extra_dropout")
        seen["extra_observed"] = hide_extra(inputs["extra_observed"])
    flux_err = ErrorJitter(error_jitter, name="error_jitter")(inputs["flux_err"])
    hide = _hiding(band_dropout, instrument_dropout, instruments)
    if "limited" not in inputs:
        if limit_rate:
            raise ValueError(f"seen_in_training: this encoder takes no limits, but limit_rate is {limit_rate!r}")
        return inputs, {**seen, "flux_err": flux_err, "observed": hide(inputs["observed"])}
    depths = encoder.get_layer("limit_depths")
    low, high = (keras.ops.convert_to_numpy(x) for x in (depths.low, depths.high))
    # A fifth is shallower than the features tell apart, so that the end of their range is well known.
    high = high + 0.25 * (high - low)
    simulate = LimitSimulation(limit_rate, depths.nsigma, low, high, name="limit_simulation")
    flux_err, observed, limited = simulate([inputs["flux"], flux_err, inputs["observed"], inputs["limited"]])
    observed, limited = hide([observed, limited])
    return inputs, {**seen, "flux_err": flux_err, "observed": observed, "limited": limited}


def _hiding(band_dropout, instrument_dropout, instruments):
    """What hides bands in training: all those of an instrument, then single ones."""
    bands = BandDropout(band_dropout, name="band_dropout")
    if not len(instruments) or not instrument_dropout:
        return bands
    whole = InstrumentDropout(instruments, instrument_dropout, name="instrument_dropout")
    return lambda masks: bands(whole(masks))
