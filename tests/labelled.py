"""A small network with labels, and data for it: shared by the tests of ``fit`` and of callbacks."""

import numpy as np

import fastmlp as fm
from fastmlp.layers import BatchNorm, Dense, Dropout

N, FEATURES, CLASSES = 50, 4, 3


def labelled_data():
    rng = np.random.default_rng(2)
    return rng.normal(size=(N, FEATURES)).astype(np.float32), rng.integers(0, CLASSES, N)


def network(seed=7, learning_rate=0.01, dtype="float32"):
    layers = [Dense(6), BatchNorm(), Dropout(0.2), Dense(CLASSES, activation="softmax")]
    net = fm.Sequential(layers, input_dim=FEATURES, seed=seed, dtype=dtype)
    net.compile(fm.optimizers.Adam(learning_rate), "sparse_categorical_crossentropy", metrics=["accuracy"])
    return net


def plain():
    """A network whose loss in training is the one of `evaluate` before the step: no BatchNorm, no Dropout."""
    net = fm.Sequential([Dense(CLASSES, activation="softmax")], input_dim=FEATURES, seed=7, dtype="float64")
    net.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return net
