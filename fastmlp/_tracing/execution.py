"""How an object runs in a network: by a kernel of ours, native functions, a traced program, or in Python."""

from __future__ import annotations

from typing import Any, Generic, Literal, TypeVar

__all__ = ["MODES", "Execution", "Mode", "in_python"]

Mode = Literal["builtin", "native", "traced", "python"]
MODES: tuple[Mode, ...] = ("builtin", "native", "traced", "python")
Spec = TypeVar("Spec")


class Execution(Generic[Spec]):
    """How an activation, a loss, a regularizer or an optimizer runs.

    Attributes
    ----------
    mode : {"builtin", "native", "traced", "python"}
        All but the last run inside the plan.
    reason : str or None
        Why it runs in Python.
    kernel : NamedTuple or None
        What the compiler needs, a ``KernelSpec`` of the kind of object; None in Python.
    """

    __slots__ = ("kernel", "mode", "reason")

    def __init__(self, mode: Mode, kernel: Spec | None = None, reason: str | None = None) -> None:
        self.mode, self.kernel, self.reason = mode, kernel, reason

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Execution):
            return NotImplemented
        return (self.mode, self.reason, self.kernel) == (other.mode, other.reason, other.kernel)

    __hash__ = None  # type: ignore[assignment]  # a kernel may hold lists

    def __repr__(self) -> str:
        return f"<{self.mode}{f': {self.reason}' if self.reason else ''}>"


def in_python(reason: object) -> Execution[Any]:
    """Return how an object runs that can't be compiled, for a reason that users read."""
    return Execution("python", None, str(reason))
