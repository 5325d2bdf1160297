"""What becomes of a check, and how a check says so."""

from __future__ import annotations

import traceback
from typing import NamedTuple

__all__ = ["ConformanceError", "Failure", "Outcome", "Skipped", "describe_error", "expect"]


class ConformanceError(AssertionError):
    """An object breaks the contract of its kind; the message lists every failure, and what to change."""


class Failure(AssertionError):
    """Raised by a check: what came, what was expected, what to do."""


class Skipped(Exception):
    """Raised by a check that has nothing to look at; the message says why."""


class Outcome(NamedTuple):
    """The result of one check.

    Attributes
    ----------
    status : {"passed", "failed", "skipped"}
    text : str
        What to change, why it was skipped, or what was found; may be empty after ``"passed"``.
    """

    status: str
    text: str = ""


def expect(condition: object, message: str) -> None:
    """Fail with `message` unless `condition` holds."""
    if not condition:
        raise Failure(message)


def describe_error(error: BaseException) -> str:
    """Return an exception of a user's code with the place that raised it."""
    where = ""
    frames = traceback.extract_tb(error.__traceback__)
    if frames:
        last = frames[-1]
        where = f" ({last.filename.replace(chr(92), '/').rpartition('/')[2]}, line {last.lineno}, in {last.name})"
    return f"{type(error).__name__}: {error}{where}"
