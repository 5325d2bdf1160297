"""`bench/ab.py`: what it makes of times, and that its rows run and give the same answer each time."""

import ab
import ab_worker
import numpy as np
import pytest

FAST = [name for name in ab_worker.ROWS if not name.startswith("fit tab") and name.split()[-1] not in ("mid", "wide")]


def test_the_ratio_is_the_median_of_the_ratios_of_rounds():
    machine = np.array([1.0, 1, 5, 1, 1, 2, 1])  # slower in some rounds, for both
    times = {"old": 1e-3 * machine, "new": 1e-3 * machine * [1.1, 1.1, 1.1, 1.0, 1.2, 1.1, 1.3]}
    found = ab.compared("row", times)
    assert found["ratio"] == pytest.approx(1.1)
    assert found["quartiles"] == pytest.approx([1.1, 1.15])
    assert found["seconds"] == pytest.approx({"old": 1e-3, "new": 1.2e-3})


@pytest.mark.parametrize(
    ("seconds", "ratio", "slower"),
    [(1e-3, 1.02, False), (1e-3, 1.04, True), (1e-6, 1.04, False), (1e-6, 1.06, True), (1e-3, 0.5, False)],
)
def test_rows_above_the_limit_are_marked(seconds, ratio, slower):
    found = ab.compared("row", {"old": [seconds], "new": [seconds * ratio]})
    assert found["slower"] is slower
    assert ("SLOWER" in ab.cells(found)[-1]) is slower


def test_every_second_round_goes_backwards():
    order = []
    times = ab.alternate({"old": lambda number: order.append(("old", number)), "new": lambda _: order.append("new")}, 3)
    assert order == [("old", 0), "new", "new", ("old", 1), ("old", 2), "new"]
    assert {name: len(taken) for name, taken in times.items()} == {"old": 3, "new": 3}


def test_the_digest_sees_each_bit_and_no_order_of_keys():
    a = np.zeros(3, np.float32)
    assert ab_worker.digest({"a": a, "b": 1.0}) == ab_worker.digest({"b": 1.0, "a": a.copy()})
    others = [{"a": -a}, {"b": a}, {"a": a.astype(float)}, {"a": a[None]}, {"a": [a]}, {"a": None}]
    assert len({ab_worker.digest(value) for value in ({"a": a}, *others)}) == 7


@pytest.mark.parametrize("name", FAST)
def test_a_row_gives_the_same_answer_twice(name):
    (call, answer), (_, again) = ab_worker.ROWS[name](), ab_worker.ROWS[name]()
    assert ab_worker.digest(answer()) == ab_worker.digest(again())
    call()
