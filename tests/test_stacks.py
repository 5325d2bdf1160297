"""Threads with little stack are enough: what kernels need beyond some kilobytes lies in the workspace."""

CODE = """
import threading

import numpy as np

import fastmlp as fm
from fastmlp import activations, optimizers
from fastmlp._kernels import level, load
from fastmlp.layers import Activation, BatchNorm, Dense, Dropout, LayerNorm, RMSNorm

load(level, "plan_schedule").set_grain(1.0)  # teams also where there is next to nothing to do


def long(z):
    values = [np.sin(z * (k + 1)) for k in range(14)]  # all of them are read at the end: as many registers
    total = values[0]
    for value in values[1:]:
        total = total * np.tanh(value) + np.exp(-value * value)
    return total


class Slow(fm.activations.Activation):
    def forward(self, z):
        return np.cos(z) if (z > 1e6).any() else z * 0.5

    def derivative(self, z, a):
        return np.full_like(z, 0.5)


class Scheduled(fm.optimizers.RMSprop):
    pass


STACKS = [
    lambda: [Dense(70, activations.recorded(long), kernel_regularizer="l1_l2"), Dense(33, "gelu"), Dense(5)],
    lambda: [Dense(70, "prelu"), BatchNorm(), Activation("mish"), Dropout(0.2), LayerNorm(), RMSNorm(), Dense(5)],
    lambda: [Dense(300, "relu"), Dense(17, "tanh"), Dense(9, Slow()), Dense(5, "softplus")],
]
OPTIMIZERS = [
    lambda: optimizers.Adam(),
    lambda: optimizers.SGD(0.001, momentum=0.5, nesterov=True),
    lambda: Scheduled(lambda step: 0.001 / step, rho=lambda step: 1 - 1 / (step + 1)),
]
LOSSES = ["mse", "log_cosh", "huber", "mae"]


def work():
    rng = np.random.default_rng(0)
    for dtype in ("float32", "float64"):
        for number, stack in enumerate(STACKS):
            for other, optimizer in enumerate(OPTIMIZERS):
                net = fm.Sequential(stack(), dtype=dtype, seed=1)
                net.compile(optimizer(), LOSSES[(number + other) % 4], metrics=["mae"])
                x, y = rng.normal(size=(600, 40)).astype(dtype), rng.normal(size=(600, 5)).astype(dtype)
                for threads in (1, 2, 3):
                    with fm.num_threads(threads):
                        net.fit(x, y, batch_size=512, verbose=0)
                        net.train_on_batch(x[:7], y[:7])
                        net.evaluate(x, y)
                        net.predict(x[::-1])
                        net.vjp(x)[1](y)
        net = fm.Sequential([Dense(40, "relu"), Dense(12, "softmax")], dtype=dtype)
        net.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
        net.fit(x, rng.integers(0, 12, 600), epochs=2, verbose=0)


threading.stack_size(131072)
errors = []


def guarded():
    try:
        work()
    except BaseException as error:
        errors.append(error)


for _ in range(2):
    thread = threading.Thread(target=guarded)
    thread.start()
    thread.join()
assert not errors, errors
print("enough")
"""


def test_128_kilobytes_of_stack_are_enough(run_python):
    """Of OpenMP's threads half as much, and a thread of Python that trains: every kind of kernel, in both types."""
    assert run_python(CODE, OMP_STACKSIZE="64k") == "enough\n"
