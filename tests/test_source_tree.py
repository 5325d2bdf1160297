"""A source tree without kernels, found first on ``sys.path`` as in a clone, gives way to what is installed."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import fastmlp as fm

INSTALLED = Path(fm.__path__[0]).parent


@pytest.fixture
def clone(tmp_path):
    """The Python sources alone, as a clone has them."""
    folder = tmp_path / "clone"
    ignore = shutil.ignore_patterns("*.so", "*.pyd", "__pycache__", "x86_64_*", "plain")
    shutil.copytree(INSTALLED / "fastmlp", folder / "fastmlp", ignore=ignore)
    return folder


def python(folder, code, *options, path=""):
    """Run code in a folder, as a user does: the folder stands first on ``sys.path``."""
    return subprocess.run(
        [sys.executable, "-W", "error", *options, "-c", code],
        cwd=folder,
        env={"PYTHONPATH": str(path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


@pytest.mark.parametrize(
    "code",
    [
        "import fastmlp",
        "import fastmlp.layers, fastmlp",
        "from fastmlp import Sequential, testing; import fastmlp",
        "from fastmlp.serialization import load; import fastmlp",
        "import importlib; fastmlp = importlib.import_module('fastmlp')",
    ],
)
def test_import_in_a_clone_finds_the_installed_package(clone, code):
    tell = """
import sys
net = fastmlp.Sequential([fastmlp.layers.Dense(2)], input_dim=3, seed=0)
net.predict([[1, 2, 3]])
assert sys.modules["fastmlp"] is fastmlp
print(*sorted({getattr(m, "__file__", None) or "" for n, m in sys.modules.items() if n.split(".")[0] == "fastmlp"}))
"""
    done = python(clone, f"{code}\n{tell}", path=INSTALLED)
    assert done.returncode == 0, done.stderr
    assert "_cpu" in done.stdout
    assert str(clone) not in done.stdout


def test_built_sources_stay_where_they_are(tmp_path):
    """Another installation elsewhere is none of their business."""
    (tmp_path / "fastmlp").mkdir()
    (tmp_path / "fastmlp" / "__init__.py").write_text("raise RuntimeError\n")
    paths = [str(INSTALLED), str(tmp_path)]
    code = f"import sys; sys.path[:0] = {paths}; import fastmlp; print(fastmlp.__file__)"
    done = python(tmp_path.parent, code)
    assert done.stdout.strip() == str(INSTALLED / "fastmlp" / "__init__.py"), done.stderr


@pytest.mark.parametrize("others", ["nothing", "another clone"])
def test_without_an_installed_package_the_error_says_what_to_do(clone, tmp_path, others):
    site = tmp_path / "site"
    site.mkdir()
    (site / "numpy").symlink_to(Path(np.__file__).parent)
    if others == "another clone":
        shutil.copytree(clone / "fastmlp", site / "fastmlp")
    done = python(clone, "import fastmlp", "-S", path=site)
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("ImportError: fastmlp is imported from a source tree whose kernels are not built")
    assert "pip install ." in last


def test_an_installed_package_that_fails_to_import_says_why(clone, tmp_path):
    """Its own error comes through, and the next attempt fails alike."""
    site = tmp_path / "site"
    shutil.copytree(INSTALLED / "fastmlp", site / "fastmlp", ignore=shutil.ignore_patterns("__pycache__"))
    (site / "fastmlp" / "__init__.py").write_text("raise RuntimeError('broken installation')\n")
    code = """
for attempt in range(2):
    try:
        import fastmlp
    except RuntimeError as error:
        print(error)
"""
    done = python(clone, code, "-S", path=site)
    assert done.stdout == "broken installation\n" * 2, done.stderr
