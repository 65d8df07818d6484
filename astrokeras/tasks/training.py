"""Training of networks: the loop that follows a recipe."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import TrainingError
from .examples import Examples
from .learner import Learner
from .recipe import Recipe

if TYPE_CHECKING:
    import keras


def fit_members(
    learner: Learner,
    train: Examples,
    validate: Examples,
    on_epoch: Callable[[str], None] | None = None,
) -> tuple[list[keras.Model], list[dict[str, list[float]]]]:
    """Train the members of an ensemble.

    Parameters
    ----------
    learner : Learner
        What to do: recipe, network and loss.
    train, validate : Examples
        Statistics and weights come from ``train`` alone; ``validate`` (may be empty) ends the training early.
    on_epoch : callable, optional
        Called with a short note after every epoch.

    Returns
    -------
    members : list of keras.Model
    histories : list of dict
        Curves of each: losses and gradient norms.

    Raises
    ------
    TrainingError
        If a band has no data or the loss is not finite.
    """
    recipe = learner.recipe
    encoder = fitted_encoder(learner, train)
    members, histories, train = [], [], learner.learnt_from(train)
    for number in range(recipe.members):
        member = _member(learner, encoder, number, train)
        histories.append(_fit(learner, member, train, validate, _Notes(on_epoch, number, recipe)))
        members.append(member)
    return members, histories


def fitted_encoder(learner: Learner, train: Examples) -> keras.Model:
    """Graph from inputs to what members see, whose statistics come from the training rows.

    Raises
    ------
    TrainingError
        If a band has no data.
    """
    from ..networks.stamp_encoder import feature_encoder, stamp_encoder

    recipe, stamp = learner.recipe, learner.card.stamp
    settings = {"nsigma": recipe.limit_nsigma, "errors": recipe.errors}
    try:
        if stamp is None:
            return feature_encoder(train.tensors, **settings)
        stretch = recipe.stamp.stretch
        if stretch == "auto":
            stretch = "asinh" if stamp.unit else "linear"
        size = recipe.stamp.seen(min(stamp.shape[:2]))
        return stamp_encoder(train.tensors, size=size, crop=recipe.stamp.crop, stretch=stretch, **settings)
    except ValueError as error:
        raise TrainingError(f"train: {error}") from None


def _member(learner: Learner, encoder: Any, number: int, train: Examples) -> keras.Model:
    import keras

    from .gradients import watched

    recipe = learner.recipe
    keras.utils.set_random_seed(recipe.seed + number)
    try:
        member = learner.member(encoder)
        optimizer = _optimizer(recipe, -(-len(train) // recipe.batch_size))
    except ValueError as error:
        raise TrainingError(f"train: {error}") from None
    # A step of a small network costs less than to start it; several at once take long to compile.
    steps = 8 if learner.card.stamp is None else 1
    member.compile(watched(optimizer), loss=learner.loss(train), steps_per_execution=steps, jit_compile=False)
    return member


def _optimizer(recipe: Recipe, steps_per_epoch: int) -> keras.Optimizer:
    import keras

    rate: Any = recipe.learning_rate
    if recipe.schedule == "cosine":
        steps = steps_per_epoch * recipe.epochs
        warm = max(1, steps // 20)
        rate = keras.optimizers.schedules.CosineDecay(
            rate * 0.05, max(1, steps - warm), alpha=1e-3, warmup_target=rate, warmup_steps=warm
        )
    config = {"learning_rate": rate}
    if recipe.clipnorm is not None:
        config["global_clipnorm"] = recipe.clipnorm
    if recipe.weight_decay:
        config["weight_decay"] = recipe.weight_decay
    return keras.optimizers.get({"class_name": recipe.optimizer, "config": config})


class _Notes:
    """Passes the loss of each epoch on, in the words of a progress line."""

    def __init__(self, on_epoch: Callable[[str], None] | None, number: int, recipe: Recipe):
        self.on_epoch, self.number, self.recipe = on_epoch, number, recipe

    def __call__(self, epoch: int, logs: dict[str, float]) -> None:
        if self.on_epoch is not None:
            losses = ", ".join(f"{name} {value:.4f}" for name, value in logs.items() if "loss" in name)
            self.on_epoch(f"member {self.number + 1}/{self.recipe.members}, epoch {epoch + 1}: {losses}")


def _given(learner: Learner, examples: Examples) -> tuple[Any, ...]:
    """Inputs, truth and, if there are any, weights, as Keras takes them."""
    weight = () if examples.weight is None else (examples.weight.astype(np.float32),)
    return (dict(examples.tensors), learner.truth(examples), *weight)


def _fit(
    learner: Learner, member: keras.Model, train: Examples, validate: Examples, notes: _Notes
) -> dict[str, list[float]]:
    import keras

    from .batches import batches
    from .gradients import GradientCurves

    recipe = learner.recipe
    callbacks: list[keras.callbacks.Callback] = [
        keras.callbacks.TerminateOnNaN(),
        GradientCurves(),
        keras.callbacks.LambdaCallback(on_epoch_end=notes),
    ]
    held = None
    if len(validate):
        held = _given(learner, validate)
        callbacks.append(keras.callbacks.EarlyStopping(patience=recipe.patience, restore_best_weights=True))
    if learner.card.stamp is None:
        data = {"batch_size": recipe.batch_size, "validation_batch_size": 4096, "validation_data": held}
        given = _given(learner, train)
    else:
        # Keras would copy all stamps.
        data = {"validation_data": None if held is None else batches(held, 2 * recipe.batch_size), "shuffle": False}
        given = (batches(_given(learner, train), recipe.batch_size, recipe.seed),)
    # By name: the third parameter of fit is not the weights.
    data |= dict(zip(("x", "y", "sample_weight"), given, strict=False))
    history = member.fit(**data, epochs=recipe.epochs, callbacks=callbacks, verbose=0).history
    if not all(np.isfinite(loss).all() for loss in history.values()):
        raise TrainingError("train: the loss became infinite or NaN; a smaller learning_rate may help")
    return {name: [float(x) for x in losses] for name, losses in history.items()}
