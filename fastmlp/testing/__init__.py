"""The conformance kit: does an object keep the contract of its kind?

One list of checks, run in three ways: `check` here, ``pytest --fastmlp-plugins=DISTRIBUTION``, and
``fastmlp plugins check NAME``. A class may declare what the kit can't know, in an attribute `conformance`, a dict of
any of these: ``config`` (arguments to make it with), ``nan`` (``"any"``: NaN may give a number), ``gradient``
(``"surrogate"``: meant to differ from the function's), ``compiled`` (True: running in Python is a failure), ``domain``
((low, high) of its arguments), ``whole`` (True: a layer takes whole numbers), ``targets`` (``"labels"``: what a metric
compares with).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .. import (  # noqa: F401 - they fill the registries
    activations,
    constraints,
    initializers,
    layers,
    losses,
    metrics,
    optimizers,
    regularizers,
    schedules,
)
from ..errors import UnknownNameError
from ..registry import KINDS, same_distribution
from . import _activations, _initializers, _layers, _losses, _optimizers, _others
from ._common import FIRST, copies, loads
from ._execution import execution_mode
from ._outcome import ConformanceError, Failure, Outcome, Skipped, describe_error
from ._subject import Subject, registry_of, subject_of

__all__ = ["Check", "ConformanceError", "Outcome", "check", "checks", "checks_of", "execution_mode"]

Function = Callable[[Subject], "str | None"]

OF_KIND: dict[str, tuple[Function, ...]] = {
    "activations": _activations.CHECKS,
    "constraints": _others.CONSTRAINTS,
    "initializers": _initializers.CHECKS,
    "layers": _layers.CHECKS,
    "losses": _losses.LOSSES,
    "metrics": _losses.METRICS,
    "optimizers": _optimizers.CHECKS,
    "regularizers": _others.REGULARIZERS,
    "schedules": _others.SCHEDULES,
}


class Check:
    """One check of one object; made by `checks` and `checks_of`, nothing is imported or made before it runs.

    Calling it raises `ConformanceError` where the object fails; `run` tells and never raises.

    Attributes
    ----------
    name : str
        What is checked: ``"derivative"``, ``"threads"``, ...
    subject : str
        The object, ``"distribution:name"`` for an entry point.
    kind : str
        Its registry, ``"activations"`` for instance.
    doc : str
        What the object must do.
    """

    def __init__(self, subject: Subject, function: Function) -> None:
        self._subject, self._function = subject, function
        self.name = function.__name__
        self.subject = subject.label
        self.kind = subject.kind
        self.doc = (function.__doc__ or "").strip()

    def run(self) -> Outcome:
        """Run it, and tell: passed, failed or skipped; a failure says what to change."""
        try:
            return Outcome("passed", self._function(self._subject) or "")
        except Skipped as reason:
            return Outcome("skipped", str(reason))
        except Failure as failure:
            return Outcome("failed", str(failure))
        except (Exception, SystemExit) as error:
            return Outcome("failed", f"{describe_error(error)}. What to do: {self.doc}")

    def __call__(self) -> None:
        """Raise `ConformanceError` if the check fails."""
        status, text = self.run()
        if status == "failed":
            raise ConformanceError(f"{self}: {text}")

    def __str__(self) -> str:
        return f"{self.kind}-{self.subject}-{self.name}"

    def __repr__(self) -> str:
        return f"<check {self}>"


def check(obj: Any, *, kind: str | None = None) -> None:
    """Check an object against the contract of its kind.

    Parameters
    ----------
    obj : str, type or object
        A registered name (``"cube"``, ``"distribution:cube"``), a class, or an instance. A class is made without
        arguments, or with those in its ``conformance["config"]``; to check other settings, pass instances.
    kind : str, optional
        ``"activations"`` and so on: needed for a name that several kinds have, and where there is no base class.

    Raises
    ------
    ConformanceError
        If any check fails; the message lists every failure, each with what to change.
    TypeError, ValueError, UnknownNameError
        If `obj` is of no known kind; if `kind` is needed or unknown; if the name is.

    Examples
    --------
    >>> import fastmlp as fm
    >>> fm.testing.check("relu")
    >>> fm.testing.check(fm.activations.LeakyReLU(0.3))
    """
    listed = checks(obj, kind=kind)
    failures = [(one.name, text) for one in listed for status, text in [one.run()] if status == "failed"]
    if failures:
        lines = "".join(f"\n- {name}: {text}" for name, text in failures)
        raise ConformanceError(
            f"{listed[0].subject} ({listed[0].kind}) fails {len(failures)} of {len(listed)} checks:{lines}"
        )


def checks(obj: Any, *, kind: str | None = None) -> list[Check]:
    """Return the checks of an object, to be run one by one; arguments and errors as `check`."""
    return _checks_of(subject_of(obj, kind))


def checks_of(distribution: str) -> list[Check]:
    """Return the checks of everything that an installed distribution's entry points declare; imports none of it.

    Raises
    ------
    UnknownNameError
        If no distribution of that name declares a plugin; the message names those that do.

    Examples
    --------
    As the whole of a plugin's test::

        @pytest.mark.parametrize("check", fastmlp.testing.checks_of("my-plugin"), ids=str)
        def test_conformance(check):
            check()
    """
    found: list[Check] = []
    known: set[str] = set()
    for plural in KINDS:
        of_kind = registry_of(plural)
        for plugin in of_kind.plugins():
            known.add(plugin.distribution)
            if same_distribution(plugin.distribution, distribution):
                found += _checks_of(Subject(of_kind, plugin.qualified, plugin.qualified, plugin))
        for source, reason in of_kind.unusable().items():
            owner, colon, _ = source.rpartition(":")
            if colon and same_distribution(owner, distribution):
                found.append(Check(Subject(of_kind, source, source, problem=reason), loads))
    if not found:
        raise UnknownNameError(
            f"no distribution {distribution!r} with plugins of fastmlp is installed; those that are: "
            f"{', '.join(sorted(known)) or 'none'}"
        )
    return found


def _checks_of(subject: Subject) -> list[Check]:
    """Return the checks of a kind, those of every kind first and last."""
    functions = (*FIRST, *OF_KIND.get(subject.kind, ()), copies)
    return [Check(subject, function) for function in functions]
