from array import array as int_array
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .concurrency import AccessGuard
from .plan import Run

class FastPath:
    def __init__(
        self,
        run: Run,
        guard: AccessGuard,
        seed: int,
        order: NDArray[np.int64],
        array: type[NDArray[Any]],
        dtype: np.dtype[Any],
        inputs: int,
        units: int,
        versions: int_array[int],
        refresh: Callable[[], bool],
    ) -> None: ...

class TrainFastPath(FastPath):
    fill: Callable[[int], None] | None
    def __init__(
        self,
        *common: Any,
        labels: np.dtype[Any] | None,
        metric: str | None,
        hyper: NDArray[np.float64],
        fill: Callable[[int], None] | None = None,
    ) -> None: ...
    def watch(self, attributes: dict[str, Any]) -> None: ...

class PredictFastPath(FastPath):
    def __init__(self, *common: Any, empty: Callable[..., NDArray[Any]]) -> None: ...

def train(executable: Any, x: Any, y: Any) -> dict[str, float] | None: ...
def predict(idle: list[Any], x: Any, batch_size: Any, out: Any) -> NDArray[Any] | None: ...
