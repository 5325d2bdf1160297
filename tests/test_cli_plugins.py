"""Plugins from their metadata, however the kit runs: `checks_of`, ``fastmlp plugins``, pytest; and ``plugins new``."""

import json
import os
import re
import subprocess
import sys

import numpy as np
import pytest

import fastmlp as fm
from fastmlp import cli, testing
from fastmlp.cli import _scaffold

GOOD = """
    import numpy as np
    import fastmlp as fm

    class Cube(fm.activations.Activation):
        def forward(self, z):
            return z**3

        def derivative(self, z, a):
            return 3 * z * z

    class Wrong(Cube):
        def derivative(self, z, a):
            return 2 * z * z

    class Flat(fm.initializers.Initializer):
        def __call__(self, shape, rng, dtype):
            return np.full(shape, 0.1, dtype)

    class Plain(fm.optimizers.Optimizer):
        def update(self, param, grad, state, learning_rate, step):
            param -= learning_rate * grad

    class Needs(fm.activations.Activation):
        def __init__(self, slope):
            self.slope = slope
"""


@pytest.fixture
def good(plugin):
    plugin(
        "good-one",
        """
        [fastmlp.activations]
        w3cube = good_module:Cube
        [fastmlp.initializers]
        w3flat = good_module:Flat
        [fastmlp.optimizers]
        w3plain = good_module:Plain
        """,
        version="1.2",
        good_module=GOOD,
    )
    return plugin


def failures(checks):
    return {str(check): outcome.text for check in checks for outcome in [check.run()] if outcome.status == "failed"}


# -- the kit over entry points -----------------------------------------------------------------------------------------


def test_a_distribution_passes(good):
    listed = testing.checks_of("Good_One")
    assert "good_module" not in sys.modules
    assert {check.subject for check in listed} == {"good-one:w3cube", "good-one:w3flat", "good-one:w3plain"}
    assert failures(listed) == {}
    assert {check.run().status for check in listed if check.name in ("name", "file", "loads")} == {"passed"}


def test_a_registered_name_passes(good):
    testing.check("w3cube")
    testing.check("good-one:w3plain")


@pytest.mark.parametrize(
    "entry_points, module, check, words",
    [
        ("broken = absent_module:A", "", "loads", ["broken-one 1.0", "ModuleNotFoundError"]),
        ("broken = broken_module:A", "1 / 0", "loads", ["broken-one 1.0", "ZeroDivisionError"]),
        ("broken = broken_module:A", "raise SystemExit(3)", "loads", ["ends the program"]),
        ("broken = broken_module:A", "", "loads", ["broken-one 1.0", "AttributeError"]),
        ("broken = broken_module:A", "A = 3", "loads", ["broken-one 1.0", "expected a class of activation"]),
        ("broken = broken_module:A", "class A: pass", "loads", ["subclass of fastmlp.activations.Activation"]),
        ("bro ken = broken_module:A", "", "loads", ["only letters"]),
        ("relu = good_module:Cube", "", "name", ["'relu' is a built-in activation", "'broken-one:relu'", "rename"]),
        ("w3cube = good_module:Cube", "", "name", ["good-one 1.2", "broken-one 1.0", "'broken-one:w3cube'"]),
        ("w3wrong = good_module:Wrong", "", "derivative", ["wrong at", "correct derivative"]),
        ("w3needs = good_module:Needs", "", "makes", ["missing parameter 'slope'", "conformance"]),
    ],
)
def test_a_broken_plugin_is_caught_and_harms_only_itself(entry_points, module, check, words, good, says):
    good("broken-one", f"[fastmlp.activations]\n{entry_points}\n", broken_module=module)
    listed = testing.checks_of("broken-one")
    found = failures(listed)
    (key,) = (key for key in found if key.endswith(f"-{check}"))
    says(found[key], *map(re.escape, words))
    if check in ("loads", "makes"):
        assert len(found) == 1  # all else is skipped, and says why
        assert all(one.run().status == "skipped" for one in listed if one.name in ("derivative", "threads"))
    assert set(failures(testing.checks_of("good-one"))) <= {"activations-good-one:w3cube-name"}


def test_two_owners_of_a_name(good):
    good("other-one", "[fastmlp.activations]\nw3cube = good_module:Cube\n")
    with pytest.raises(testing.ConformanceError, match=r"loads: DuplicateNameError.*good-one 1.2 and by other-one 1.0"):
        testing.check("w3cube")
    with pytest.raises(testing.ConformanceError, match=r"fails 1 of \d+ checks:\n- name: .*other-one 1.0"):
        testing.check("good-one:w3cube")


def test_unknown_things(good):
    with pytest.raises(fm.UnknownNameError, match=r"'nowhere' with plugins.*good-one"):
        testing.checks_of("nowhere")
    with pytest.raises(fm.UnknownNameError, match="no object of any kind is called 'nothing'"):
        testing.check("nothing")
    with pytest.raises(ValueError, match="losses and of metrics; give kind='losses'"):
        testing.check("mse")
    with pytest.raises(ValueError, match="kind: expected one of activations"):
        testing.check("mse", kind="nothing")
    with pytest.raises(TypeError, match="expected an object of fastmlp"):
        testing.check(3)


# -- the command -------------------------------------------------------------------------------------------------------


def test_check_of_a_distribution(good, capsys):
    assert cli.main(["plugins", "check", "good-one"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"all of \d+ checks passed", lines[-1])
    assert len(lines) == len(testing.checks_of("good-one")) + 1
    assert "ok       activations good-one:w3cube  derivative" in lines


def test_check_of_a_name_that_fails(good, capsys):
    good("broken-one", "[fastmlp.activations]\nw3wrong = good_module:Wrong\n")
    for name in ("w3wrong", "broken-one:w3wrong"):
        assert cli.main(["plugins", "check", name]) == 1
        output = capsys.readouterr().out
        assert re.search(rf"^FAILED   activations {name}  derivative: the derivative is wrong", output, re.MULTILINE)
        assert re.search(r"^\d of \d+ checks failed$", output, re.MULTILINE)
    assert cli.main(["plugins", "check", "w3wrong", "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found["failed"] == sum(one["status"] == "failed" for one in found["checks"]) >= 1


def test_check_of_a_builtin_and_of_nothing(capsys):
    assert cli.main(["plugins", "check", "tanh"]) == 0
    assert cli.main(["plugins", "check", "mse"]) == 1
    assert "give kind=" in capsys.readouterr().err
    assert cli.main(["plugins", "check", "mse", "--kind", "metrics"]) == 0
    assert cli.main(["plugins", "check", "nowhere"]) == 1
    assert "no distribution 'nowhere'" in capsys.readouterr().err


def test_load_tells_how_each_runs(good, capsys):
    good("broken-one", "[fastmlp.activations]\nbroken = broken_module:A\n", broken_module="raise SystemExit('no')")
    assert cli.main(["plugins", "--json"]) == 0
    assert not {"good_module", "broken_module"} & set(sys.modules)
    assert "speed" not in json.loads(capsys.readouterr().out)["plugins"][0]
    assert cli.main(["plugins", "--json", "--load"]) == 0
    found = {one["name"]: one for one in json.loads(capsys.readouterr().out)["plugins"]}
    assert found["w3cube"]["speed"] in ("traced", "python")
    assert found["w3plain"]["speed"] in ("traced", "python")
    assert (found["w3flat"]["speed"], found["w3flat"]["status"]) == (None, "available")
    assert (found["broken"]["status"], found["broken"]["reason"]) == ("failed", "SystemExit: no")
    assert cli.main(["plugins", "--load"]) == 0
    table = capsys.readouterr().out
    assert re.search(r"^kind +name +distribution +version +speed$", table, re.MULTILINE)
    assert re.search(r"^activation +w3cube +good-one +1\.2 +(traced|python)", table, re.MULTILINE)
    assert re.search(r"^activation +broken +broken-one +1\.0 +failed: SystemExit: no$", table, re.MULTILINE)


# -- pytest ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def run_pytest(plugin, tmp_path):
    """Run pytest in an empty folder, with the module that an installed fastmlp gives it; gives exit code and text."""
    package = os.path.dirname(os.path.dirname(fm.__file__))

    def run(*options):
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-p", "pytest_fastmlp", "-p", "no:cacheprovider", "-W", "error", *options],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": os.pathsep.join([plugin.path, package])},
            capture_output=True,
            text=True,
            timeout=120,
        )
        return done.returncode, done.stdout + done.stderr

    return run


def test_pytest_checks_a_distribution(good, run_pytest):
    code, text = run_pytest("--fastmlp-plugins=good-one", "-v", "-k", "w3cube")
    assert code == 0, text
    assert "fastmlp::activations-good-one:w3cube-threads PASSED" in text
    assert "w3plain" not in text and "deselected" in text


def test_pytest_takes_the_names_from_its_settings(good, run_pytest):
    code, text = run_pytest("-o", "fastmlp_plugins=good-one", "--collect-only", "-q")
    assert code == 0 and text.count("fastmlp::") == len(testing.checks_of("good-one"))


def test_pytest_tells_what_fails(good, run_pytest):
    good("broken-one", "[fastmlp.activations]\nw3wrong = good_module:Wrong\n")
    code, text = run_pytest("--fastmlp-plugins=broken-one", "--fastmlp-plugins=good-one")
    assert code == 1, text
    assert "the derivative is wrong at" in text and "Traceback" not in text
    assert "activations-broken-one:w3wrong-derivative" in text


def test_pytest_refuses_an_unknown_distribution(run_pytest):
    code, text = run_pytest("--fastmlp-plugins=nowhere")
    assert code == 4 and "no distribution 'nowhere'" in text


def test_pytest_without_the_option_imports_nothing(run_pytest, tmp_path):
    (tmp_path / "test_it.py").write_text("import sys\ndef test_it():\n    assert 'fastmlp' not in sys.modules\n")
    code, text = run_pytest("test_it.py")
    assert code == 0 and "1 passed" in text, text


# -- new ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", _scaffold.KINDS)
@pytest.mark.parametrize("name", ["w3-thing", "fastmlp-W3.Thing_2"])
def test_a_new_package_passes_the_kit_at_once(name, kind, plugin, tmp_path, capsys, monkeypatch):
    tomllib = pytest.importorskip("tomllib", reason="Python 3.11 reads TOML")
    assert cli.main(["plugins", "new", name, "--into", str(tmp_path), "--kind", kind]) == 0
    assert f'next: pip install "{tmp_path / name}[test]"' in capsys.readouterr().out
    folder = tmp_path / name
    project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    ((group, entries),) = project["entry-points"].items()
    ((plain, value),) = entries.items()
    assert (project["name"], group, plain) == (name, f"fastmlp.{kind}", "w3_thing" + "_2" * ("2" in name))
    package = value.partition(":")[0]
    assert (folder / "src" / package / "py.typed").is_file() and name in (folder / "README.md").read_text()

    monkeypatch.syspath_prepend(folder / "src")
    plugin(name, f"[{group}]\n{plain} = {value}\n")
    listed = testing.checks_of(name)
    assert len(listed) >= 10 and failures(listed) == {}
    assert cli.main(["plugins", "check", name]) == 0
    test = {}
    exec(compile((folder / "tests" / f"test_{package}.py").read_text(), "test", "exec"), test)
    test["test_values"]()
    assert len(list(test["test_conformance"].pytestmark[0].args[1])) == len(listed)


def test_a_new_package_has_a_licence_and_what_git_and_ci_need(tmp_path):
    tomllib = pytest.importorskip("tomllib", reason="Python 3.11 reads TOML")
    folder, files = _scaffold.write("w3-thing", str(tmp_path), "schedule")  # the singular will do
    assert {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()} == set(files)
    project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    assert list(project["entry-points"]) == ["fastmlp.schedules"]
    assert (project["license"], project["license-files"]) == ("BSD-3-Clause", ["LICENSE"])
    licence = (folder / "LICENSE").read_text()
    assert licence.startswith("BSD 3-Clause License") and "Copyright (c) the authors of w3-thing" in licence
    workflow = (folder / ".github" / "workflows" / "test.yml").read_text()
    assert "fastmlp plugins check w3-thing" in workflow and "${{ matrix.python-version }}" in workflow
    assert "__pycache__/" in (folder / ".gitignore").read_text().splitlines()
    texts = [(folder / path).read_text() for path in files]
    assert not any(re.search("@[A-Z]+@", text) for text in texts)


def test_every_kind_of_the_registry_has_a_package_to_begin_with():
    assert set(_scaffold.KINDS) == set(fm.registry.KINDS)


@pytest.mark.parametrize(
    "name",
    ["", "3d", "-x", "x-", "a b", "a/b", "..", "numpy", "fastmlp", "Json", "class", "tests", "relu", "fastmlp-relu"],
)
def test_new_refuses_bad_names(name, tmp_path, capsys):
    assert cli.main(["plugins", "new", "--into", str(tmp_path), "--", name]) == 1
    assert repr(name) in capsys.readouterr().err
    assert os.listdir(tmp_path) == []


def test_new_never_overwrites(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["plugins", "new", "taken"]) == 0
    assert 'next: pip install "./taken[test]"' in capsys.readouterr().out  # "taken" alone would come from the index
    (tmp_path / "taken" / "README.md").write_text("mine")
    assert cli.main(["plugins", "new", "taken"]) == 1
    assert "exists already" in capsys.readouterr().err
    assert (tmp_path / "taken" / "README.md").read_text() == "mine"
    assert cli.main(["plugins", "new", "x1", "--into", "nowhere"]) == 1
    assert "nowhere is no folder" in capsys.readouterr().err
    assert cli.main(["plugins", "new", "x1", "--kind", "things"]) == 1
    assert "expected one of activations" in capsys.readouterr().err
    assert os.listdir(tmp_path) == ["taken"]


def test_the_kit_leaves_global_random_state_alone():
    before = np.random.get_state()[1].copy()  # noqa: NPY002 - the very state that is looked at
    testing.check("glorot_normal")
    assert np.array_equal(before, np.random.get_state()[1])  # noqa: NPY002
