"""The data that comes with the package."""

import hashlib
import pathlib

import numpy as np

import fastmlp as fm
from fastmlp import datasets

# Of scikit-learn's load_digits, by hashlib.sha256(array.astype("uint8").tobytes()).hexdigest().
IMAGES = "8f26b2bd9d135c256808f68f14fdabddde6d9c7f869ae419704b051f0f14b3b3"
LABELS = "8ba4f891220f5e4c9c819638d1602d74b83618f167043c6da52a2a247841ddf0"


def sha256(array):
    return hashlib.sha256(np.ascontiguousarray(array, dtype=np.uint8).tobytes()).hexdigest()


def test_digits():
    x, y = datasets.load_digits()
    assert x.shape == (1797, 64) and x.dtype == np.float32 and x.flags.c_contiguous
    assert y.shape == (1797,) and y.dtype == np.int64
    assert x.min() == 0 and x.max() == 1
    np.testing.assert_array_equal(np.bincount(y), [178, 182, 177, 183, 181, 182, 181, 179, 174, 180])


def test_digits_are_those_of_scikit_learn():
    x, y = datasets.load_digits()
    counts = x * 16
    assert (counts == counts.astype(np.uint8)).all()
    assert sha256(counts) == IMAGES
    assert sha256(y) == LABELS


def test_each_call_gives_new_arrays():
    first, labels = datasets.load_digits()
    expected = first.copy(), labels.copy()
    first[:], labels[:] = -1, -1
    for array, kept in zip(datasets.load_digits(), expected, strict=True):
        np.testing.assert_array_equal(array, kept)


def test_the_file_is_small_and_holds_bytes_only():
    path = pathlib.Path(datasets.__file__).parent / "digits.npz"
    assert path.stat().st_size < 60_000
    with np.load(path, allow_pickle=False) as archive:
        assert {name: archive[name].dtype.name for name in archive} == {"images": "uint8", "labels": "uint8"}


def test_source_and_licence_are_told():
    for fact in ("Alpaydin", "Kaynak", "https://doi.org/10.24432/C50P49", "CC BY 4.0"):
        assert fact in (datasets.load_digits.__doc__ or "")


def test_not_imported_with_the_package(run_python):
    run_python("""
        import sys, fastmlp
        assert "fastmlp.datasets" not in sys.modules
    """)


def test_digits_go_straight_into_fit():
    x, y = datasets.load_digits()
    net = fm.Sequential([fm.layers.Dense(10, activation="softmax")], seed=0)
    net.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    history = net.fit(x, y, epochs=10, verbose=0).history
    assert history["accuracy"][-1] > 0.85
