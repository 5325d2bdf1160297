"""``SwapEMAWeights``: averaged weights in the place of the trained ones, where a network is looked at."""

from __future__ import annotations

from typing import Any

import numpy as np

from ._base import Callback, Logs

__all__ = ["SwapEMAWeights"]


class SwapEMAWeights(Callback):
    """Put averaged weights in the place of the trained ones for validations, and between epochs if asked to.

    The optimizer must keep averages (``use_ema=True``). Parameters and averages change places, so that nothing is lost,
    and again before the next step. Running statistics are no weights, and stay. As in Keras, callbacks behind this one
    see the averaged weights in ``on_epoch_end`` with `swap_on_epoch`: a `ModelCheckpoint` there saves them.

    Parameters
    ----------
    swap_on_epoch : bool
        Swap at the end of each epoch too. When the training ends after an epoch, the network has the averaged weights,
        and their average begins anew with them.

    Raises
    ------
    ValueError
        When ``fit`` begins, if the optimizer keeps no averages.
    """

    def __init__(self, swap_on_epoch: bool = False) -> None:
        self.swap_on_epoch = bool(swap_on_epoch)
        self._swapped_for = ""  # "test", "epoch", or nothing: the weights are those that are trained

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Refuse an optimizer that keeps no averages."""
        self._swapped_for = ""
        optimizer = self.model.optimizer
        if optimizer.averaging is None:
            name = type(optimizer).__name__
            raise ValueError(f"SwapEMAWeights: {name} keeps no averages; make it with {name}(use_ema=True)")

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """Bring back the weights that are trained."""
        self._bring_back()

    def on_test_begin(self, logs: Logs | None = None) -> None:
        """Put the averages in their place for a validation."""
        self._swap("test")

    def on_test_end(self, logs: Logs | None = None) -> None:
        """Bring back the weights that are trained."""
        self._bring_back()

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Put the averages in their place until the next epoch, if asked to."""
        if self.swap_on_epoch:
            self._swap("epoch")

    def on_train_end(self, logs: Logs | None = None) -> None:
        """Bring back the weights that are trained after a validation that has failed, else begin new averages."""
        if self._swapped_for == "test":
            self._bring_back()
        elif self._swapped_for:
            for weights, averages in self._pairs():
                averages[...] = weights
            self._swapped_for = ""

    def _pairs(self) -> list[tuple[Any, Any]]:
        engine = self.model.engine
        state = engine.optimizer_state
        return [(weights, state[key]["average"]) for key, weights in engine.parameters.items()]

    def _bring_back(self) -> None:
        if self._swapped_for:
            self._swap("")

    def _swap(self, swapped_for: str) -> None:
        """Let weights and averages change places, all of them or none."""
        engine, pairs = self.model.engine, self._pairs()
        with engine.guard.stepping("fit", arrays=[array for pair in pairs for array in pair]):
            for weights, averages in pairs:
                weights[...], averages[...] = np.array(averages), np.array(weights)
            self._swapped_for = swapped_for

    def get_state(self) -> dict[str, Any]:
        """Return whether weights and averages have changed places."""
        return {"swapped_for": self._swapped_for}

    def set_state(self, state: dict[str, Any]) -> None:
        """Take what `get_state` returned."""
        self._swapped_for = state["swapped_for"]
