"""`Configurable`: changes of settings are counted, so that a plan is known to be up to date by comparing integers."""

import copy
import pickle
import threading

import numpy as np
import pytest

import fastmlp as fm
from fastmlp.configurable import HYPERPARAMETERS, SETTINGS, VERSIONS, Configurable, init_parameters


class Checked:
    """A descriptor that keeps a value under its own name."""

    def __set_name__(self, owner, name):
        self.name = name

    def __get__(self, thing, owner):
        return self if thing is None else vars(thing)[self.name]

    def __set__(self, thing, value):
        vars(thing)[self.name] = float(value)


class Thing(Configurable):
    """One attribute of each sort."""

    mode = "fast"
    total = 0.0
    data_attributes = frozenset({"total", "cache"})
    hyperparameters = ("rate", "momentum", "decay")
    decay = Checked()
    width = Checked()

    def __init__(self, size=1, rate=0.1, momentum=0.9):
        self.size = size
        self.decay = self.width = 1
        self.rate = rate
        self.momentum = momentum

    @property
    def rate(self):
        return self._rate

    @rate.setter
    def rate(self, value):
        self._rate = float(value)

    def method(self):
        return self.mode


@pytest.fixture
def counted():
    """Call something; give how often it counted a change: of settings, of hyper-parameters."""

    def call(change):
        before = list(VERSIONS)
        change()
        return VERSIONS[SETTINGS] - before[SETTINGS], VERSIONS[HYPERPARAMETERS] - before[HYPERPARAMETERS]

    return call


def test_versions_are_two_64_bit_integers_that_compiled_code_can_read():
    view = memoryview(VERSIONS)
    assert (view.format, view.itemsize, view.shape) == ("q", 8, (2,))


def test_making_an_object_counts_nothing(counted):
    assert counted(Thing) == (0, 0)
    assert counted(lambda: Thing(2, 0.2, 0.3)) == (0, 0)
    assert counted(lambda: fm.layers.Dense(3, "relu")) == (0, 0)
    assert counted(lambda: fm.optimizers.Adam(0.1)) == (0, 0)
    assert counted(lambda: copy.deepcopy(Thing(2))) == (0, 0)
    assert counted(lambda: pickle.loads(pickle.dumps(fm.layers.Dense(3)))) == (0, 0)


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("size", 2, (1, 0)),
        ("mode", "exact", (1, 0)),  # a default of the class, hidden by the object's own
        ("method", lambda: None, (1, 0)),
        ("momentum", 0.5, (0, 1)),
        ("rate", 0.5, (0, 1)),  # a property, kept as _rate
        ("decay", 0.5, (0, 1)),  # a descriptor
        ("width", 0.5, (1, 0)),
        ("total", 1.0, (0, 0)),
        ("cache", [], (0, 0)),
        ("news", 1, (0, 0)),
    ],
)
def test_what_setting_an_attribute_counts(counted, name, value, expected):
    thing = Thing()
    assert counted(lambda: setattr(thing, name, value)) == expected
    assert getattr(thing, name) is value


def test_setting_the_same_object_again_counts_nothing(counted):
    thing = Thing(size=[1, 2])
    assert counted(lambda: setattr(thing, "size", thing.size)) == (0, 0)


def test_every_change_of_what_is_there_counts(counted):
    thing = Thing()
    thing.news = 0

    def changes():
        for value in (1, 2, 1):
            thing.news = value
            thing.mode = str(value)

    assert counted(changes) == (6, 0)


def test_what_deleting_an_attribute_counts(counted):
    thing = Thing()
    thing.cache = 1
    assert counted(lambda: delattr(thing, "size")) == (1, 0)
    assert counted(lambda: delattr(thing, "momentum")) == (0, 1)
    assert counted(lambda: delattr(thing, "cache")) == (0, 0)
    with pytest.raises(AttributeError):
        del thing.size


def test_a_setting_that_is_refused_counts_nothing(counted):
    thing = Thing()

    def refused():
        with pytest.raises(ValueError):
            thing.rate = "fast"

    assert counted(refused) == (0, 0)
    assert thing.rate == 0.1


def test_a_subclass_is_looked_at_by_itself(counted):
    """What its base lets objects set for the first time may be a default of the subclass."""
    Thing().fresh = 1

    class Other(Thing):
        fresh = 0

    other = Other()
    assert counted(lambda: setattr(other, "fresh", 1)) == (1, 0)
    assert counted(lambda: setattr(Thing(), "fresh", 1)) == (0, 0)


def test_slots_count_whenever_they_are_set(counted):
    class Slotted(Configurable):
        __slots__ = ("width",)

    thing = Slotted()
    assert counted(lambda: setattr(thing, "width", 1)) == (1, 0)
    assert thing.width == 1


def test_a_version_is_counted_once_the_value_is_there():
    """Whoever reads the new version reads the new value, or else would keep the old one for ever."""
    seen = []

    class Watched(Configurable):
        def __init__(self):
            self.size = 0

        def __setattr__(self, name, value):
            before = VERSIONS[SETTINGS]
            super().__setattr__(name, value)
            seen.append((VERSIONS[SETTINGS] - before, self.size))

    Watched().size = 5
    assert seen == [(0, 0), (1, 5)]


def test_no_version_comes_back_where_threads_count_at_once():
    thing, versions = Thing(), set()
    things = [Thing() for _ in range(4)]

    def change(mine):
        for value in range(500):
            mine.size = str(value)

    workers = [threading.Thread(target=change, args=(mine,)) for mine in things]
    for worker in workers:
        worker.start()
    while any(worker.is_alive() for worker in workers):
        versions.add(VERSIONS[SETTINGS])
    for worker in workers:
        worker.join()
    thing.size = 2
    assert VERSIONS[SETTINGS] > max(versions, default=0)


def test_objects_of_equal_configuration_are_equal():
    assert Thing(2) == Thing(2) != Thing(3)
    assert Thing(np.array([1.0, np.nan])) == Thing([1.0, np.nan])
    assert repr(Thing(2)) == "Thing(size=2)"


def test_parameters_are_those_of_the_init_that_is_there_now(monkeypatch):
    class Base(Configurable):
        def __init__(self, size=1, *, shared="base"):
            self.size, self.shared = size, shared

    class Passing(Base):
        def __init__(self, depth=2, shared="own", **rest):
            super().__init__(shared=shared, **rest)
            self.depth = depth

    class Plain(Base):
        pass

    assert [list(init_parameters(cls)) for cls in (Base, Passing, Plain)] == [
        ["size", "shared"],
        ["depth", "shared", "size"],
        ["size", "shared"],
    ]
    assert init_parameters(Passing)["shared"].default == "own"

    def another(self, width=3):
        self.width = width

    monkeypatch.setattr(Base, "__init__", another)
    assert list(init_parameters(Passing)) == ["depth", "shared", "width"]
    assert list(init_parameters(Plain)) == ["width"]
    assert Plain(4).get_config() == {"width": 4}
    assert init_parameters(Configurable) == {}
