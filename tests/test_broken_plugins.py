"""Plugins that break when they are found or imported: what is said, and that others are none the worse."""

import json
from importlib import metadata

import pytest

import fastmlp as fm
from fastmlp.cli import main
from fastmlp.layers import Dense

ACTIVATIONS = fm.registry.activations
GOOD = """
    import fastmlp as fm

    class Bend(fm.activations.Activation):
        def forward(self, z):
            return z / (1 + abs(z))
"""
STATEMENTS = {
    "exit": "raise SystemExit(3)",
    "sys.exit": "import sys; sys.exit('no licence')",
    "generator": "raise GeneratorExit",
    "cancelled": "import asyncio; raise asyncio.CancelledError",
    "own": "class Stop(BaseException): pass\nraise Stop('here')",
    "warning": "import warnings; warnings.warn('old', DeprecationWarning)",
    "recursion": "def f(): f()\nf()",
    "memory": "raise MemoryError",
    "error": "raise OSError('no such library')",
    "syntax": "def",
}


@pytest.fixture
def both(plugin):
    """Install a distribution that works, and one with a statement in its module."""

    def install(statement, name="broken", version="1.0"):
        plugin("good-one", "[fastmlp.activations]\nfine = good_module:Bend\n", good_module=GOOD)
        points = f"[fastmlp.activations]\n{name} = broken_module:Bend\n"
        plugin("broken-one", points, version, broken_module=statement)

    install.plugin = plugin
    return install


# -- at import ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("statement", STATEMENTS.values(), ids=STATEMENTS)
def test_what_its_import_raises_harms_its_name_alone(statement, both):
    """Warnings are errors here; it is tried again at the next question."""
    both(statement)
    for _ in range(2):
        with pytest.raises(fm.PluginError, match=r"'broken' .*broken-one 1\.0") as caught:
            ACTIVATIONS.get("broken")
    assert caught.value.distribution == "broken-one" and str(caught.value).isprintable()
    assert list(ACTIVATIONS.failed()) == ["broken-one:broken"]
    assert type(ACTIVATIONS.get("fine")).__name__ == "Bend" and ACTIVATIONS.get("relu") is not None
    with pytest.raises(fm.UnknownNameError, match=r"failed to load: broken-one:broken"):
        ACTIVATIONS.get("nobody's")


@pytest.mark.parametrize("statement", STATEMENTS.values(), ids=STATEMENTS)
def test_a_file_that_names_it(statement, both, tmp_path, rewrite):
    both(statement)
    net = fm.Sequential([Dense(2, "fine")], input_dim=3, seed=0)
    net.save(tmp_path / "network")
    assert fm.load(tmp_path / "network").built

    def change(header):
        header["layers"][0]["config"]["activation"].update({"class": "broken-one:broken"})

    with pytest.raises(fm.PluginError, match="network: 'broken'"):
        fm.load(rewrite(tmp_path / "network", change))


def test_an_interrupt_goes_through(both):
    both("raise KeyboardInterrupt")
    with pytest.raises(KeyboardInterrupt):
        ACTIVATIONS.get("broken")
    assert ACTIVATIONS.failed() == {}


def test_a_warning_that_is_none_of_an_error(both, plugin):
    both(f"{GOOD}\n    import warnings; warnings.warn('old', DeprecationWarning, stacklevel=1)")
    with pytest.warns(DeprecationWarning, match="old"):
        assert type(ACTIVATIONS.get("broken")).__name__ == "Bend"


def test_saving_beside_a_broken_one(plugin, tmp_path):
    """To name a class, plugins of its own package are imported; a broken one isn't asked."""
    plugin(
        "mixed",
        "[fastmlp.activations]\na = mixed_module.broken:A\nfine = mixed_module:Bend\n",
        mixed_module=GOOD,
    )
    net = fm.Sequential([Dense(2, "fine")], input_dim=3, seed=0)
    net.save(tmp_path / "network")
    assert fm.load(tmp_path / "network").built and list(ACTIVATIONS.failed()) == ["mixed:a"]


# -- what is shown -----------------------------------------------------------------------------------------------------

ODD = {
    "colour": "\x1b[31mred\x1b[0m",
    "title": "\x1b]0;owned\x07",
    "back": "nice\x08\x08\x08\x08evil",
    "order": "\u202egnp",
    "space": "two words",
}


@pytest.mark.parametrize("text", ODD.values(), ids=ODD)
@pytest.mark.parametrize("place", ["distribution", "version", "name", "value", "message"])
def test_text_of_others_is_shown_as_text(place, text, both, capsys):
    """By errors and by the command: a distribution can't paint the terminal."""
    name = text if place == "name" else "broken"
    both(f"raise ValueError({text!r})" if place == "message" else "", name, version="1.0")
    (info,) = both.plugin.site.glob("broken_one*")
    for file, field, new in (
        ("METADATA", "Name: broken-one", f"Name: {text}" if place == "distribution" else None),
        ("METADATA", "Version: 1.0", f"Version: {text}" if place == "version" else None),
        ("entry_points.txt", "broken_module:Bend", f"{text}:Bend" if place == "value" else None),
    ):
        if new is not None:
            content = (info / file).read_text(encoding="utf-8")
            (info / file).write_text(content.replace(field, new), encoding="utf-8")
    ACTIVATIONS.refresh()
    messages = []
    for asked in ("broken", name, "nobody's"):
        try:
            ACTIVATIONS.get(asked)
        except (fm.UnknownNameError, fm.PluginError) as error:
            messages += str(error).split("\n")
    for arguments in (["plugins"], ["plugins", "--load"]):
        main(arguments)
        messages += capsys.readouterr().out.split("\n")
    assert len(messages) > 6 and [message for message in messages if not message.isprintable()] == []
    assert type(ACTIVATIONS.get("fine")).__name__ == "Bend"


def test_names_that_no_distribution_can_have(both):
    both("")
    (info,) = both.plugin.site.glob("broken_one*")
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: rm -rf; x\nVersion: 1.0\n")
    ACTIVATIONS.refresh()
    assert "broken" not in ACTIVATIONS
    (reason,) = ACTIVATIONS.unusable().values()
    assert "no distribution can have the name 'rm -rf; x'" in reason


# -- many --------------------------------------------------------------------------------------------------------------


@pytest.fixture
def crowd(plugin):
    names = [f"bend{number}" for number in range(20_000)]
    plugin("crowd", "[fastmlp.activations]\n" + "".join(f"{name} = crowd_module:Bend\n" for name in names))
    return names


@pytest.mark.parametrize(
    "asked, meant",
    [("bend12345x", "bend12345"), ("Bend1", "bend1"), ("zzz", None), ("x" * 10**6, None)],
    ids=["long", "case", "none", "very long"],
)
def test_an_unknown_name_beside_many(asked, meant, crowd, monkeypatch):
    """It is compared with a few hundred names, and a few hundred are listed."""
    import difflib

    compared = []
    search = difflib.get_close_matches

    def spy(word, possibilities, **options):
        compared.extend(possibilities)
        return search(word, compared, **options)

    monkeypatch.setattr(difflib, "get_close_matches", spy)
    with pytest.raises(fm.UnknownNameError) as caught:
        ACTIVATIONS.get(asked)
    message = str(caught.value)
    assert len(compared) <= 500 and len(message) < 5000 and "19," not in message.split("\n")[0]
    assert "and 19" in message and "relu" in message
    assert ("did you mean" in message) == (meant is not None)


def test_the_names_of_many(crowd):
    assert set(crowd) < set(ACTIVATIONS.names()) and ACTIVATIONS.names() == sorted(ACTIVATIONS.names())
    assert "bend19999" in ACTIVATIONS and ACTIVATIONS.origin("bend19999") == "crowd 1.0"


# -- found again -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [OSError("too many open files"), MemoryError(), SystemExit(1), RuntimeError("busy")])
def test_what_fails_once_is_tried_again(error, both, monkeypatch):
    both("")
    ACTIVATIONS.refresh()
    with monkeypatch.context() as patch:
        patch.setattr(metadata, "distributions", lambda: (_ for _ in ()).throw(error))
        assert "fine" not in ACTIVATIONS
        assert list(ACTIVATIONS.unusable()) == ["sys.meta_path"]
    assert "fine" in ACTIVATIONS and ACTIVATIONS.unusable() == {}


def test_one_that_could_not_be_read_is_tried_again(both, monkeypatch):
    both("")
    ACTIVATIONS.refresh()
    read_text = metadata.PathDistribution.read_text

    def fail(self, name):
        if name == "entry_points.txt" and "Name: good-one" in read_text(self, "METADATA"):
            raise OSError("too many open files")
        return read_text(self, name)

    with monkeypatch.context() as patch:
        patch.setattr(metadata.PathDistribution, "read_text", fail)
        assert "fine" not in ACTIVATIONS and "broken" in ACTIVATIONS
    assert "fine" in ACTIVATIONS


# -- strict ------------------------------------------------------------------------------------------------------------


def test_strict(both, monkeypatch):
    both("raise OSError('no such library')")
    monkeypatch.setenv("FASTMLP_STRICT_PLUGINS", "1")
    ACTIVATIONS.refresh()
    for _ in range(2):
        with pytest.raises(fm.PluginError, match=r"broken-one 1\.0.*no such library"):
            ACTIVATIONS.get("fine")
    with pytest.raises(fm.PluginError, match="broken-one"):
        ACTIVATIONS.names()
    assert ACTIVATIONS.get("relu") is not None  # plugins are not asked for
    monkeypatch.setenv("FASTMLP_STRICT_PLUGINS", "0")
    ACTIVATIONS.refresh()
    assert type(ACTIVATIONS.get("fine")).__name__ == "Bend"


def test_strict_about_what_cannot_be_read(both, monkeypatch):
    both("", name="bro ken")
    monkeypatch.setenv("FASTMLP_STRICT_PLUGINS", "1")
    ACTIVATIONS.refresh()
    with pytest.raises(fm.PluginError, match=r"bro ken.*only letters"):
        ACTIVATIONS.get("fine")


def test_strict_where_nothing_is_broken(both, monkeypatch):
    both(GOOD)
    monkeypatch.setenv("FASTMLP_STRICT_PLUGINS", "1")
    ACTIVATIONS.refresh()
    assert type(ACTIVATIONS.get("broken")).__module__ == "broken_module"
    assert {"fine", "broken"} <= set(ACTIVATIONS.names())


def test_the_command_is_strict_too(both, monkeypatch, capsys):
    both("raise SystemExit")
    assert main(["plugins", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["plugins"]) >= 2
    monkeypatch.setenv("FASTMLP_STRICT_PLUGINS", "1")
    ACTIVATIONS.refresh()
    assert main(["plugins", "--json"]) == 1
    assert "broken-one" in capsys.readouterr().err
