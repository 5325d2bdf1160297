"""Graphs of elementwise programs: what simplifying leaves of their values, their derivatives, their files."""

import json
import math

import numpy as np
import pytest

from fastmlp._tracing.assembly import assemble
from fastmlp._tracing.graph import Graph
from fastmlp._tracing.operations import LIMIT, OPERATIONS
from fastmlp._tracing.reading import read

SPECIAL = [0.0, -0.0, 1.0, -1.0, 0.5, -2.5, 3.5, 1e-30, -1e-30, 87.0, -87.0, 1e4, -1e4, np.inf, -np.inf, np.nan]
CORNERS = ("abs", "round", "copysign", "less", "at_least", "equal", "max", "min", "select")
POSITIVE = ("sqrt", "log", "log1p", "pow")


class Draw:
    """A random graph, and beside each node its value by NumPy, by no operation but those that were asked for."""

    def __init__(self, seed, size=64, inputs=("x", "y"), low=-2.0, high=2.0):
        self.rng, self.graph = np.random.default_rng(seed), Graph()
        self.values = {name: self.rng.uniform(low, high, size) for name in inputs}
        self.nodes = [(self.graph.input(name), value) for name, value in self.values.items()]
        self.inputs = list(self.nodes)

    def op(self, name, *pairs):
        with np.errstate(all="ignore"):
            value = np.asarray(OPERATIONS[name][1](*(value for _, value in pairs)), np.float64)
        return self.graph.apply(name, *(node for node, _ in pairs)), value

    def number(self, value=None):
        value = float(self.rng.choice([0, 1, -1, 2, 3, 0.5, -0.75, 1.5])) if value is None else value
        return self.graph.constant(value), np.float64(value)

    def any(self):
        return self.nodes[self.rng.integers(len(self.nodes))]

    def moves(self):
        """Operations, and what the graph makes something else of."""
        x, y, u, c, op = self.any(), self.any(), self.any(), self.number(), self.op
        known, one = self.inputs[self.rng.integers(len(self.inputs))], self.number(1)
        test = op(self.rng.choice(["less", "at_least"]), known, self.number())
        exp = op("exp", x)
        yield lambda: op(self.rng.choice(["add", "sub", "mul"]), x, y)
        yield lambda: op(self.rng.choice(["add", "sub", "mul"]), *((x, c) if self.rng.integers(2) else (c, x)))
        yield lambda: op("add", op("mul", x, y), u)
        yield lambda: op("sub", u, op("mul", x, y))
        yield lambda: op("mul", op("mul", x, c), self.number())
        yield lambda: op("neg", op("neg", x) if self.rng.integers(2) else op("mul", x, c))
        yield lambda: op("add", x, op("neg", y))
        yield lambda: op("div", x, self.number(self.rng.choice([3.0, -0.1, 7.0])))
        yield lambda: op("div", x, op("add", one, exp))
        yield lambda: op("div", u, op("add", op("mul", y, y), one))
        yield lambda: op("log", op("add", exp, one))
        yield lambda: op("log1p", exp)
        yield lambda: op("pow", x, self.number(self.rng.choice([0, 1, 2, 3, 4, 5, 6, 8])))
        yield lambda: op("pow", exp, self.number(self.rng.choice([-1, 0.5, 1.5])))
        yield lambda: op("select", test, x, y)
        yield lambda: op("select", op("sub", one, test), x, y)
        yield lambda: op("select", test, op("select", test, x, y), op("select", test, y, u))
        yield lambda: op(self.rng.choice(["max", "min", "copysign"]), known, self.number())
        yield lambda: op(self.rng.choice(["tanh", "sigmoid", "sin", "cos", "erf", "arctan", "softplus"]), x)

    def grow(self, many, smooth=False):
        """Adds so many nodes; values stay small, or a rounding on the way could grow without bound."""
        for _ in range(many):
            moves = list(self.moves())
            moves = moves[:14] + moves[18:] if smooth else moves
            node, value = moves[self.rng.integers(len(moves))]()
            if not np.all(np.abs(value) < 2):
                node, value = self.op("tanh", (node, value))
            self.nodes.append((node, value))
        return self


def close(found, expected, tolerance):
    np.testing.assert_allclose(np.broadcast_to(found, expected.shape), expected, tolerance, tolerance)


# Graphs


@pytest.mark.parametrize("seed", range(60))
def test_simplified_graphs_have_the_same_value(seed):
    draw = Draw(seed).grow(40)
    nodes, expected = zip(*draw.nodes, strict=True)
    *found, _ = draw.graph.evaluate(list(nodes), draw.values)
    for mine, theirs in zip(found, expected, strict=True):
        close(mine, np.broadcast_to(theirs, 64), 1e-9)


def rules(op, c, x):
    """Expressions of x that have a simpler form."""
    for number in (0.0, -0.0, 1.0, -1.0, 2.0, 3.0, 1e-20, 1e20, 1e300):
        for name in ("add", "sub", "mul", "div", "max", "min", "less", "equal"):
            yield op(name, x, c(number))
            yield op(name, c(number), x)
        yield op("mul", op("mul", x, c(number)), c(1e20))
        yield op("neg", op("mul", x, c(number)))
        yield op("sub", op("neg", x), op("neg", c(number)))
    for number in (0.0, -1.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 2.5, -2.0):
        yield op("pow", x, c(number))
    yield op("pow", op("abs", x), c(0.5))
    yield op("neg", op("neg", x))
    yield op("add", x, op("neg", x))
    yield op("div", x, op("add", c(1.0), op("exp", x)))
    yield op("select", op("sub", c(1.0), op("less", x, c(0.0))), x, c(2.0))
    yield op("select", x, c(1.0), c(2.0))
    yield op("select", op("less", x, c(0.0)), op("select", op("less", x, c(0.0)), x, c(3.0)), c(4.0))


def test_rules_hold_for_every_number():
    """Infinities, NaN and zeros of both signs included, where nothing overflowed on the way."""
    draw, x = Draw(0), np.array(SPECIAL)
    mine = list(rules(draw.op, draw.number, (draw.graph.input("z"), x)))
    *found, _ = draw.graph.evaluate([node for node, _ in mine], {"z": x})
    for value, (node, expected) in zip(found, mine, strict=True):
        np.testing.assert_allclose(np.broadcast_to(value, x.shape), np.broadcast_to(expected, x.shape), 1e-14), node


def test_products_of_constants_stay_in_the_range_of_float32():
    graph = Graph()
    x = graph.input("x")
    y = graph.apply("mul", graph.apply("mul", x, graph.constant(1e-25)), graph.constant(1e-25))
    assert graph.evaluate([y], {"x": 1e30}, np.float32)[0] == pytest.approx(1e-20)


def test_softplus_does_not_overflow():
    """log(1 + exp(x)) and log1p(exp(x)) are what they are where exp(x) is not."""
    graph = Graph()
    exp = graph.apply("exp", graph.input("x"))
    nodes = [graph.apply("log1p", exp), graph.apply("log", graph.apply("add", graph.constant(1), exp))]
    for value in graph.evaluate(nodes, {"x": [1e5, -1e5, 0.0, np.nan]})[:2]:
        np.testing.assert_allclose(value, [1e5, 0.0, math.log(2), np.nan])


def test_equal_operations_are_one():
    graph = Graph()
    x, y = graph.input("x"), graph.input("y")
    assert graph.apply("add", x, y) == graph.apply("add", y, x)
    assert graph.constant(0.0) != graph.constant(-0.0)
    assert graph.apply("sin", x) == graph.apply("sin", x)
    assert graph.constant(math.nan) == graph.constant(float("nan"))
    assert [node.op for node in graph.nodes] == ["input", "input", "add", "const", "const", "sin", "const"]


def test_the_largest_magnitude_leaves_constants_out():
    graph = Graph()
    z = graph.input("z")
    bounded = graph.apply("min", graph.apply("mul", z, z), graph.constant(1e30))
    assert graph.evaluate([bounded], {"z": [3.0, -1.0]})[1].tolist() == [9.0, 1.0]


# Derivatives


def differences(graph, node, values, by, h=1e-3):
    """The derivative by differences of fourth order."""
    ahead, behind, far, back = (graph.evaluate([node], {**values, by: values[by] + k * h})[0] for k in (1, -1, 2, -2))
    return (8 * (ahead - behind) - (far - back)) / (12 * h)


@pytest.mark.parametrize("op", sorted(OPERATIONS))
def test_derivative_of_each_operation(op):
    """By each operand, at places away from corners."""
    graph, rng = Graph(), np.random.default_rng(1)
    names = ["x", "y", "u"][: OPERATIONS[op][0]]
    values = {name: rng.uniform(0.3, 2, 50) * (1 if op in POSITIVE else rng.choice([-1, 1], 50)) for name in names}
    if op in CORNERS:
        apart = abs(np.subtract(*(values[name] for name in names[:2]))) if len(names) > 1 else values["x"] % 1 - 0.5
        values = {name: value[np.abs(apart) > 0.02] for name, value in values.items()}
    node = graph.apply(op, *map(graph.input, names))
    for name in names:
        slope = graph.derivative(node, graph.input(name))
        found = np.broadcast_to(graph.evaluate([slope], values)[0], values[name].shape)
        np.testing.assert_allclose(found, differences(graph, node, values, name), 1e-8, 1e-8)


@pytest.mark.parametrize("seed", range(40))
def test_derivative_of_random_graphs(seed):
    draw = Draw(seed).grow(12, smooth=True)
    node = draw.nodes[-1][0]
    for name in draw.values:
        slope = draw.graph.derivative(node, draw.graph.input(name))
        found = np.broadcast_to(draw.graph.evaluate([slope], draw.values)[0], 64)
        expected = differences(draw.graph, node, draw.values, name, 1e-4)
        np.testing.assert_allclose(found, expected, 1e-6, 1e-6 * (1 + np.abs(expected).max()))


def test_derivative_at_corners():
    """Of a maximum or minimum the first operand's, of an absolute value that above zero, whatever the sign of zero."""
    graph = Graph()
    x, zero = graph.input("x"), graph.constant(0)
    cases = {("max", x, zero): 1, ("max", zero, x): 0, ("min", x, zero): 1, ("min", zero, x): 0, ("abs", x): 1}
    for case, expected in cases.items():
        slope = graph.derivative(graph.apply(*case), x)
        assert np.broadcast_to(graph.evaluate([slope], {"x": [0.0, -0.0]})[0], 2).tolist() == [expected] * 2, case


def test_derivative_of_what_does_not_depend():
    graph = Graph()
    x, y = graph.input("x"), graph.input("y")
    for node in (y, graph.constant(3), graph.apply("less", x, y), graph.apply("round", x)):
        assert graph.number(graph.derivative(node, x)) == 0


def test_a_slope_that_is_not_taken_spoils_nothing():
    """The derivative of log below zero is NaN, that of a root at zero infinite: it shows where it is chosen alone."""
    graph = Graph()
    x, zero = graph.input("x"), graph.constant(0)
    node = graph.apply("select", graph.apply("less", zero, x), graph.apply("log", x), x)
    root = graph.apply("mul", graph.apply("sqrt", graph.apply("max", x, zero)), graph.constant(3))
    *found, _ = graph.evaluate([graph.derivative(node, x), graph.derivative(root, x)], {"x": [-1.0, 0.0, 4.0]})
    assert [value.tolist() for value in found] == [[1, 1, 0.25], [0, np.inf, 0.75]]


# Files


@pytest.mark.parametrize("seed", range(20))
def test_graphs_come_back_from_json(seed):
    draw = Draw(seed).grow(40)
    draw.graph.derivative(draw.nodes[-1][0], draw.inputs[0][0])
    draw.graph.constant(math.nan), draw.graph.constant(-0.0), draw.graph.constant(-math.inf)
    twin = Graph()
    read(twin, json.loads(json.dumps(draw.graph.to_list())))
    assert str(twin) == str(draw.graph)
    assert twin.to_list() == draw.graph.to_list()


def deep(depth):
    nested = []
    for _ in range(depth):
        nested = [nested]
    return nested


Z = ["input", "'z'"]
REFUSED = {
    "a million operations": ([Z] * 10**6, "at most 1000 operations, got 1000000"),
    "no list": ({"0": Z}, "list of at most 1000 operations, got dict"),
    "no program": (None, "got NoneType"),
    "an operation out of range": ([Z, ["exp", 1]], "earlier operations, got \\[1\\]"),
    "a negative one": ([Z, ["exp", -1]], "earlier operations, got \\[-1\\]"),
    "itself": ([["neg", 0]], "operation 0: operands must be earlier"),
    "a forward reference": ([Z, ["add", 0, 2], ["exp", 1]], "operation 1: operands must be earlier"),
    "a cycle": ([["exp", 1], ["log", 0]], "operation 0: operands must be earlier"),
    "a huge number": ([Z, ["exp", 10**5000]], "operation 1: operands must be earlier operations, got \\[int\\]"),
    "a truth value": ([Z, ["exp", False]], "got \\[False\\]"),
    "a fraction": ([Z, ["exp", 0.0]], "got \\[0.0\\]"),
    "an unknown name": ([Z, ["os.system", 0]], "operation 1: no operation 'os.system' of 1 operands"),
    "a dunder": ([Z, ["__class__", 0]], "no operation '__class__'"),
    "too few operands": ([Z, ["add", 0]], "no operation 'add' of 1 operands"),
    "too many": ([Z, ["exp", *[0] * 10**6]], "no operation 'exp' of 1000000 operands"),
    "no name": ([[]], "operation 0: expected \\[name, operands...\\], got \\[\\]"),
    "a name of another type": ([[["exp"], 0]], "expected \\[name, operands...\\], got a list of 2"),
    "text": (["exp"], "expected \\[name, operands...\\], got 'exp'"),
    "long text": (["e" * 10**7], "expected \\[name, operands...\\], got '" + "e" * 40 + "'$"),
    "a long name": ([["e" * 10**7, 0]], "no operation '" + "e" * 40 + "' of"),
    "something deep": (deep(10**5), "operation 0"),
    "something deep inside": ([Z, ["exp", deep(10**5)]], "operation 1"),
    "a deep number": ([["const", deep(10**5)]], "expected one number as text, got a list of 1"),
    "a number that is none": ([["const", "1 + 1"]], "expected one number as text, got \\['1 \\+ 1'\\]"),
    "a number as a number": ([["const", 1.0]], "expected one number as text, got \\[1.0\\]"),
    "a long number": ([["const", "1" * 100]], "expected one number"),
    "no number": ([["const"]], "expected one number as text, got \\[\\]"),
    "two numbers": ([["const", "1", "2"]], "expected one number"),
    "a name with code": ([["input", "'__import__(\"os\")'"]], "expected one name as text"),
    "an empty name": ([["input", "''"]], "expected one name as text, got"),
    "a name that is a number": ([["input", 3]], "expected one name as text, got \\[3\\]"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_files_are_refused(case):
    nodes, message = REFUSED[case]
    with pytest.raises(ValueError, match=f"^a program.*{message}") as caught:
        read(Graph(), nodes)
    assert len(str(caught.value)) < 200


def test_graphs_are_bounded():
    graph = Graph()
    x = graph.input("x")
    with pytest.raises(ValueError, match=f"more than {LIMIT} operations"):
        for _ in range(LIMIT):
            x = graph.apply("sin", x)
    assert len(graph.nodes) == LIMIT


def test_a_program_needs_all_that_it_reads():
    graph = Graph()
    with pytest.raises(ValueError, match="'beta' is neither an input nor a scalar"):
        assemble(graph, [graph.apply("mul", graph.input("z"), graph.input("beta"))], ["z"])
