"""The comparison with NumPy that traced and native code passes: tolerance, corners, NaN, infinity, words."""

import numpy as np
import pytest

from fastmlp._tracing.comparison import TOLERANCE, check_same, difference
from fastmlp._tracing.symbols import Untraceable

Z = np.array([-3.0, -0.5, 2.0])


def compare(found, *expected, largest=1.0, dtype="float64", **inputs):
    found, *expected = (np.asarray(each, np.float64) for each in (found, *expected))
    return difference(found, expected, np.full(found.shape, largest), inputs or {"z": Z}, np.dtype(dtype))


@pytest.mark.parametrize("dtype", TOLERANCE)
def test_the_tolerance_is_a_share_of_the_largest_number_on_the_way(dtype):
    inside, outside = (1 + factor * TOLERANCE[dtype] for factor in (0.9, 1.1))
    assert compare([1.0, 1.0, inside], [1.0, 1.0, 1.0], dtype=dtype) is None
    assert compare([1.0, 1.0, outside], [1.0, 1.0, 1.0], dtype=dtype).points == 1
    assert compare([1.0, 1.0, outside], [1.0, 1.0, 1.0], dtype=dtype, largest=2.0) is None


def test_at_a_corner_either_side_is_right():
    at, below, above = [0.0, 0.0, 1.0], [0.0, 0.0, 0.0], [0.0, 0.0, 1.0]
    for value in (0.0, 0.3, 1.0):
        assert compare([0.0, 0.0, value], at, below, above) is None
    assert compare([0.0, 0.0, 1.1], at, below, above).points == 1


def test_where_numpy_overflows_nothing_is_asked_for():
    for expected in (np.inf, -np.inf):
        for found in (7.0, np.inf, np.nan):
            assert compare([0.0, 0.0, found], [0.0, 0.0, expected]) is None
    assert compare([0.0, 0.0, 7.0], [0.0, 0.0, 1.0], [0.0, 0.0, np.inf]) is None


def test_nan_must_not_become_a_number():
    nan = [0.0, 0.0, np.nan]
    assert compare([0.0, 0.0, 1.0], nan).points == 1
    assert compare([0.0, 0.0, 1.0], nan, nan, nan).points == 1
    assert compare([0.0, 0.0, 1.0], [0.0, 0.0, 1.0], nan) is None  # a pole beside it
    for found in (np.nan, np.inf):
        assert compare([0.0, 0.0, found], nan) is None


def test_a_number_must_not_become_nan_or_infinity():
    for found in (np.nan, np.inf, -np.inf):
        assert compare([0.0, found, 0.0], [0.0, 0.0, 0.0]).points == 1


def test_the_point_nearest_to_zero_is_told():
    found = compare([1.0, 2.0, 3.0], [1.0, 0.0, 0.0], z=Z, da=np.array([1.0, 0.5, 2.0]))
    assert str(found) == "it gives 2.0 at z = -0.5, da = 0.5, where NumPy gives 0.0"
    assert found.points == 2
    assert compare([1.0, 2.0], [0.0, 0.0], z=np.array([np.nan, 9.0])).point == "z = 9.0"


def test_rows_and_columns():
    expected = np.zeros((2, 3))
    found = expected.copy()
    found[1, 2] = 1
    one = difference(found, [expected], np.zeros(()), {"p": np.arange(6.0).reshape(2, 3)}, np.dtype("f8"))
    assert one.point == "p = 5.0"


def test_the_reason_names_what_was_computed():
    with pytest.raises(Untraceable, match=r"^backward: traced, it gives 1.0 at z = -0.5, where NumPy gives 0.0$"):
        check_same("backward", np.ones(3), [np.zeros(3)], np.zeros(3), {"z": Z}, np.dtype("f8"))
