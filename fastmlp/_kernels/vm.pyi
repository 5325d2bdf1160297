from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray

class Program:
    def __init__(
        self,
        code: bytes,
        first: bytes,
        values: bytes,
        inputs: int,
        scalars: int,
        registers: int,
        outputs: int,
        double_precision: bool,
    ) -> None: ...
    @property
    def double_precision(self) -> bool: ...
    @property
    def address(self) -> int: ...
    def run(
        self, inputs: Sequence[NDArray[Any]], outputs: Sequence[NDArray[Any]], scalars: Sequence[float] = ()
    ) -> None: ...

class Extension:
    def __init__(
        self,
        forward: Program | None = None,
        backward: Program | None = None,
        native_forward: int = 0,
        native_backward: int = 0,
        params: bytes = b"",
        owner: object = None,
    ) -> None: ...
    @property
    def address(self) -> int: ...

NAMES: dict[str, int]
LIMITS: dict[str, int]
