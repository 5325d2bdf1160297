from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

class Run:
    def __init__(
        self,
        ops: NDArray[np.uint8],
        table: NDArray[np.int64],
        counters: NDArray[np.int64],
        capacity: int,
        double_precision: bool,
    ) -> None: ...
    @property
    def n_hyper(self) -> int: ...
    @property
    def large(self) -> bool: ...
    @property
    def overflow(self) -> int: ...
    @property
    def loss(self) -> float: ...
    @loss.setter
    def loss(self, value: float) -> None: ...
    @property
    def metric(self) -> float: ...
    @property
    def weight(self) -> float: ...
    def bind(self, arena: int, array: NDArray[Any] | None) -> None: ...
    def bind_data(
        self,
        x: NDArray[Any],
        y: NDArray[Any] | None,
        weight: NDArray[Any] | None,
        order: NDArray[np.int64],
    ) -> None: ...
    def unbind_data(self) -> None: ...
    def begin(
        self, offset: int, batch: int, seed: int, hyper: NDArray[np.float64] | None = None, kept_row: int = 0
    ) -> None: ...
    def execute(
        self,
        first: int,
        last: int,
        threads: int,
        counts: bool = False,
        staged: Sequence[tuple[str, NDArray[Any], NDArray[Any]]] = (),
    ) -> bool: ...
    def timed(self, first: int, last: int, threads: int) -> float: ...
    def schedule(
        self, first: int, last: int, batch: int, threads: int, fused: NDArray[np.intp], threads_of: NDArray[np.intp]
    ) -> None: ...
    def epoch(
        self,
        first: int,
        last: int,
        offset: int,
        end: int,
        batch_size: int,
        seed: int,
        hyper: NDArray[np.float64] | None,
        threads: int,
        totals: NDArray[np.float64],
        seconds: float = 0.1,
        evaluating: bool = False,
        kept_from: int = 0,
    ) -> tuple[int, bool]: ...

def shuffle(order: NDArray[np.int64], seed: int, epoch: int) -> None: ...
def most_blocks(capacity: int) -> int: ...
def team() -> int: ...
def openmp_limit() -> int: ...
def openmp_address() -> int: ...
def openmp() -> bool: ...
