"""Masked entries and sparse matrices are said, with the remedy, wherever data come in; sparse ones by a stand-in."""

import numpy as np
import pytest

import fastmlp as fm
from fastmlp.layers import Dense

RNG = np.random.default_rng(3)
X, Y, WEIGHT = RNG.normal(size=(8, 3)), RNG.normal(size=(8, 2)), RNG.uniform(1, 2, 8)
LABELS = RNG.integers(0, 2, 8)


class Sparse:
    """What all sparse matrices have, and no ``__array__``."""

    def __init__(self, dense):
        self.shape, self.ndim, self.nnz, self._dense = dense.shape, dense.ndim, np.count_nonzero(dense), dense

    def toarray(self):
        return self._dense

    def __iter__(self):
        return (Sparse(row) for row in self._dense)

    def __len__(self):
        raise TypeError("the length of a sparse matrix is ambiguous")


class Table:
    """Hands out a masked array as its own."""

    def __init__(self, masked):
        self.masked = masked

    def __array__(self, dtype=None, copy=None):
        return self.masked


def masked(array):
    mask = np.zeros(array.shape, bool)
    mask.flat[2] = True
    return np.ma.masked_array(array, mask)


def network(labels=False):
    net = fm.Sequential([Dense(2, "softmax" if labels else None)], input_dim=3, seed=0, dtype="float64")
    net.compile("sgd", "sparse_categorical_crossentropy" if labels else "mse")
    return net


CALLS = {
    "x of fit": lambda net, f: net.fit(f(X), Y),
    "y of fit": lambda net, f: net.fit(X, f(Y)),
    "weights of fit": lambda net, f: net.fit(X, Y, sample_weight=f(WEIGHT)),
    "x of validation": lambda net, f: net.fit(X, Y, validation_data=(f(X), Y)),
    "y of validation": lambda net, f: net.fit(X, Y, validation_data=(X, f(Y))),
    "weights of validation": lambda net, f: net.fit(X, Y, validation_data=(X, Y, f(WEIGHT))),
    "x of a generator": lambda net, f: net.fit(batch for batch in [(f(X), Y)]),
    "y of a generator": lambda net, f: net.fit(batch for batch in [(X, f(Y))]),
    "weights of a generator": lambda net, f: net.fit(batch for batch in [(X, Y, f(WEIGHT))]),
    "x of train_on_batch": lambda net, f: net.train_on_batch(f(X), Y),
    "y of train_on_batch": lambda net, f: net.train_on_batch(X, f(Y)),
    "weights of train_on_batch": lambda net, f: net.train_on_batch(X, Y, f(WEIGHT)),
    "x of evaluate": lambda net, f: net.evaluate(f(X), Y),
    "y of evaluate": lambda net, f: net.evaluate(X, f(Y)),
    "weights of evaluate": lambda net, f: net.evaluate(X, Y, sample_weight=f(WEIGHT)),
    "x of loss_and_gradients": lambda net, f: net.loss_and_gradients(f(X), Y),
    "x of predict": lambda net, f: net.predict(f(X)),
    "x of vjp": lambda net, f: net.vjp(f(X)),
    "dy of vjp": lambda net, f: net.vjp(X)[1](f(Y)),
    "x of profile": lambda net, f: net.profile(f(X)),
}
KINDS = {
    "masked": (masked, [r"masked", r"\.filled\("]),
    "a list of rows": (lambda array: list(masked(array)), ["masked", r"\.filled\("]),
    "an object": (lambda array: Table(masked(array)), ["masked", r"\.filled\("]),
    "sparse": (Sparse, ["sparse", r"\.toarray\(\)"]),
    "a list of sparse rows": (lambda array: list(Sparse(np.atleast_2d(array))), ["sparse", r"\.toarray\(\)"]),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("call", CALLS)
def test_it_is_said_with_the_remedy(kind, call, says, snapshot, same_bits):
    make, words = KINDS[kind]
    if "weights" in call and kind == "a list of rows":
        make, words = (lambda array: [masked(array)]), ["masked", r"\.filled\("]
    net = network()
    before = snapshot(net)
    with pytest.raises(TypeError) as caught:
        CALLS[call](net, make)
    says(caught.value, *words)
    assert same_bits(snapshot(net), before)


@pytest.mark.parametrize("call", ["x of fit", "y of fit", "weights of fit", "y of validation", "x of train_on_batch"])
@pytest.mark.parametrize("mask", [np.ma.nomask, False])
def test_without_masked_entries_they_are_data(call, mask, same):
    net, twin = network(), network()
    CALLS[call](net, lambda array: np.ma.masked_array(array, mask))
    CALLS[call](twin, lambda array: array)
    same(net, twin)


def test_parameters_are_written_whole():
    net = network()
    for value in (np.ma.masked_array(np.ones(2), [True, False]), Sparse(np.ones(2))):
        with pytest.raises(TypeError, match=r"0\.bias: .*(masked|sparse)"):
            net.parameters["0.bias"] = value
    net.parameters["0.bias"] = np.ma.masked_array([1.0, 2.0])
    assert net.parameters["0.bias"].tolist() == [1.0, 2.0]


def test_targets_are_missed_before_batches_are_looked_for():
    for x in (X, Sparse(X), Table(np.ma.masked_array(X))):
        with pytest.raises(ValueError, match="y is missing"):
            network().fit(x)


def test_masked_labels():
    for call in (network(True).fit, network(True).train_on_batch, network(True).evaluate):
        with pytest.raises(TypeError, match="y: some entries are masked"):
            call(X, np.ma.masked_array(LABELS, LABELS[0] == LABELS))


def test_users_code_that_returns_masked_entries():
    class Gap(fm.metrics.Metric):
        def rows(self, y_true, y_pred):
            return np.ma.masked_less(np.abs(y_pred - y_true).mean(axis=1), 10.0)

    net = network()
    net.compile("sgd", "mse", metrics=[Gap()])
    with pytest.raises(TypeError, match=r"rows of metric Gap\(\).*masked"):
        net.evaluate(X, Y)
