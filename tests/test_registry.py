"""The registry: names, run-time registration, plugins from real metadata, configurations and errors."""

from __future__ import annotations

import copy
import importlib.metadata
import pickle
import sys
import threading

import numpy as np
import pytest

import fastmlp as fm
from fastmlp.configurable import Configurable
from fastmlp.errors import PluginError
from fastmlp.registry import Registry

KINDS = [
    "activations",
    "layers",
    "initializers",
    "optimizers",
    "losses",
    "metrics",
    "regularizers",
    "constraints",
    "schedules",
]


class Widget(Configurable):
    """Base of the kind of thing that these tests register."""


class Round(Widget):
    __module__ = "fastmlp.widgets"  # built-ins are fastmlp's own

    def __init__(self, radius: float = 1.0, colour: str = "red") -> None:
        self.radius = radius
        self.colour = colour


class Square(Widget):
    def __init__(self, side: float) -> None:
        self.side = side


@pytest.fixture
def widgets() -> Registry:
    """A registry with one built-in, isolated from those of fastmlp."""
    registry = Registry("widget", "widgets")
    registry.base = Widget
    registry.builtin("round")(Round)
    return registry


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Return a function that installs a distribution: metadata and modules below a folder on sys.path."""
    before = set(sys.modules)
    # Modules of plugins reach the base class through this one.
    module = type(sys)("widgets_base")
    module.Widget = Widget
    monkeypatch.setitem(sys.modules, "widgets_base", module)

    def install(name, entry_points, modules=None, version="1.0", folder="site"):
        site = tmp_path / folder
        info = site / f"{name.replace('-', '_')}-{version}.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        (info / "entry_points.txt").write_text(entry_points)
        for module, text in (modules or {}).items():
            path = site / f"{module}.py"
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
        monkeypatch.syspath_prepend(site)
        return info

    yield install
    for name in set(sys.modules) - before:
        if getattr(sys.modules[name], "__file__", None) and str(tmp_path) in str(sys.modules[name].__file__):
            del sys.modules[name]


def plugin(name: str = "Oval") -> str:
    """Text of a module with one widget."""
    return (
        "from widgets_base import Widget\n"
        f"class {name}(Widget):\n"
        "    def __init__(self, ratio=2.0):\n"
        "        self.ratio = ratio\n"
    )


# -- the registries of fastmlp ---------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_has_a_registry(kind):
    registry = getattr(fm.registry, kind)
    assert isinstance(registry, Registry)
    assert registry.plural == kind
    assert list(registry) == registry.names() == sorted(registry.names())
    assert len(registry) == len(registry.names())


@pytest.mark.parametrize("kind", KINDS)
def test_every_listed_name_is_found_again(kind):
    registry = getattr(fm.registry, kind)
    for name in registry:
        assert name in registry
        cls = registry.resolve(name)
        assert issubclass(cls, registry.base)
        assert registry.resolve(registry.identify(cls)) is cls
        if registry.origin(name) == "built-in":
            assert ":" not in registry.identify(cls)


def test_builtin_is_for_fastmlp_alone(widgets):
    with pytest.raises(ValueError, match=r"use register\(\)"):
        widgets.builtin("square")(Square)
    assert "square" not in widgets


def test_errors_are_of_the_package():
    assert issubclass(fm.DuplicateNameError, ValueError)
    assert issubclass(fm.UnknownNameError, LookupError) and issubclass(fm.UnknownNameError, ValueError)
    assert issubclass(fm.NotBuiltError, RuntimeError)
    assert issubclass(PluginError, ImportError)


@pytest.mark.parametrize("travel", [copy.copy, lambda error: pickle.loads(pickle.dumps(error))])
def test_errors_travel_with_their_attributes(travel):
    error = travel(fm.NonFiniteError("loss is nan", layer="2", step=17))
    assert isinstance(error, ValueError)
    assert (str(error), error.layer, error.step) == ("loss is nan", "2", 17)
    error = travel(PluginError("broken", distribution="some-plugin"))
    assert (str(error), error.distribution) == ("broken", "some-plugin")
    assert fm.NonFiniteError("nan").layer is None and fm.NonFiniteError("nan").step is None


# -- get -------------------------------------------------------------------------------------------


def test_get_by_name_class_dict_and_instance(widgets):
    made = Round(3.0)
    assert widgets.get(made) is made
    assert widgets.get("round") == Round()
    assert widgets.get("round", radius=2.0) == Round(2.0)
    assert widgets.get(Round, radius=2.0) == Round(2.0)
    assert widgets.get({"name": "round", "radius": 2.0}) == Round(2.0)
    assert widgets.get({"name": "round", "radius": 2.0}, radius=5.0, colour="blue") == Round(5.0, "blue")
    assert widgets.get(Square, side=1.0) == Square(1.0)  # unregistered: found by class


def test_get_leaves_a_dict_alone(widgets):
    config = {"name": "round", "radius": 2.0}
    widgets.get(config)
    assert config == {"name": "round", "radius": 2.0}


@pytest.mark.parametrize("identifier", [None, 3, 2.5, ["round"], {"radius": 1.0}, {"name": None}, int, object()])
def test_get_refuses_anything_else(widgets, identifier):
    with pytest.raises(TypeError, match="widget"):
        widgets.get(identifier)


def test_get_refuses_parameters_for_an_instance(widgets):
    with pytest.raises(TypeError, match=r"made already.*radius"):
        widgets.get(Round(), radius=2.0)


def test_wrong_parameters_name_the_accepted_ones(widgets):
    widgets.register("square", Square)
    with pytest.raises(TypeError, match=r"'round'.*unknown parameter 'raduis'.*radius=1\.0, colour='red'"):
        widgets.get({"name": "round", "raduis": 2.0})
    with pytest.raises(TypeError, match=r"'square'.*missing parameter 'side'.*accepted: side"):
        widgets.get("square")


def test_unknown_name_tells_kind_names_and_close_match(widgets):
    widgets.register("square", Square)
    with pytest.raises(fm.UnknownNameError, match=r"unknown widget 'sqare'; did you mean 'square'\?") as caught:
        widgets.get("sqare")
    assert "known: round, square" in str(caught.value)
    with pytest.raises(fm.UnknownNameError) as caught:
        widgets.get("xyz")
    assert "did you mean" not in str(caught.value)
    with pytest.raises(fm.UnknownNameError, match="did you mean 'round'"):
        widgets.get("Round")


# -- registering at run time -----------------------------------------------------------------------


def test_register_by_call_and_as_decorator(widgets):
    assert widgets.register("square", Square) is Square

    @widgets.register("tri.angle-3_x")
    class Triangle(Widget): ...

    assert widgets.names() == ["round", "square", "tri.angle-3_x"]
    assert widgets.resolve("tri.angle-3_x") is Triangle
    assert widgets.origin("round") == "built-in"
    assert widgets.origin("square") == f"run time ({__name__}.Square)"


@pytest.mark.parametrize("name", ["", "two words", "a:b", "a/b", "naïve", "a\n", "../x"])
def test_a_name_has_a_syntax(widgets, name):
    with pytest.raises(ValueError, match="letters, digits"):
        widgets.register(name, Square)
    assert widgets.names() == ["round"]


def test_decorator_without_a_name(widgets):
    with pytest.raises(TypeError, match=r'register\("name"\)'):
        widgets.register(Square)


@pytest.mark.parametrize("obj", [Square(1.0), int, len, "square"])
def test_only_classes_of_the_kind_are_registered(widgets, obj):
    with pytest.raises(TypeError, match="widget"):
        widgets.register("square", obj)
    assert "square" not in widgets


@pytest.mark.parametrize("override", [False, True])
@pytest.mark.parametrize("cls", [Square, Round])
def test_a_builtin_is_never_replaced(widgets, cls, override):
    with pytest.raises(fm.DuplicateNameError, match="'round' is a built-in widget"):
        widgets.register("round", cls, override=override)
    assert widgets.resolve("round") is Round


def test_a_taken_name_needs_override(widgets):
    widgets.register("square", Square)

    class Other(Widget): ...

    with pytest.raises(fm.DuplicateNameError, match=r"Square and now by .*Other.*override=True"):
        widgets.register("square", Other)
    assert widgets.resolve("square") is Square
    widgets.register("square", Other, override=True)
    assert widgets.resolve("square") is Other


def test_a_cell_run_again_replaces_itself(widgets):
    def cell():
        @widgets.register("again")
        class Again(Widget): ...

        return Again

    first, second = cell(), cell()
    assert first is not second
    assert widgets.resolve("again") is second
    assert widgets.identify(first()) == widgets.identify(second) == "again"  # of a network made before


def test_identify(widgets):
    assert widgets.identify(Round()) == widgets.identify(Round) == "round"
    with pytest.raises(fm.UnknownNameError, match=r'fm\.registry\.widgets\.register\("name", Square\)'):
        widgets.identify(Square(1.0))
    widgets.register("square", Square)
    assert widgets.identify(Square(1.0)) == "square"

    class Rounder(Round): ...

    with pytest.raises(fm.UnknownNameError):
        widgets.identify(Rounder())  # a subclass isn't its base


def test_names_that_are_no_strings_are_not_in_a_registry(widgets):
    assert None not in widgets and 3 not in widgets and Round not in widgets


# -- plugins ---------------------------------------------------------------------------------------


def test_a_plugin_is_listed_without_import_and_loaded_by_name(widgets, install):
    install("oval-maker", "[fastmlp.widgets]\noval = oval_module:Oval\n", {"oval_module": plugin()})
    assert widgets.names() == ["oval", "round"]
    assert "oval" in widgets and "oval-maker:oval" in widgets
    assert widgets.origin("oval") == widgets.origin("oval-maker:oval") == "oval-maker 1.0"
    assert [(p.qualified, p.entry_point.value) for p in widgets.plugins()] == [("oval-maker:oval", "oval_module:Oval")]
    assert "oval_module" not in sys.modules
    oval = widgets.get("oval", ratio=3.0)
    assert type(oval).__module__ == "oval_module" and oval.ratio == 3.0
    assert type(widgets.get("oval-maker:oval")) is type(oval)
    assert type(widgets.get("Oval_Maker:oval")) is type(oval)  # packaging takes these for one name
    assert widgets.identify(oval) == "oval-maker:oval"


def test_a_builtin_is_found_without_looking_for_plugins(widgets, monkeypatch):
    def refuse():
        raise AssertionError("distributions were searched")

    monkeypatch.setattr(importlib.metadata, "distributions", refuse)
    widgets.register("square", Square)
    assert widgets.get("round") == Round()
    assert "round" in widgets and "square" in widgets
    assert widgets.origin("square").startswith("run time")
    assert widgets.identify(Round()) == "round"


def test_distributions_are_searched_once(widgets, monkeypatch):
    searches = []
    monkeypatch.setattr(importlib.metadata, "distributions", lambda: searches.append(1) or [])
    threads = [threading.Thread(target=widgets.names) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert "oval" not in widgets
    assert len(searches) == 1
    widgets.refresh()
    assert "oval" not in widgets
    assert len(searches) == 2


def test_refresh_finds_what_was_installed_meanwhile(widgets, install):
    assert widgets.names() == ["round"]
    install("oval-maker", "[fastmlp.widgets]\noval = oval_module:Oval\n", {"oval_module": plugin()})
    assert "oval" not in widgets
    widgets.refresh()
    assert "oval" in widgets


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (
            "import a_module_that_nobody_has\n",
            "ModuleNotFoundError: No module named 'a_module_that_nobody_has'",
        ),
        ("1 / 0\n", "ZeroDivisionError"),
        ("def broken(:\n", "SyntaxError"),
        ("", "AttributeError"),
    ],
)
def test_a_broken_plugin_harms_only_its_own_name(widgets, install, text, reason):
    install("oval-maker", "[fastmlp.widgets]\noval = oval_module:Oval\n", {"oval_module": plugin()})
    install("broken-one", "[fastmlp.widgets]\nbad = broken_module:Bad\n", {"broken_module": text}, folder="b")
    assert widgets.names() == ["bad", "oval", "round"]
    with pytest.raises(fm.UnknownNameError) as caught:
        widgets.get("nothing")
    assert "failed to load" not in str(caught.value)  # nobody has tried yet
    assert widgets.failed() == {}
    with pytest.raises(PluginError, match=r"'bad'.*distribution broken-one 1\.0") as broken:
        widgets.get("bad")
    assert reason in str(broken.value)
    assert broken.value.distribution == "broken-one"
    assert type(broken.value.__cause__).__name__ in reason
    assert widgets.get("oval").ratio == 2.0
    assert widgets.names() == ["bad", "oval", "round"]
    with pytest.raises(fm.UnknownNameError) as caught:
        widgets.get("nothing")
    assert f"failed to load: broken-one:bad ({reason}" in str(caught.value)
    assert list(widgets.failed()) == ["broken-one:bad"]


def test_a_mended_plugin_loads(widgets, install, tmp_path):
    install("broken-one", "[fastmlp.widgets]\nbad = broken_module:Oval\n")
    with pytest.raises(PluginError, match="broken_module"):
        widgets.get("bad")
    (tmp_path / "site" / "broken_module.py").write_text(plugin())
    importlib.invalidate_caches()
    assert widgets.get("bad").ratio == 2.0
    assert widgets.failed() == {}


@pytest.mark.parametrize("what", ["class Oval: ...", "def Oval(): ...", "Oval = 3"])
def test_an_entry_point_of_the_wrong_kind_names_its_distribution(widgets, install, what):
    install("wrong-kind", "[fastmlp.widgets]\noval = oval_module:Oval\n", {"oval_module": what})
    with pytest.raises(PluginError, match=r"wrong-kind 1\.0.*expected a class of widget.*Widget"):
        widgets.get("oval")


def test_a_plugin_with_a_builtin_name_is_ignored_but_visible(widgets, install):
    install("shadow", "[fastmlp.widgets]\nround = oval_module:Oval\n", {"oval_module": plugin()})
    assert widgets.names() == ["round"]
    assert type(widgets.get("round")) is Round
    assert widgets.origin("round") == "built-in"
    assert widgets.ignored() == {"shadow:round": "'round' is a built-in widget"}
    assert "oval_module" not in sys.modules
    oval = widgets.get("shadow:round")
    assert oval.ratio == 2.0
    assert widgets.identify(oval) == "shadow:round"


def test_run_time_registration_goes_before_a_plugin(widgets, install):
    install("oval-maker", "[fastmlp.widgets]\nsquare = oval_module:Oval\n", {"oval_module": plugin()})
    widgets.register("square", Square)
    assert widgets.resolve("square") is Square
    assert widgets.names() == ["round", "square"]
    assert widgets.ignored() == {"oval-maker:square": "'square' was registered at run time"}
    assert widgets.get("oval-maker:square").ratio == 2.0


def test_two_distributions_with_one_name(widgets, install):
    install("first-one", "[fastmlp.widgets]\noval = oval_a:Oval\n", {"oval_a": plugin()}, folder="a")
    install("second-one", "[fastmlp.widgets]\noval = oval_b:Oval\n", {"oval_b": plugin()}, "2.0", folder="b")
    for ask in (widgets.get, widgets.resolve, widgets.origin):
        with pytest.raises(fm.DuplicateNameError, match=r"first-one 1\.0 and by second-one 2\.0.*'first-one:oval'"):
            ask("oval")
    assert "oval" not in widgets
    assert widgets.names() == ["first-one:oval", "round", "second-one:oval"]
    a, b = widgets.get("first-one:oval"), widgets.get("second-one:oval")
    assert (type(a).__module__, type(b).__module__) == ("oval_a", "oval_b")
    assert (widgets.identify(a), widgets.identify(b)) == ("first-one:oval", "second-one:oval")


def test_a_distribution_seen_twice_counts_once(widgets, install):
    text = "[fastmlp.widgets]\noval = oval_module:Oval\n"
    install("oval-maker", text, {"oval_module": plugin()}, folder="old")
    install("Oval_Maker", text, version="2.0", folder="new")  # prepended: stands earlier on sys.path
    assert [p.origin for p in widgets.plugins()] == ["Oval_Maker 2.0"]
    assert widgets.get("oval").ratio == 2.0


def test_a_class_imported_by_hand_is_identified_by_its_distribution(widgets, install):
    """A plugin may name its class through its package; the class itself comes from a submodule."""
    modules = {"ovals/__init__": "from .shapes import Oval\n", "ovals/shapes": plugin()}
    install("oval-maker", "[fastmlp.widgets]\noval = ovals:Oval\n", modules)
    install("elsewhere", "[fastmlp.widgets]\nother = not_imported:Other\n", {"not_imported": ""}, folder="b")
    from ovals.shapes import Oval

    assert widgets.identify(Oval(3.0)) == "oval-maker:oval"
    assert "not_imported" not in sys.modules


def test_an_unknown_distribution_is_told(widgets):
    with pytest.raises(fm.UnknownNameError, match="is the distribution 'oval-maker' installed here"):
        widgets.get("oval-maker:oval")
    assert "oval-maker:oval" not in widgets


def test_a_bad_name_in_metadata_is_left_out(widgets, install):
    install("odd-names", "[fastmlp.widgets]\ntwo words = oval_module:Oval\noval = oval_module:Oval\n",
            {"oval_module": plugin()})  # fmt: skip
    assert widgets.names() == ["oval", "round"]
    assert list(widgets.ignored()) == ["odd-names:two words"]


@pytest.mark.parametrize("broken", ["no name", "no metadata", "entry points", "bytes"])
def test_unreadable_metadata_never_raises(widgets, install, broken):
    install("oval-maker", "[fastmlp.widgets]\noval = oval_module:Oval\n", {"oval_module": plugin()})
    info = install("damaged", "[fastmlp.widgets]\nbad = some_module:Bad\n", folder="b")
    if broken == "no name":
        (info / "METADATA").write_text("Version: 1.0\n")
    elif broken == "no metadata":
        (info / "METADATA").unlink()
    elif broken == "entry points":
        (info / "entry_points.txt").write_text("[fastmlp.widgets]\na line without the sign\n")
    else:
        (info / "entry_points.txt").write_bytes(b"[fastmlp.widgets]\n\xff\xfe = x:y\n")
    assert widgets.names() == ["oval", "round"]
    (path,) = widgets.ignored()
    assert path == str(info)
    with pytest.raises(fm.UnknownNameError, match=r"failed to load: .*damaged"):
        widgets.get("nothing")


def test_a_finder_that_fails_never_raises(widgets, monkeypatch):
    def fail():
        raise OSError("a network drive went away")

    monkeypatch.setattr(importlib.metadata, "distributions", fail)
    assert widgets.names() == ["round"]
    assert widgets.ignored() == {"sys.meta_path": "OSError: a network drive went away"}


def test_a_plugin_may_register_while_it_is_imported(widgets, install, monkeypatch):
    """No lock is held during the import, or a second thread could wait for ever."""
    monkeypatch.setattr(sys.modules["widgets_base"], "widgets", widgets, raising=False)
    text = plugin() + (
        "import threading\n"
        "from widgets_base import widgets\n"
        "thread = threading.Thread(target=widgets.register, args=('side', Oval))\n"
        "thread.start(); thread.join(10)\n"
        "assert not thread.is_alive()\n"
    )
    install("oval-maker", "[fastmlp.widgets]\noval = oval_module:Oval\n", {"oval_module": text})
    assert widgets.get("oval").ratio == 2.0
    assert widgets.resolve("side") is widgets.resolve("oval")


def test_a_real_registry_finds_a_real_plugin(install):
    """From metadata on sys.path to a network's initializer, through public names alone."""
    text = (
        "import numpy as np\nimport fastmlp as fm\n"
        "class Checkerboard(fm.initializers.Initializer):\n"
        "    def __call__(self, shape, rng, dtype):\n"
        "        return (np.indices(shape).sum(axis=0) % 2).astype(dtype)\n"
    )
    install("checkers", "[fastmlp.initializers]\ncheckerboard = checkers_module:Checkerboard\n"
            "zeros = checkers_module:Checkerboard\n", {"checkers_module": text})  # fmt: skip
    registry = fm.registry.initializers
    registry.refresh()
    try:
        values = registry.get("checkerboard")((2, 3), np.random.default_rng(0), "float32")
        assert values.tolist() == [[0, 1, 0], [1, 0, 1]]
        assert registry.origin("zeros") == "built-in"
        assert "checkers:zeros" in registry.ignored()
    finally:
        registry.refresh()


# -- configurations --------------------------------------------------------------------------------


class Inner(Widget):
    def __init__(self, width: int, *, depth: int = 2) -> None:
        self.width = width
        self.depth = depth


class Outer(Inner):
    """Takes what its base takes, without repeating it."""

    def __init__(self, height: int = 7, **kwargs) -> None:
        super().__init__(**kwargs)
        self.height = height


def test_config_comes_from_the_signature():
    assert Round(2.0).get_config() == {"radius": 2.0, "colour": "red"}
    assert Outer(1, width=3).get_config() == {"height": 1, "width": 3, "depth": 2}
    assert Outer.from_config({"width": 3, "depth": 4}) == Outer(width=3, depth=4)
    assert Widget().get_config() == {}


def test_config_errors():
    with pytest.raises(TypeError, match=r"Outer: unknown parameter 'colour'.*accepted: height=7, width, depth=2"):
        Outer.from_config({"width": 1, "colour": "red"})
    with pytest.raises(TypeError, match="missing parameter 'width'"):
        Outer.from_config({})
    with pytest.raises(TypeError, match=r"unknown parameter 'x'.*accepted: none"):
        Widget.from_config({"x": 1})


def test_repr_shows_what_differs_from_the_default():
    assert repr(Round()) == "Round()"
    assert repr(Round(radius=2.0)) == "Round(radius=2.0)"
    assert repr(Outer(width=3)) == "Outer(width=3)"


def test_a_parameter_that_is_not_kept():
    class Forgetful(Widget):
        def __init__(self, size=1):
            pass

    with pytest.raises(AttributeError, match=r"no attribute 'size'; keep it \(self\.size = size\)"):
        Forgetful().get_config()
    assert repr(Forgetful()) == "<Forgetful, incomplete>"


def test_nameless_arguments_are_refused():
    class Many(Widget):
        def __init__(self, *sides):
            self.sides = sides

    with pytest.raises(TypeError, match=r"Many.__init__ takes \*args"):
        Many(1, 2).get_config()


@pytest.mark.parametrize(
    ("a", "b", "equal"),
    [
        (1, 1.0, True),
        (1, 2, False),
        (float("nan"), float("nan"), True),
        (np.arange(3), np.arange(3), True),
        (np.arange(3), np.arange(4), False),
        (np.arange(3), np.array([0, 1, 3]), False),
        (np.array([np.nan, 1.0]), np.array([np.nan, 1.0]), True),
        (np.float32(0.5), 0.5, True),
        (np.arange(3), "red", False),
        (None, np.arange(3), False),
        ([1, np.arange(2)], (1, np.arange(2)), True),
        ([1, 2], [1, 2, 3], False),
        ({"a": np.ones(2)}, {"a": np.ones(2)}, True),
        ({"a": 1}, {"b": 1}, False),
        (Round(2.0), Round(2.0), True),
        (Round(2.0), Round(3.0), False),
    ],
)
def test_equality_is_type_and_config(a, b, equal):
    assert (Round(a) == Round(b)) is equal
    assert (Round(b) == Round(a)) is equal
    assert (Round(a) != Round(b)) is not equal
    if equal:
        assert hash(Round(a)) == hash(Round(b))


def test_other_types_are_never_equal():
    class Rounder(Round): ...

    assert Round() != Rounder()
    assert Round() != 1.0
    assert Round() != "round"


def test_array_defaults_print():
    class Table(Widget):
        def __init__(self, rows=(1, 2)):
            self.rows = np.asarray(rows)

    assert repr(Table()) == "Table()"
    assert repr(Table([1, 3])) == "Table(rows=array([1, 3]))"


# -- for tests and for tools -----------------------------------------------------------------------------------------


def test_what_is_registered_in_a_temporary_context_is_forgotten(widgets):
    widgets.register("kept", Square)
    with widgets.temporary():
        widgets.register("square", Square)
        widgets.register("kept", Round, override=True)
        assert widgets.get("kept") == Round()
        with pytest.raises(ZeroDivisionError), widgets.temporary():
            widgets.register("inner", Square)
            raise ZeroDivisionError
        assert widgets.names() == ["kept", "round", "square"]
    assert widgets.names() == ["kept", "round"]
    assert widgets.resolve("kept") is Square


def test_plugins_that_failed_in_a_temporary_context_are_tried_again(widgets, install):
    install("broken-things", "[fastmlp.widgets]\noval = nowhere:Oval\n")
    with widgets.temporary():
        with pytest.raises(PluginError):
            widgets.get("oval")
        assert "broken-things:oval" in widgets.failed()
    assert widgets.failed() == {}


def test_names_of_builtins(widgets):
    widgets.register("square", Square)
    assert widgets.builtins() == ["round"]
    assert {"relu", "softmax"} <= set(fm.registry.activations.builtins())


def test_what_could_not_be_read_is_told(widgets, install):
    install("odd-things", "[fastmlp.widgets]\nno good = m:C\n")
    assert list(widgets.unusable()) == ["odd-things:no good"]
    assert "only letters" in widgets.unusable()["odd-things:no good"]


def test_kinds_are_the_registries():
    found = {name for name, value in vars(fm.registry).items() if isinstance(value, Registry)}
    assert set(fm.registry.KINDS) == found and len(fm.registry.KINDS) == len(found)


@pytest.mark.parametrize(
    ("one", "other", "same"), [("My_Things", "my-things", True), ("a.b", "A--B", True), ("ab", "a-b", False)]
)
def test_names_of_distributions(one, other, same):
    assert fm.registry.same_distribution(one, other) is same
    assert (fm.registry.canonical_distribution(one) == fm.registry.canonical_distribution(other)) is same
    assert fm.registry.is_distribution(one) and not fm.registry.is_distribution(f"{one}; rm")


FUNCTIONS = {  # what one has to write instead: the words of the error
    "activations": ["recorded(f)", "fm.activations.Activation", "forward(self, z)"],
    "layers": ["fm.layers.Activation(fm.activations.recorded(f))", "compose"],
    "initializers": ["fm.initializers.Initializer", "__call__(self, shape, rng, dtype)"],
    "optimizers": ["fm.optimizers.Optimizer", "update(self, param, grad, state"],
    "losses": ["fm.losses.Loss", "value_and_gradient(self, y_true, y_pred)"],
    "metrics": ["fm.metrics.Metric", "rows(self, y_true, y_pred)"],
    "regularizers": ["fm.regularizers.Regularizer", "value_and_gradient(self, w)"],
}


class Applied:
    """An object that can be called, as those of other libraries."""

    def __call__(self, *values):
        return values[0]


@pytest.mark.parametrize("kind", FUNCTIONS)
@pytest.mark.parametrize("function", [np.tanh, lambda *values: values[0], Applied(), len], ids=type)
def test_a_function_where_a_class_is_wanted_names_the_way(kind, function):
    registry, words = getattr(fm.registry, kind), FUNCTIONS[kind]
    for use in (registry.get, lambda f: registry.register("mine", f), registry.register("mine")):
        with pytest.raises(TypeError) as caught:
            use(function)
        assert [word for word in [registry.kind, repr(function), *words] if word not in str(caught.value)] == []
        assert f"fm.{kind}.{registry.base.__name__}" in str(caught.value)


def test_functions_in_networks_name_the_way():
    for use, word in (
        (lambda: fm.layers.Dense(3, np.tanh), "recorded"),
        (lambda: fm.layers.Activation(np.sin), "recorded"),
        (lambda: fm.Sequential([lambda x: x]), "fm.layers.Layer"),
        (lambda: fm.layers.Dense(3, kernel_initializer=np.zeros), "__call__"),
        (lambda: fm.layers.Dense(3, kernel_regularizer=np.sum), "value_and_gradient"),
        (lambda: fm.Sequential([fm.layers.Dense(1)]).compile(lambda w: w, "mse"), "update"),
    ):
        with pytest.raises(TypeError, match=word):
            use()


def test_what_can_not_be_called_gets_no_advice_about_functions():
    with pytest.raises(TypeError) as caught:
        fm.registry.losses.get(3)
    assert "function" not in str(caught.value)


@pytest.mark.parametrize("function", [np.tanh, np.sin, np.exp], ids=lambda f: f.__name__)
def test_the_way_named_for_activations_is_one(function):
    """Also for ufuncs, whose signature has where to write and the like."""
    activation = fm.activations.recorded(function)
    z = np.linspace(-2, 2, 9)
    np.testing.assert_array_equal(activation(z), function(z))
    net = fm.Sequential([fm.layers.Dense(3, activation)], input_dim=2, seed=0)
    assert np.isfinite(net.predict(np.ones((2, 2)))).all()
