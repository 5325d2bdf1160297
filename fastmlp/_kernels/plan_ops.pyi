from typing import Any

class OpSpec:
    @property
    def name(self) -> str: ...
    @property
    def code(self) -> int: ...
    @property
    def row_wise(self) -> bool: ...
    @property
    def layout(self) -> dict[str, Any]: ...
    @property
    def references(self) -> frozenset[str]: ...

OPS: dict[str, OpSpec]
RECORD_BYTES: int
ARENAS: dict[str, int]
SHIFT: int
NONE: int
ACTIVATIONS: dict[str, int]
LOSSES: dict[str, int]
METRICS: dict[str, int]
PENALTY_CHUNK: int
