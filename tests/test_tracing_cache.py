"""What tracing remembers of objects: until an attribute has changed, and of each object by itself."""

import copy
import gc
import pickle

import numpy as np
import pytest

import fastmlp as fm
from fastmlp._tracing.cache import attributes, checked, entered, remembered
from fastmlp._tracing.execution import Execution
from fastmlp._tracing.symbols import Untraceable


class Owner(fm.losses.Loss):
    def __init__(self, value=0.0):
        self.value = value


def asked(owner, key="key", result="traced"):
    """How often it is looked at in two questions."""
    calls = []

    def find():
        calls.append(key)
        return Execution(result)

    return [remembered(owner, key, find).mode for _ in range(2)], len(calls)


def test_found_once_for_a_key():
    owner = Owner()
    assert asked(owner, ("f4", 3)) == (["traced"] * 2, 1)
    assert asked(owner, ("f4", 3)) == (["traced"] * 2, 0)
    assert asked(owner, ("f4", 4)) == (["traced"] * 2, 1)


CHANGES = {
    "a number": (1.0, lambda owner: setattr(owner, "value", 2.0)),
    "a sign of zero": (0.0, lambda owner: setattr(owner, "value", -0.0)),
    "a type": (1, lambda owner: setattr(owner, "value", True)),
    "a new attribute": (1.0, lambda owner: setattr(owner, "other", 1)),
    "a list in place": ([1, 2], lambda owner: owner.value.append(3)),
    "a dict in place": ({"a": [1]}, lambda owner: owner.value["a"].append(2)),
    "an array in place": (np.zeros(3), lambda owner: owner.value.__setitem__(1, 5.0)),
    "an object in place": (fm.activations.SiLU(1.0), lambda owner: setattr(owner.value, "beta", 2.0)),
    "a function": (abs, lambda owner: setattr(owner, "value", np.exp)),
    "through vars": (1.0, lambda owner: vars(owner).update(value=3.0)),
}


@pytest.mark.parametrize("what", CHANGES)
def test_a_changed_attribute_is_seen(what):
    value, change = CHANGES[what]
    owner = Owner(value)
    assert asked(owner)[1] == 1
    assert asked(owner)[1] == 0
    change(owner)
    assert asked(owner)[1] == 1


@pytest.mark.parametrize("value", [np.nan, [1.0, (2, "x")], {"a": np.arange(3)}, np.float32(0.5), None, np.exp])
def test_what_stays_is_found_again(value):
    owner = Owner(value)
    assert asked(owner)[1] == 1
    owner.value = copy.deepcopy(value)
    assert asked(owner)[1] == 0


def test_ignored_attributes_may_change():
    owner, found = Owner(), []
    for value in (1.0, 2.0):
        owner.value = value
        remembered(owner, "key", lambda: found.append(1) or Execution("traced"), ignoring=("value",))
    assert len(found) == 1


def test_circles_end():
    owner = Owner()
    owner.value = [owner]
    assert attributes(owner) == attributes(owner)


def test_equal_objects_have_memories_of_their_own():
    one, other = Owner(), Owner()
    assert one == other
    assert asked(one)[1] == asked(other)[1] == 1


def test_nothing_is_left_in_the_object():
    owner = Owner(2.0)
    asked(owner)
    assert vars(owner) == {"value": 2.0}
    assert vars(copy.deepcopy(owner)) == {"value": 2.0}
    loss = fm.losses.Huber(2.0)
    assert fm.losses.execution_of(loss, "float32", 3).mode == "traced"
    assert vars(pickle.loads(pickle.dumps(loss))) == {"delta": 2.0}


def test_dead_objects_are_forgotten():
    """Another object that lies where one was is looked at anew."""
    for _ in range(50):
        owner = Owner()
        assert asked(owner)[1] == 1
        del owner
        gc.collect(0)  # young objects alone: the whole heap of a test run takes a third of a second


def test_one_that_changes_itself_runs_in_python_for_good():
    owner, calls = Owner(0), []

    def find():
        owner.value += 1
        calls.append(1)
        return Execution("traced")

    for _ in range(3):
        found = remembered(owner, "key", find)
        assert found.mode == "python"
        assert found.reason == "it changes its own attributes when it is called"
    owner.value = 100
    assert remembered(owner, "key", find).mode == "python"
    assert len(calls) == 1


def test_a_reason_is_remembered():
    calls = []

    def find():
        calls.append(1)
        raise Untraceable("no")

    owner = Owner()
    assert [remembered(owner, "key", find).reason for _ in range(2)] == ["no", "no"]
    assert len(calls) == 1


def test_an_interrupt_is_not_remembered():
    def interrupted():
        raise KeyboardInterrupt

    owner = Owner()
    with pytest.raises(KeyboardInterrupt):
        remembered(owner, "key", interrupted)
    assert asked(owner) == (["traced"] * 2, 1)


def test_code_that_needs_itself_is_told_so():
    """The question within runs in Python; what is asked from outside is found all the same."""
    owner, inner = Owner(), []

    def find():
        inner.append(remembered(owner, "key", find))
        return Execution("traced")

    assert remembered(owner, "key", find).mode == "traced"
    assert [one.reason for one in inner] == ["it uses a network of itself"]
    with entered(owner), pytest.raises(Untraceable, match="a network of itself"), entered(owner):
        pass
    with entered(owner):  # let go of
        pass


def test_programs_are_made_once_for_a_key():
    made = []
    key = ("test", object())
    for _ in range(3):
        assert checked(key, lambda: made.append(1) or "program") == "program"
    assert made == [1]


def test_a_program_that_is_too_large_is_a_reason():
    def too_large():
        raise ValueError("beyond 4")

    with pytest.raises(Untraceable, match="beyond 4"):
        checked(("test", object()), too_large)
