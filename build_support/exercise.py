"""Exercise networks for `sanitize.py`: native, traced, trainable and Python activations and traced optimizers, at
sizes about those of vectors, tiles and fused groups, on 1, 2 and 3 threads; every result has the same bits."""

import ctypes
import itertools
import sys
import threading

import numpy as np

import fastmlp as fm
from fastmlp import activations, optimizers
from fastmlp._compiler import emit
from fastmlp._kernels import level, load
from fastmlp.layers import Activation, BatchNorm, Dense, Dropout

UNITS = (1, 3, 15, 16, 17, 33)
BATCHES = (1, 7, 128, 129, 1000)
INPUTS = 5


class Swish(fm.activations.Activation):
    """Native, from the library that comes as an argument."""

    def __init__(self, beta=1.0):
        self.beta = beta

    def forward(self, z):
        return z / (1 + np.exp(-self.beta * z))

    def derivative(self, z, a):
        s = 1 / (1 + np.exp(-self.beta * z))
        return s + self.beta * a * (1 - s)


class Bump(fm.activations.Activation):
    """Traced, and differentiated."""

    def forward(self, z):
        return np.where(z > 0, np.sin(z), z) * np.exp(-np.abs(z))


class Wave(fm.activations.Activation):
    """Traced, with a parameter for the layer and one for each unit."""

    def __init__(self, slope=0.5, height=0.25):
        self.slope, self.height = slope, height

    def forward(self, z):
        return self.slope * z + self.height * np.sin(self.slope * z)


class Branch(fm.activations.Activation):
    """Runs in Python."""

    def forward(self, z):
        return np.cos(z) if (z > 1e6).any() else z * 0.5

    def derivative(self, z, a):
        return np.full_like(z, 0.5)


class Lion(fm.optimizers.Optimizer):
    """Traced (Chen and others, arXiv:2302.06675)."""

    elementwise = True

    def init_state(self, param):
        return {"m": np.zeros_like(param)}

    def update(self, param, grad, state, learning_rate, step):
        m = state["m"]
        param -= learning_rate * np.sign(0.9 * m + 0.1 * grad)
        m += 0.01 * (grad - m)


class Yogi(fm.optimizers.Optimizer):
    """Traced, with two arrays of state and a step (Zaheer and others, NeurIPS 2018)."""

    elementwise = True

    def init_state(self, param):
        return {"m": np.zeros_like(param), "v": np.zeros_like(param)}

    def update(self, param, grad, state, learning_rate, step):
        m, v, square = state["m"], state["v"], grad * grad
        m += 0.1 * (grad - m)
        v -= 0.001 * np.sign(v - square) * square
        param -= learning_rate * (m / (1 - 0.9**step)) / (np.sqrt(v / (1 - 0.999**step)) + 1e-3)


STACKS = {
    "fused": lambda units: [
        Dense(units, Swish(1.25), kernel_regularizer="l1_l2"),
        Dense(units, Bump(), bias_regularizer="l2"),
        Dense(units, "mish"),
        Dense(3),
    ],
    "alone": lambda units: [
        Activation(Swish()),
        Dense(units),
        BatchNorm(),
        Activation(Bump()),
        Dropout(0.2),
        Dense(units, "gelu"),
        BatchNorm(),
        Activation(Swish(0.5)),
        Dense(3, Swish()),
    ],
    "learned": lambda units: [
        Activation(Wave(fm.learned(0.5, per="unit"), fm.learned(0.5))),
        Dense(units, "prelu"),
        BatchNorm(),
        Activation(Wave(fm.learned(0.5), fm.learned(0.25, per="unit"))),
        Dense(3, Wave(fm.learned(0.5), 0.75)),
    ],
    "python": lambda units: [Dense(units, Swish()), Dense(units, Branch()), Dense(units, Bump()), Dense(3, "softplus")],
}
LOSSES = {"fused": "log_cosh", "alone": "mean_squared_error", "learned": "mean_squared_error", "python": "huber"}


def data(rows, dtype):
    rng = np.random.default_rng(rows)
    return rng.normal(size=(rows, INPUTS)).astype(dtype), rng.normal(size=(rows, 3)).astype(dtype)


def network(stack, units, dtype, optimizer):
    net = fm.Sequential(STACKS[stack](units), input_dim=INPUTS, dtype=dtype, seed=1)
    net.compile(optimizer, LOSSES[stack])
    return net


def used(net, rows, dtype):
    """Everything that a network does; what comes of it, as bytes."""
    x, y = data(rows, dtype)
    if rows > 1:  # batch norm takes no statistics of one row
        net.fit(x, y, epochs=1, batch_size=max(rows // 2, 2), verbose=0)
    net.train_on_batch(x, y)
    _, gradients = net.loss_and_gradients(x, y)
    outputs, backward = net.vjp(x)
    results = [
        net.predict(x),
        net.predict(x[::-1]),
        *gradients.values(),
        backward(outputs)[1],
        *net.parameters.values(),
    ]
    return [np.ascontiguousarray(result).tobytes() for result in results]


def sizes(kinds):
    """The same bits at any number of threads, and in both schedules."""
    for dtype, stack, units, rows in itertools.product(("float32", "float64"), STACKS, UNITS, BATCHES):
        optimizer = kinds[(units + rows) % len(kinds)]
        results = []
        for fused_bytes, threads in itertools.product((1 << 40, 0), (1, 2, 3)):
            emit.FUSED_BYTES = fused_bytes
            with fm.num_threads(threads):
                results.append(used(network(stack, units, dtype, optimizer()), rows, dtype))
        if any(result != results[0] for result in results):
            sys.exit(f"{stack}, {dtype}, {units} units, {rows} rows: the bits depend on threads or schedule")


def stopped():
    """All threads of a team leave a step in which one has met a number that is not finite; nothing has changed."""
    for dtype, stack, threads in itertools.product(("float32", "float64"), STACKS, (1, 2, 3)):
        net, (x, y) = network(stack, 33, dtype, Lion()), data(129, dtype)
        before = {name: value.copy() for name, value in net.parameters.items()}
        x[100, 2] = np.inf
        try:
            with fm.num_threads(threads):
                net.train_on_batch(x, y)
        except fm.NonFiniteError:
            if all(np.array_equal(net.parameters[name], value) for name, value in before.items()):
                continue
        sys.exit(f"{stack}, {dtype}, {threads} threads: a step over inf")


def together(work, count):
    """Runs `work(k)` in that many threads of Python; an error in one of them is one here."""
    errors = []

    def guarded(k):
        try:
            work(k)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=guarded, args=(k,)) for k in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


def callers():
    """Threads of Python that predict with one network; and that train, each its own, with the same kernels."""
    for dtype, stack in itertools.product(("float32", "float64"), STACKS):
        x, _ = data(300, dtype)
        net = network(stack, 33, dtype, "adam")
        expected = net.predict(x)

        def predicts(k, net=net, x=x, expected=expected):
            with fm.num_threads(1 + k % 3):
                for _ in range(20):
                    if not np.array_equal(net.predict(x), expected):
                        raise AssertionError(f"thread {k}: another prediction than alone")

        together(predicts, 4)
        alone = used(network(stack, 17, dtype, Lion()), 129, dtype)

        def trains(k, stack=stack, dtype=dtype, alone=alone):
            with fm.num_threads(2):
                if used(network(stack, 17, dtype, Lion()), 129, dtype) != alone:
                    raise AssertionError(f"thread {k}: another network than alone")

        together(trains, 3)


def main(library, *options):
    functions = ctypes.CDLL(library)
    Swish.native = fm.activations.NativeKernel(
        **{name: (functions[f"forward_{name}"], functions[f"backward_{name}"]) for name in ("float32", "float64")},
        params=("beta",),
    )
    modes = [activations.execution_of(kind(), np.dtype("float32")).mode for kind in (Swish, Bump, Branch)]
    modes += [optimizers.execution_of(kind()).mode for kind in (Lion, Yogi)]
    if modes != ["native", "traced", "python", "traced", "traced"]:
        sys.exit(f"not the modes that this is for: {modes}")
    load(level, "plan_schedule").set_grain(1.0)  # teams also where there is next to nothing to do
    if "--short" in options:
        globals().update(UNITS=(3, 17), BATCHES=(7, 129))
    sizes([Lion, Yogi, fm.optimizers.Adam])
    stopped()
    callers()
    print(f"exercised: {fm.__file__}, {level}")


if __name__ == "__main__":
    main(*sys.argv[1:])
