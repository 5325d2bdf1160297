"""Fuzzes traced programs: random NumPy code as activation, loss and optimizer, compiled, against NumPy itself.

    python fuzz/programs.py [--seconds 30] [--seed 0] [--case BYTES_IN_HEX] [CORPUS]

Code is made of bytes: guided by coverage where atheris is installed, else random by a seed. It is straight-line code
over operations that can be traced and some that can't, with hostile constants. Whatever it is, there may be no error
but the library's own, and what a network gives must be what NumPy gives. How exactly NumPy itself knows is found by
rounding each operation at random, some times over: a result must lie among those. A finding ends the run, and is
printed with what repeats it.
"""

from __future__ import annotations

import argparse
import contextlib
import random
import resource
import signal
import sys
import time
import warnings

import numpy as np

try:
    import atheris
except ImportError:
    atheris = None
with atheris.instrument_imports(include=["fastmlp"]) if atheris else contextlib.nullcontext():
    import fastmlp as fm
    from fastmlp._tracing.symbols import Untraceable
    from fastmlp.layers import Dense

MOST_MEMORY = 300 << 20
MOST_SECONDS = 60  # of one case
SAMPLES = 8
ROWS, UNITS = 13, 3
CONSTANTS = [
    *(0.0, -0.0, 1.0, -1.0, 0.5, 2.0, 3.0, -2.0, 1e-3, 10.0, 88.0, 709.0, 1e-30, 1e-45, 1e-310, 1e30, 3e38, 1e308),
    *(float("nan"), float("inf"), float("-inf"), 7, -3, 0, 2**70, True),
    *(
        np.float32(0.1),
        np.float64(1e-8),
        np.int8(5),
        np.float16(0.5),
        np.array(2.0),
        np.array([1.0, 2.0, 3.0]),
        "1",
        None,
    ),
]
SINGLE = [
    *(np.exp, np.expm1, np.log, np.log1p, np.sqrt, np.tanh, np.sin, np.cos, np.sinh, np.cosh, np.arctan, np.arcsinh),
    *(np.abs, np.sign, np.rint, np.floor, np.ceil, np.trunc, np.square, np.reciprocal, np.negative, np.exp2, np.log2),
    *(np.log10, np.tan, np.positive, np.isnan, np.isfinite, np.isinf, np.logical_not, np.cbrt, np.arccos),
    *(
        lambda x: x.copy(),
        lambda x: x.astype(np.float64),
        lambda x: x.astype(np.float16),
        lambda x: -x,
        lambda x: abs(x),
    ),
    *(lambda x: x**2, lambda x: x**3, lambda x: x**-1, lambda x: x**0.5, lambda x: 2**x, lambda x: x.clip(-1, 1)),
    *(np.sum, np.sort, lambda x: x[:1], lambda x: x.T, float, lambda x: 1.0 if x.any() else x),
]
DOUBLE = [
    *(
        np.add,
        np.subtract,
        np.multiply,
        np.divide,
        np.maximum,
        np.minimum,
        np.power,
        np.copysign,
        np.hypot,
        np.logaddexp,
    ),
    *(np.less, np.greater, np.less_equal, np.greater_equal, np.equal, np.not_equal, np.logical_and, np.logical_or),
    *(np.heaviside, np.mod, np.arctan2, np.float_power, np.fmax, np.dot),
    *(lambda x, y: x + y, lambda x, y: x - y, lambda x, y: x * y, lambda x, y: x / y, lambda x, y: x // y),
    *(lambda x, y: x & y, lambda x, y: x | y, lambda x, y: x > y, lambda x, y: x @ y),
]


def multiply_add(c, x, y):
    return x * c + y


TRIPLE = [np.where, np.clip, lambda c, x, y: np.where(c > 0, x, y), multiply_add]

# Compiled in two steps, of which the first is rounded as the operands are: y + softplus(x - y), and a fused product.
BY_DIFFERENCES = (np.logaddexp, multiply_add)


class Choices:
    """Whole numbers out of bytes; zeros when these are used up."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def below(self, n: int) -> int:
        self.at += 1
        return self.data[self.at - 1] % n if self.at <= len(self.data) else 0

    def left(self) -> bool:
        return self.at < len(self.data)


class Code:
    """Straight-line code: each line is a function and operands: places of inputs and earlier lines, or constants."""

    def __init__(self, choices: Choices, inputs: int, outputs: int, most: int) -> None:
        self.lines, self.inputs = [], inputs
        for _ in range(choices.below(most) + 1):
            kind = choices.below(8)
            table, n = (SINGLE, 1) if kind < 3 else (DOUBLE, 2) if kind < 7 else (TRIPLE, 3)
            self.lines.append((table[choices.below(len(table))], [self._operand(choices) for _ in range(n)]))
        self.repeats = choices.below(200) if choices.below(64) == 1 else 1  # deep
        self.outputs = [len(self.lines) - 1 - choices.below(min(len(self.lines), 3)) for _ in range(outputs)]

    def _operand(self, choices: Choices) -> object:
        if choices.below(4) == 0:
            return (CONSTANTS[choices.below(len(CONSTANTS))],)
        known = self.inputs + len(self.lines)
        return known - 1 - choices.below(min(known, 5)) if choices.below(3) else choices.below(known)

    def run(self, *inputs, after=lambda function, value, beside: value):
        values = list(inputs)
        for _ in range(max(self.repeats, 1)):
            for function, operands in self.lines:
                given = [operand[0] if isinstance(operand, tuple) else values[operand] for operand in operands]
                beside = given if function in BY_DIFFERENCES else ()
                values.append(after(function, _called(function, given), beside))
            last = values[len(values) - len(self.lines) :]
            values = [last[-1], *values[1 : self.inputs], *last]  # the next time over the result of this one
        return [last[place] for place in self.outputs]

    def has_huge_constant(self) -> bool:
        """Return whether a constant is huge or infinite: slopes on the way may be infinite then, which differences
        don't see."""
        constants = [operand[0] for _, operands in self.lines for operand in operands if isinstance(operand, tuple)]
        return any(isinstance(constant, float) and abs(constant) > 1e300 for constant in constants)

    def __str__(self) -> str:
        names = [getattr(function, "__name__", str(function)) for function, _ in self.lines]
        lines = [
            f"  {self.inputs + k} = {name} {line[1]}"
            for k, (name, line) in enumerate(zip(names, self.lines, strict=True))
        ]
        return "\n".join(
            [*lines, f"  outputs {self.outputs} of {self.inputs} inputs and the lines, {self.repeats} times"]
        )


def _called(function, given):
    """Return a function's value; what goes wrong in NumPy is no fault of the library."""
    if not any(hasattr(value, "dtype") for value in given):  # powers of Python's integers have no end
        given = [float(value) if isinstance(value, int) else value for value in given]
    try:
        value = function(*given)
    except Untraceable:
        raise
    except Exception as error:
        raise ValueError(f"{type(error).__name__}: {error}") from None
    if getattr(value, "dtype", None) == np.float16:
        raise ValueError("rounded so coarsely that nothing can be compared")
    return value


class Finding(Exception):
    """What should not be."""


def rounded(dtype, rng):
    """Return what rounds a result at random, by a few units in the last place, of it or of numbers `beside` it.

    log1p(exp(x)) is compiled as softplus(x), which stays finite where exp(x) overflows: so does log1p here.
    """
    share = 8 * np.finfo(dtype).eps
    most = np.log(np.finfo(dtype).max)

    def after(function, value, beside):
        if function is np.log1p:
            value = np.minimum(value, most).astype(value.dtype) if isinstance(value, np.ndarray) else value
        if isinstance(value, np.ndarray) and value.dtype.kind == "f":
            size = np.maximum.reduce([value, *(np.broadcast_to(np.abs(one), value.shape) for one in beside)])
            return (value + share * rng.uniform(-1, 1, value.shape) * size).astype(value.dtype)
        return value

    return after


def samples(compute, dtype):
    """Return what `compute(after)` gives, rounded at random, stacked; None where NumPy says that it is wrong."""
    rng = np.random.default_rng(0)
    found = []
    for k in range(SAMPLES):
        value = np.asarray(compute(rounded(dtype, rng) if k else lambda function, value, beside: value))
        if value.dtype.kind != "f":
            return None
        found.append(value)
    return np.stack(found)


def compare(what, got, expected, dtype, largest=0.0):
    """Raise a `Finding` where a result is none that NumPy might give; `largest` numbers may have cancelled in it."""
    with np.errstate(all="ignore"):
        expected = expected.astype(dtype)
        low, high = expected.min(axis=0), expected.max(axis=0)
        room = 8 * (high - low) + 256 * np.finfo(dtype).eps * np.maximum(np.maximum(np.abs(low), np.abs(high)), largest)
        room += np.finfo(dtype).tiny
        sure = np.isfinite(low) & np.isfinite(high) & (high - low <= 1e-2 * np.abs(expected[0]))
        wrong = sure & ~((low - room <= got) & (got <= high + room))
        wrong |= np.isnan(expected).all(axis=0) & np.isfinite(got)
    if wrong.any():
        place = tuple(np.argwhere(wrong)[0])
        raise Finding(f"{what} at {place}: {got[place]}, NumPy gives {expected[(slice(None), *place)].tolist()}")


def data(choices, dtype, *shape):
    scale = [1.0, 1e-3, 30.0, 1e3, 1e10, 0.0][choices.below(6)]
    return (scale * np.random.default_rng(choices.below(256)).normal(size=shape) + 0.0).astype(dtype)


def network(dtype, activation=None):
    """A network that gives its inputs, and then the activation of them."""
    net = fm.Sequential([Dense(UNITS, activation)], input_dim=UNITS, dtype=dtype, seed=0)
    net.parameters["0.kernel"] = np.eye(UNITS)
    return net


def activation(choices, dtype):
    code = Code(choices, 1, 1, 24)
    yield code

    class Fuzzed(fm.activations.Activation):
        def forward(self, z):
            return code.run(z)[0]

    z = data(choices, dtype, ROWS, UNITS)
    g = fm.activations.recorded(lambda z: code.run(z)[0]) if choices.below(2) else Fuzzed()
    net = network(dtype, g)
    outputs, backward = net.vjp(z)
    expected = samples(lambda after: code.run(z, after=after)[0], dtype)
    if expected is not None:
        compare("activation", outputs, np.broadcast_to(expected, (SAMPLES, *z.shape)), dtype)
    compare("predict", net.predict(z), np.stack([outputs] * 2), dtype)
    d_input = backward(np.ones_like(z))[1]
    if dtype == "float64" and np.isfinite(z).all() and np.abs(z).max() < 100 and not code.has_huge_constant():
        _check_slope(lambda z: code.run(z)[0], z, d_input)
    net.compile("adam", "mse")
    net.train_on_batch(z, np.zeros_like(z))


def _check_slope(function, z, slope):
    """Compare with differences, where several of them agree: there the function is smooth.

    Not where a step that is far smaller changes nothing: there it has stairs, whose differences may agree.
    """
    steps = [h * np.maximum(np.abs(z), 1) for h in (1e-4, 3e-5, 1e-5, 1e-9)]
    *found, stairs = ((np.asarray(function(z + h)) - np.asarray(function(z - h))) / (2 * h) for h in steps)
    found = np.stack(found)
    with np.errstate(all="ignore"):
        size = np.abs(found).max(axis=0)
        smooth = (
            np.isfinite(found).all(axis=0)
            & (np.ptp(found, axis=0) <= 1e-4 * size)
            & (size > 1e-3)
            & (size < 1e6)
            & (stairs != 0)
            & (z != 0)
        )
        wrong = smooth & ~(np.abs(slope - found[0]) <= 1e-2 * size)
    wrong &= smooth.all(axis=1, keepdims=True) | np.isfinite(slope)  # a NaN beside it spoils the whole row
    if wrong.any():
        place = tuple(np.argwhere(wrong)[0])
        raise Finding(
            f"derivative at {z[place]}: {slope[place]}, differences give {found[(slice(None), *place)].tolist()}"
        )


def loss(choices, dtype):
    code = Code(choices, 2, 2, 12)
    yield code

    class Fuzzed(fm.losses.Loss):
        def value_and_gradient(self, y_true, y_pred):
            value, slope = code.run(y_true, y_pred)
            return np.mean(value, axis=-1), slope / y_pred.shape[-1]

    x, y = data(choices, dtype, ROWS, UNITS), data(choices, dtype, ROWS, UNITS)
    net = network(dtype)
    net.compile(fm.optimizers.SGD(1e-3), Fuzzed())
    value, gradients = net.loss_and_gradients(x, y)
    both = samples(lambda after: np.stack(np.broadcast_arrays(*code.run(y, x, after=after))), dtype)
    if both is not None and both.shape[1:] == (2, ROWS, UNITS):
        wide = both.astype(np.float64)
        compare("loss", np.float64(value)[None], wide[:, 0].mean(axis=(1, 2))[:, None], dtype)
        sums = wide[:, 1].sum(axis=1) / (ROWS * UNITS)
        if (np.abs(sums) > 1e-3 * np.abs(wide[:, 1]).max()).all():  # else the sum cancels
            compare("gradient", gradients["0.bias"], sums, dtype)


def optimizer(choices, dtype):
    slots = choices.below(4)
    code = Code(choices, 4 + slots, 1 + slots, 12)
    yield code

    class Fuzzed(fm.optimizers.Optimizer):
        elementwise = True

        def init_state(self, param):
            return {f"s{k}": np.full_like(param, k) for k in range(slots)}

        def update(self, param, grad, state, learning_rate, step):
            change, *news = code.run(param, grad, learning_rate, step, *state.values())
            param -= change
            for array, new in zip(state.values(), news, strict=True):
                array[...] = new

    net = network(dtype)
    net.compile(Fuzzed(0.01), "mse")
    x, y = data(choices, dtype, ROWS, UNITS), data(choices, dtype, ROWS, UNITS)
    _, gradients = net.loss_and_gradients(x, y)
    before = {key: array.copy() for key, array in net.parameters.items()}
    try:
        net.train_on_batch(x, y)
    except fm.NonFiniteError:
        if any((net.parameters[key] != array).any() for key, array in before.items()):
            raise Finding("a refused step has changed parameters") from None
        raise
    for key, array in net.parameters.items():
        if not np.isfinite(array).all():
            raise Finding(f"{key} is not finite after a step")
        _check_update(code, slots, key, array, before[key], gradients[key], dtype)


def _check_update(code, slots, key, array, w, g, dtype):
    """Compare a parameter after the first step."""
    state = [np.full_like(w, k) for k in range(slots)]
    change = samples(lambda after: np.broadcast_to(code.run(w, g, 0.01, 1, *state, after=after)[0], w.shape), dtype)
    if change is not None:
        largest = np.maximum(np.abs(w), np.abs(change).max(axis=0))
        compare(f"update of {key}", array, w - change, dtype, largest)


KINDS = [activation, activation, loss, optimizer]


def one(given: bytes) -> None:
    """Run a case; a `Finding`, or any error that is not the library's own, goes through."""
    choices = Choices(given)
    dtype = ("float32", "float64")[choices.below(2)]
    case = KINDS[choices.below(len(KINDS))](choices, dtype)
    signal.alarm(MOST_SECONDS)
    code = None
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            code = next(case)
            next(case, None)
    except (ValueError, TypeError, NotImplementedError):
        pass  # the library's own, and NumPy's about the code itself
    except BaseException:
        print(f"finding in a case of {case.__name__}, {dtype}:\n{code}\npython fuzz/programs.py --case {given.hex()}")
        raise
    finally:
        signal.alarm(0)
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
    if used > MOST_MEMORY:
        raise Finding(f"{used >> 20} MB are in use")


def too_long(*_):
    raise Finding(f"it takes more than {MOST_SECONDS} s")


def randomly(seconds: float, seed: int) -> None:
    """Run cases of random bytes."""
    rng, end, cases = random.Random(seed), time.monotonic() + seconds, 0
    while time.monotonic() < end:
        one(rng.randbytes(rng.choice((12, 40, 120, 250))))
        cases += 1
    print(f"{cases} programs, {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10} MB: nothing found")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--case", help="bytes of one case, in hexadecimal")
    parser.add_argument("corpus", nargs="*", help="folder of cases, for atheris to begin with and to add to")
    arguments = parser.parse_args()
    signal.signal(signal.SIGALRM, too_long)
    if arguments.case is not None:
        one(bytes.fromhex(arguments.case))
        return
    if atheris is None:
        randomly(arguments.seconds, arguments.seed)
        return
    limits = [f"-max_total_time={int(arguments.seconds)}", f"-seed={arguments.seed + 1}", "-max_len=400"]
    atheris.Setup([sys.argv[0], *limits, *arguments.corpus], one)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
