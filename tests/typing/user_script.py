"""A user's script, for mypy to check: what is written every day is well typed. Nothing runs it."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

import fastmlp as fm


@fm.registry.activations.register("cube")
class Cube(fm.activations.Activation):
    """An activation of one's own, by its name."""

    def __init__(self, scale: float = 1.0) -> None:
        self.scale = scale

    def forward(self, z: NDArray[Any]) -> NDArray[Any]:
        result: NDArray[Any] = self.scale * z**3
        return result

    def derivative(self, z: NDArray[Any], a: NDArray[Any]) -> NDArray[Any]:
        result: NDArray[Any] = 3 * self.scale * z**2
        return result


class Halve(fm.callbacks.Callback):
    """A callback that changes the optimizer."""

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self.model.optimizer.learning_rate *= 0.5
        if logs and logs["loss"] < 0.01:
            self.model.stop_training = True


x: NDArray[np.float32] = np.zeros((64, 8), np.float32)
y: NDArray[np.int64] = np.arange(64) % 3

net = fm.Sequential(
    [fm.layers.Dense(16, "cube"), fm.layers.BatchNorm(), fm.layers.Dense(16, Cube(0.5)), fm.layers.Dense(3, "softmax")],
    input_dim=8,
    seed=0,
)
net.compile(fm.optimizers.Adam(0.01), "sparse_categorical_crossentropy", metrics=["accuracy"])
history = net.fit(x, y, epochs=2, batch_size=16, callbacks=[Halve()], verbose=0)
last: float = history.history["loss"][-1]

units: int = net.layers[0].units
names: list[str] = [f"{key} {array.shape}" for key, array in net.parameters.items()]

net.optimizer.learning_rate *= 0.5
logs: dict[str, float] = net.train_on_batch(x, y)
loss, gradients = net.loss_and_gradients(x, y)
means: dict[str, NDArray[Any]] = gradients.statistics
for key in gradients:
    gradients[key] = 2 * gradients[key]
net.apply_gradients(gradients)
net.feature_names = [f"column {number}" for number in range(8)]
outputs: NDArray[Any] = net.predict(x)

net.save("network.npz")
again: fm.Sequential = fm.load("network.npz")
accuracy: float = again.evaluate(x, y)["accuracy"]
fm.testing.check(Cube)
