"""The conformance kit as tests: ``pytest --fastmlp-plugins=DISTRIBUTION`` checks what its entry points declare.

A module of its own beside the package, so that pytest, which imports it at every start, doesn't import fastmlp.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from fastmlp.testing import Check

__all__ = ["pytest_addoption", "pytest_collection_modifyitems"]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option, and a setting of the same meaning."""
    what = "check the fastmlp plugins of this distribution; may be given several times"
    group = parser.getgroup("fastmlp")
    group.addoption("--fastmlp-plugins", action="append", default=[], metavar="DISTRIBUTION", help=what)
    parser.addini("fastmlp_plugins", "distributions whose fastmlp plugins are checked", type="args", default=[])


@pytest.hookimpl(tryfirst=True)  # before -k and -m choose
def pytest_collection_modifyitems(session: pytest.Session, config: pytest.Config, items: list[pytest.Item]) -> None:
    """Add one test for each check of each object."""
    distributions = config.getoption("--fastmlp-plugins") or config.getini("fastmlp_plugins")
    if not distributions:
        return
    from fastmlp import testing

    root = Plugins.from_parent(session, name="fastmlp", nodeid="fastmlp")
    for distribution in distributions:
        try:
            listed = testing.checks_of(distribution)
        except LookupError as error:
            raise pytest.UsageError(f"--fastmlp-plugins: {error}") from error
        items += [Conformance.from_parent(root, name=str(check), check=check) for check in listed]


class Plugins(pytest.Collector):
    """Stands where a file stands for other tests."""

    def collect(self) -> list[pytest.Item]:
        """Return nothing: the items are made with it."""
        return []


class Conformance(pytest.Item):
    """One check of one object."""

    def __init__(self, *, check: Check, **options: Any) -> None:
        super().__init__(**options)
        self.check = check

    def runtest(self) -> None:
        """Run the check; `fastmlp.testing.ConformanceError` if it fails."""
        status, text = self.check.run()
        if status == "skipped":
            pytest.skip(text)
        if status == "failed":
            from fastmlp.testing import ConformanceError

            raise ConformanceError(text)

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """Return the message alone; whoever broke the contract isn't in the traceback."""
        from fastmlp.testing import ConformanceError

        if isinstance(excinfo.value, ConformanceError):
            return f"{self.check.doc}\n{excinfo.value}"
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, None, str]:
        """Return where pytest says that it is."""
        return self.config.rootpath, None, self.name
