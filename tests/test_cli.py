"""The command ``fastmlp``, in processes of its own where that matters."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import textwrap

import numpy as np
import pytest

import fastmlp as fm
from fastmlp import cli
from fastmlp.cli import _demo
from fastmlp.datasets import load_digits

SCRIPT = shutil.which("fastmlp", path=os.path.dirname(sys.executable))
COMMAND = [SCRIPT] if SCRIPT else [sys.executable, "-c", "import sys; from fastmlp.cli import main; sys.exit(main())"]


@pytest.fixture
def run(tmp_path):
    """Run the command outside the checkout, warnings being errors; gives the finished process."""

    def run(*arguments, **environ):
        return subprocess.run(
            [*COMMAND, *map(str, arguments)],
            cwd=tmp_path,
            env={**os.environ, "PYTHONWARNINGS": "error", **environ},
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )

    return run


# demo


def test_demo_from_end_to_end(run, tmp_path):
    done = run("demo", "--out", "digits.net")
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    epochs = [line for line in lines if line.startswith("epoch")]
    assert len(epochs) == 30
    assert re.fullmatch(r"epoch 30/30  loss \d\.\d{4}  accuracy \d\.\d{4}  [\d,]+ samples/s", epochs[-1])
    shown = re.search(r"^test accuracy: (0\.\d{3})$", done.stdout, re.MULTILINE)
    assert shown and float(shown[1]) >= _demo.GOAL
    level, threads = fm.config()["instruction_set"], fm.get_num_threads()
    assert re.search(rf"^[\d,]+ samples per second, instruction set {level}, {threads} threads?$", lines[-2])
    assert lines[-1] == "saved to digits.net and loaded back: the same predictions, bit for bit"

    # The file that it kept gives the accuracy that it told, on the images that it held out.
    assert os.listdir(tmp_path) == ["digits.net"]
    x, y = load_digits()
    _, test = _demo.hold_out(y, seed=0)
    net = fm.load(tmp_path / "digits.net")
    assert f"{net.evaluate(x[test], y[test])['accuracy']:.3f}" == shown[1]
    assert f"{np.mean(net.predict(x[test]).argmax(axis=1) == y[test]):.3f}" == shown[1]


@pytest.mark.parametrize("seed", range(1, 4))
def test_demo_reaches_its_goal_for_other_seeds(seed, capsys):
    assert cli.main(["demo", "--seed", str(seed)]) == 0
    assert "bit for bit" in capsys.readouterr().out


def test_demo_holds_out_a_fifth_of_each_class():
    _, y = load_digits()
    for seed in range(3):
        train, test = _demo.hold_out(y, seed)
        assert not np.intersect1d(train, test).size
        np.testing.assert_array_equal(np.sort(np.concatenate([train, test])), np.arange(len(y)))
        np.testing.assert_allclose(np.bincount(y[test]) / np.bincount(y), 0.2, atol=0.004)
    assert not np.array_equal(_demo.hold_out(y, 0)[1], _demo.hold_out(y, 1)[1])


def test_demo_never_trains_on_what_it_held_out(monkeypatch, capsys):
    seen = []
    fit = fm.Sequential.fit

    def watched(net, x, y, **options):
        assert not {"validation_data", "validation_split"} & set(options)
        seen.append((x.copy(), y.copy()))
        return fit(net, x, y, **options)

    monkeypatch.setattr(fm.Sequential, "fit", watched)
    cli.main(["demo", "--epochs", "1"])
    x, y = load_digits()
    train, _ = _demo.hold_out(y, 0)
    ((got_x, got_y),) = seen
    np.testing.assert_array_equal(got_x, x[train])
    np.testing.assert_array_equal(got_y, y[train])


def test_demo_leaves_no_file_behind(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert cli.main(["demo"]) == 0
    assert os.listdir(tmp_path) == []


def test_demo_below_its_goal_fails(capsys):
    assert cli.main(["demo", "--epochs", "1"]) == 1
    captured = capsys.readouterr()
    assert "test accuracy: 0." in captured.out
    assert "below 0.97" in captured.err


def test_demo_fails_if_the_loaded_network_answers_differently(monkeypatch, capsys):
    from fastmlp import model

    load = model.load

    def forgetful(path):
        net = load(path)
        net.parameters["0.bias"][0] += 1
        return net

    monkeypatch.setattr(model, "load", forgetful)
    assert cli.main(["demo", "--epochs", "1"]) == 1
    captured = capsys.readouterr()
    assert "predicts something else" in captured.err
    assert "bit for bit" not in captured.out


@pytest.mark.parametrize("path", ["missing/digits.net", ".", ""])
def test_demo_finds_before_training_that_it_cannot_write(path, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["demo", "--out", path]) == 1
    captured = capsys.readouterr()
    assert "epoch" not in captured.out
    assert f"can't write to {path!r}" in captured.err


def test_ctrl_c(monkeypatch, capsys):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(_demo, "network", interrupted)
    assert cli.main(["demo"]) == 130
    assert capsys.readouterr().err == "interrupted\n"


@pytest.mark.skipif(os.name == "nt", reason="no SIGINT to send")
def test_ctrl_c_while_training(tmp_path):
    process = subprocess.Popen(
        [*COMMAND, "demo", "--epochs", "1000000"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process.stdout, process.stderr:
        while not process.stdout.readline().startswith("epoch"):
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (130, "interrupted\n")


# info


def test_info(run):
    done = run("info")
    assert (done.returncode, done.stderr) == (0, "")
    assert f"version: {fm.__version__}" in done.stdout
    assert f"instruction set: {fm.config()['instruction_set']}" in done.stdout


def test_info_as_json(run):
    done = run("info", "--json", FASTMLP_NUM_THREADS="3")
    assert (done.returncode, done.stderr) == (0, "")
    found = json.loads(done.stdout)
    assert found["version"] == fm.__version__
    assert found["threads"] == 3
    assert found["instruction_set"] in found["instruction_sets"]


# summary


@pytest.fixture
def saved(tmp_path):
    net = fm.Sequential([fm.layers.Dense(3, activation="relu"), fm.layers.Dense(1)], input_dim=4, seed=0)
    net.save(tmp_path / "saved.net")
    return net


def test_summary(run, saved):
    done = run("summary", "saved.net")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == repr(saved) + "\n"


def test_summary_of_a_missing_file(run):
    done = run("summary", "missing.net")
    assert (done.returncode, done.stdout) == (1, "")
    assert re.fullmatch(r"fastmlp summary: .*missing\.net.*\n", done.stderr)


@pytest.mark.parametrize("content", [b"", b"not a network", b"PK\x03\x04" + bytes(100), None])
def test_summary_of_a_damaged_file(content, saved, tmp_path, capsys):
    path = tmp_path / "damaged.net"
    path.write_bytes((tmp_path / "saved.net").read_bytes()[:-30] if content is None else content)
    assert cli.main(["summary", str(path)]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith(f"fastmlp summary: {path}: ") and captured.err.count("\n") == 1


def test_summary_of_a_folder(tmp_path, capsys):
    assert cli.main(["summary", str(tmp_path)]) == 1
    assert str(tmp_path) in capsys.readouterr().err


def test_summary_of_a_network_whose_plugin_is_missing(tmp_path, capsys):
    with fm.registry.activations.temporary():

        @fm.registry.activations.register("from_elsewhere")
        class FromElsewhere(fm.activations.Activation):
            def forward(self, z):
                return z + z

            def derivative(self, z, a):
                return np.full_like(z, 2)

        fm.Sequential([fm.layers.Dense(2, activation="from_elsewhere")], input_dim=2).save(tmp_path / "plugin.net")
    assert cli.main(["summary", str(tmp_path / "plugin.net")]) == 1
    message = capsys.readouterr().err
    assert "plugin.net" in message and "unknown activation 'from_elsewhere'" in message


# plugins


@pytest.fixture
def site(tmp_path):
    """Return a function that writes the metadata of a distribution below a folder, and that folder."""
    folder = tmp_path / "site"

    def install(name, version, entry_points):
        info = folder / f"{name.replace('-', '_')}-{version}.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        (info / "entry_points.txt").write_text(textwrap.dedent(entry_points))

    install.folder = folder
    return install


@pytest.fixture
def installed(site):
    site("good-one", "1.2", "[fastmlp.activations]\nwobble = explosive:Wobble\n[fastmlp.losses]\nodd = explosive:Odd\n")
    site("bad-one", "0.1", "[fastmlp.activations]\nrelu = explosive:ReLU\ntwice = explosive:A\n")
    site("other-one", "2.0", "[fastmlp.activations]\ntwice = explosive:B\nbad name = explosive:C\n")
    (site.folder / "explosive.py").write_text("raise SystemExit('imported!')\n")
    return site.folder


def test_plugins_as_json(run, installed):
    done = run("plugins", "--json", PYTHONPATH=_before(installed))
    assert (done.returncode, done.stderr) == (0, "")
    found = json.loads(done.stdout)
    ours = [plugin for plugin in found["plugins"] if plugin["class"].startswith("explosive:")]
    statuses = {(plugin["distribution"], plugin["name"]): plugin["status"] for plugin in ours}
    assert statuses == {
        ("good-one", "wobble"): "available",
        ("good-one", "odd"): "available",
        ("bad-one", "relu"): "ignored",
        ("bad-one", "twice"): "ambiguous",
        ("other-one", "twice"): "ambiguous",
    }
    wobble = next(plugin for plugin in ours if plugin["name"] == "wobble")
    assert (wobble["kind"], wobble["version"], wobble["reason"]) == ("activation", "1.2", None)
    relu = next(plugin for plugin in ours if plugin["name"] == "relu")
    assert "'relu' is a built-in activation" in relu["reason"] and "'bad-one:relu'" in relu["reason"]
    twice = next(plugin for plugin in ours if plugin["distribution"] == "bad-one" and plugin["name"] == "twice")
    assert "other-one" in twice["reason"] and "'bad-one:twice'" in twice["reason"]
    assert "only letters" in found["unreadable"]["other-one:bad name"]


def test_plugins_as_a_table(run, installed):
    done = run("plugins", PYTHONPATH=_before(installed))
    assert (done.returncode, done.stderr) == (0, "")
    assert re.search(r"^kind +name +distribution +version$", done.stdout, re.MULTILINE)
    assert re.search(r"^activation +wobble +good-one +1\.2$", done.stdout, re.MULTILINE)
    assert re.search(r"^activation +relu +bad-one +0\.1 +ignored: 'relu' is a built-in", done.stdout, re.MULTILINE)
    assert re.search(r"^left out: other-one:bad name \(", done.stdout, re.MULTILINE)


def test_plugins_that_failed_to_load(site, run_python):
    site("broken-one", "3.1", "[fastmlp.activations]\nbroken = missing_module:Broken\n")
    printed = run_python(
        """
        import fastmlp as fm
        from fastmlp.cli import main
        try:
            fm.registry.activations.get("broken")
        except fm.PluginError:
            pass
        assert main(["plugins", "--json"]) == 0
        """,
        PYTHONPATH=_before(site.folder),
    )
    (broken,) = (plugin for plugin in json.loads(printed)["plugins"] if plugin["name"] == "broken")
    assert broken["status"] == "failed"
    assert "ModuleNotFoundError" in broken["reason"]


def test_no_plugins(monkeypatch, capsys):
    for kind in fm.registry.KINDS:
        registry = getattr(fm.registry, kind)
        monkeypatch.setattr(registry, "plugins", list)
        monkeypatch.setattr(registry, "ignored", dict)
    assert cli.main(["plugins"]) == 0
    assert capsys.readouterr().out == "no plugins are installed\n"


def _before(folder):
    return os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH")]))


# the command itself


def test_version(run):
    done = run("--version")
    assert (done.returncode, done.stdout) == (0, f"fastmlp {fm.__version__}\n")


@pytest.mark.parametrize(
    "arguments",
    [[], ["nope"], ["demo", "--epochs", "0"], ["demo", "--seed", "-1"], ["demo", "--epochs", "x"], ["info", "x"]],
)
def test_unknown_arguments(arguments, capsys):
    with pytest.raises(SystemExit) as stopped:
        cli.main(arguments)
    assert stopped.value.code == 2
    captured = capsys.readouterr()
    assert captured.out == "" and "usage: fastmlp" in captured.err


def test_unknown_command_in_a_shell(run):
    done = run("nope")
    assert (done.returncode, done.stdout) == (2, "")
    assert "nope" in done.stderr and "Traceback" not in done.stderr


def test_help_names_every_command(capsys):
    with pytest.raises(SystemExit) as stopped:
        cli.main(["--help"])
    assert stopped.value.code == 0
    text = capsys.readouterr().out
    assert all(command in text for command in ("demo", "info", "summary", "plugins"))


@pytest.mark.skipif(os.name == "nt", reason="pipes break differently on Windows")
def test_a_reader_that_goes_away(tmp_path):
    process = subprocess.Popen(
        [*COMMAND, "info"], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    process.stdout.close()
    with process.stderr:
        assert process.stderr.read() == ""
    assert process.wait(timeout=60) == 1
