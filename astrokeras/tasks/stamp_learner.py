"""What networks on stamps share in training: their members, symmetries, auxiliary numbers, and where they start."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .examples import Examples
from .learner import HIDING, TRUNK, Learner

if TYPE_CHECKING:
    import keras


class StampLearner(Learner):
    """Training of a task whose network may look at stamps."""

    @property
    def mirror(self) -> list[int] | None:
        """Outputs that a mirror image exchanges; None where it changes none."""
        return None

    @property
    def looks(self) -> bool:
        """Whether the network is built as those for stamps: it has one, no photometry, or auxiliary outputs."""
        return self.card.stamp is not None or not self.card.bands or self.n_auxiliary > 0

    @property
    def n_auxiliary(self) -> int:
        """Numbers that the network learns along."""
        return len(getattr(self.recipe, "auxiliary", ()))

    def any_member(self, encoder: keras.Model, n_outputs: int) -> keras.Model:
        """One network to train on stamps and what stands beside them, or on features alone."""
        from ..networks.stamp_member import stamp_member
        from .transfer import freeze_layers, is_backbone, read_backbone, start_from

        recipe, start = self.recipe, getattr(self.recipe, "start", None)
        backbone = read_backbone(start, encoder) if is_backbone(start) else None
        shape = {"activation": recipe.activation, "initializer": recipe.initializer, "dropout": recipe.dropout}
        hiding = self.settings(HIDING) | {"instruments": self.instruments}
        member = stamp_member(
            encoder,
            n_outputs,
            recipe.stamp.changes(),
            mirror=self.mirror,
            trunk={"widths": recipe.stamp.widths, "blocks": recipe.stamp.blocks, **shape},
            dense=self.settings(TRUNK),
            hiding=hiding,
            n_auxiliary=self.n_auxiliary,
            backbone=backbone,
        )
        if backbone is not None:
            freeze_layers(backbone, recipe.freeze)
        elif start is not None:
            start_from(member, encoder, start, recipe.freeze)
        return member

    def mean(self, members: Any, behind: Any) -> tuple[dict[str, Any], Any]:
        """Inputs, and the mean over members and orientations of what the layers ``behind`` make of their outputs."""
        from ..networks.stamp_member import averaged

        return averaged(members, behind, self.mirror, self.recipe.stamp.dihedral)

    def joint_loss(self, main: Any, truths: int, outputs: int) -> Any:
        """Loss of the target and, if there are any, of the auxiliary numbers."""
        from ..layers import JointLoss

        return JointLoss(main, truths, outputs, self.recipe.auxiliary_weight) if self.n_auxiliary else main

    def joint_truth(self, target: np.ndarray, examples: Examples) -> np.ndarray:
        """Targets and, if there are any, auxiliary numbers side by side, as `joint_loss` takes them."""
        if not self.n_auxiliary:
            return target
        target = target.reshape(len(examples), -1)
        return np.concatenate([target, examples.beside], axis=1).astype(np.float32)
