"""Elementwise programs as the kernels run them, on every level: against NumPy, in pieces, in place, and refused."""

import struct

import numpy as np
import pytest

from fastmlp import _kernels
from fastmlp._tracing import assembly
from fastmlp._tracing.assembly import assemble
from fastmlp._tracing.graph import Graph
from fastmlp._tracing.operations import OPERATIONS

INF, NAN = np.inf, np.nan
SPECIAL = [0.0, -0.0, 1.0, -1.0, 0.5, 1.5, -2.5, 3.5, 1e-30, -1e-30, 50.0, -50.0, 1e4, -1e4, INF, -INF, NAN]
LANES = {"plain": 16, "x86-64-v2": 16, "x86-64-v3": 32, "x86-64-v4": 64}  # bytes of a vector
GUARD = 70
SMOOTH = ("add", "sub", "mul", "max", "min", "abs", "neg", "tanh", "sin", "cos", "sigmoid", "copysign", "arctan", "erf")


@pytest.fixture
def kernels(level, monkeypatch):
    """The module of a level; programs are loaded into it."""
    module = _kernels.load(level, "vm")
    monkeypatch.setattr(assembly, "Program", module.Program)
    return module


def guarded(n, dtype):
    whole = np.full(n + 2 * GUARD, 77, dtype)
    return whole, whole[GUARD : GUARD + n]


def run(program, inputs, outputs=1, scalars=()):
    """What a program writes, between guards."""
    n = len(inputs[0]) if inputs else 5
    wholes, outs = zip(*(guarded(n, inputs[0].dtype if inputs else np.float64) for _ in range(outputs)), strict=True)
    program.run(inputs, outs, scalars)
    assert all((whole[:GUARD] == 77).all() and (whole[GUARD + n :] == 77).all() for whole in wholes)
    return outs


def random_graph(seed, operations=12, outputs=2):
    """A graph of inputs x, y and u and the scalar s, in which no rounding grows much; and some of its nodes."""
    rng, graph = np.random.default_rng(seed), Graph()
    known = [graph.input(name) for name in "xyus"]
    nodes = list(known)
    for _ in range(operations):
        op = rng.choice([*SMOOTH, "fused", "select"])
        x, y, z = (nodes[k] for k in rng.integers(len(nodes), size=3))
        if op == "fused":
            new = graph.apply(rng.choice(["add", "sub"]), graph.apply("mul", x, y), z)
            new = graph.apply(rng.choice(["add", "sub"]), x, new)
        elif op == "select":
            test = graph.apply(rng.choice(["less", "at_least", "equal"]), *rng.choice(known, 2, replace=False))
            new = graph.apply("select", test, x, y)
        else:
            new = graph.apply(str(op), *(x, y)[: OPERATIONS[op][0]])
        nodes.append(graph.apply("tanh", new) if op in ("mul", "fused") else new)
        nodes.append(graph.apply("mul", nodes[-1], graph.constant(rng.choice([0.5, -0.75, 1.0]))))
    return graph, [int(at) for at in rng.choice(nodes, outputs, replace=False)]


def draw(n, dtype, names="xyu", seed=0):
    """Multiples of a quarter, so that some are equal."""
    rng = np.random.default_rng(seed)
    return {name: (rng.integers(-8, 9, n) / 4).astype(dtype) for name in names}


# Values


@pytest.mark.parametrize("op", sorted(OPERATIONS))
def test_each_operation(kernels, dtype, op):
    """At numbers of every size, infinities and NaN; operands are arrays, or the last is one number."""
    many, function = OPERATIONS[op]
    rng = np.random.default_rng(3)
    pool = np.array([*SPECIAL, *rng.normal(0, 3, 400), *rng.uniform(-40, 40, 100)], dtype)
    values = dict(zip("xyu", (pool, rng.permutation(pool), rng.permutation(pool)), strict=True))
    graph = Graph()
    for last in (None, 0.0, 1.5, -2.0, 0.5):
        names = "xyu"[: many - (last is not None)]
        nodes = [graph.input(name) for name in names] + ([] if last is None else [graph.constant(last)])
        if len(names) == 0:
            continue
        node = graph.apply(op, *nodes)
        (found,) = run(assemble(graph, [node], names).load(dtype), [values[name] for name in names])
        with np.errstate(all="ignore"):
            expected = function(*(values[name].astype(np.float64) for name in names), *() if last is None else (last,))
            expected = np.asarray(expected).astype(dtype)
            close = np.isclose(found, expected, 1e-5 if dtype == np.float32 else 1e-13, 1e-30, equal_nan=True)
        wrong = np.flatnonzero(~close)
        assert not len(wrong), (last, [values[name][wrong[0]] for name in names], found[wrong[0]], expected[wrong[0]])


@pytest.mark.parametrize("seed", range(25))
def test_random_programs(kernels, dtype, seed):
    graph, outputs = random_graph(seed)
    values = draw(300, dtype)
    program = assemble(graph, outputs, "xyu", "s").load(dtype)
    for s in (0.25, -1.0):
        *expected, _ = graph.evaluate(outputs, {**values, "s": s})
        for mine, theirs in zip(run(program, list(values.values()), 2, [s]), expected, strict=True):
            np.testing.assert_allclose(mine, np.broadcast_to(theirs, 300), 0, 2e-5 if dtype == np.float32 else 1e-13)


def test_numbers_round_to_integers_wherever_there_are_others(kernels, dtype):
    graph = Graph()
    program = assemble(graph, [graph.apply("round", graph.input("x"))], "x").load(dtype)
    large = 2.0 ** np.arange(-3, 60)
    x = np.concatenate([large + part for part in (0, 0.25, 0.5, 0.75, 1.5)]).astype(dtype)
    x = np.concatenate([x, -x])
    (found,) = run(program, [x])
    np.testing.assert_array_equal(found, np.rint(x))
    np.testing.assert_array_equal(np.signbit(found), np.signbit(x))


def test_what_comes_in_under_a_name_is_not_computed(kernels, dtype):
    """As the value of an activation does, on the way back."""
    graph = Graph()
    a = graph.apply("tanh", graph.input("z"))
    slope = graph.apply("mul", graph.derivative(a, graph.input("z")), graph.input("da"))
    program = assemble(graph, [slope], ["z", "a", "da"], given={a: "a"})
    assert "tanh" not in str(program)
    values = draw(40, dtype, ["z", "a", "da"])
    (found,) = run(program.load(dtype), list(values.values()))
    np.testing.assert_allclose(found, values["da"] * (1 - values["a"] ** 2), 1e-6)


def test_uniform_numbers_are_computed_once(kernels, dtype):
    """What depends on scalars alone is no pass over a block, and follows what each run is given."""
    graph = Graph()
    x, s, t = (graph.input(name) for name in "xst")
    scale = graph.apply("div", graph.apply("exp", s), graph.apply("add", graph.apply("sqrt", t), graph.constant(1)))
    program = assemble(graph, [graph.apply("mul", x, scale), scale], "x", "st")
    assert len(program.first) == 4
    assert {op for op, *_ in program.code} == {"mul", "copy"}
    x, loaded = draw(33, dtype)["x"], program.load(dtype)
    for s, t in ((0.5, 4.0), (-1.0, 0.25)):
        scaled, uniform = run(loaded, [x], 2, [s, t])
        np.testing.assert_allclose(scaled, x * (np.exp(s) / (np.sqrt(t) + 1)), 1e-6)
        np.testing.assert_allclose(uniform, np.exp(s) / (np.sqrt(t) + 1), 1e-6)


def test_operations_are_fused():
    """Products into sums, comparisons into choices; not a product that is needed for itself."""
    graph = Graph()
    x, y, u = (graph.input(name) for name in "xyu")
    product = graph.apply("mul", x, y)
    names = {"fma": ("add", product, u), "fms": ("sub", product, u), "fnma": ("sub", u, product)}
    for name, (op, *args) in names.items():
        node = graph.apply(op, *args)
        assert [op for op, *_ in assemble(graph, [node], "xyu").code] == [name]
        assert [op for op, *_ in assemble(graph, [product, node], "xyu").code] == ["mul", op, "copy"]
    for test in ("less", "at_least", "equal"):
        node = graph.apply("select", graph.apply(test, x, y), u, x)
        assert [op for op, *_ in assemble(graph, [node], "xyu").code] == [f"if_{test}"]


def test_outputs_that_need_no_operation(kernels):
    """A number, a scalar, an input, twice the same."""
    graph = Graph()
    x, s = graph.input("x"), graph.input("s")
    program = assemble(graph, [graph.constant(2.5), s, x, x], "x", "s").load(np.dtype("f8"))
    found = run(program, [np.arange(9.0)], 4, [3.0])
    assert [value[8] for value in found] == [2.5, 3.0, 8.0, 8.0]
    alone = assemble(graph, [graph.constant(2.5)], ()).load(np.dtype("f8"))
    assert run(alone, [])[0].tolist() == [2.5] * 5


# Pieces


def test_a_number_depends_on_its_place_alone(kernels, level, dtype, same_bits):
    """Of every size about a vector and a block, and wherever a run is cut, the bits are the same."""
    graph, outputs = random_graph(7, 20)
    program = assemble(graph, outputs, "xyu", "s").load(dtype)
    width = LANES[level] // dtype.itemsize
    values = list(draw(1000, dtype).values())
    expected = run(program, values, 2, [0.3])
    for n in (0, 1, width - 1, width, width + 1, 16 * width - 1, 16 * width, 16 * width + 1, 777, 1000):
        for start in sorted({0, 1, 1000 - n}):
            part = slice(start, start + n)
            for mine, whole in zip(run(program, [v[part] for v in values], 2, [0.3]), expected, strict=True):
                assert same_bits(mine, whole[part])


@pytest.mark.parametrize("n", [1, 5, 100, 1000])
def test_an_output_may_be_an_input(kernels, dtype, n, same_bits):
    """Of all pairs of one output and one input; also where an input goes out as it came, or two change places."""
    graph, outputs = random_graph(11)
    x, y = graph.input("x"), graph.input("y")
    for nodes in (outputs, [outputs[0], x], [x, outputs[0]], [y, x], [graph.apply("add", x, y), x], [x, x]):
        program = assemble(graph, nodes, "xyu", "s").load(dtype)
        values = draw(n, dtype)
        expected = run(program, list(values.values()), 2, [0.3])
        for first, second in ("xy", "yx", "xu", "ux", "yu"):
            mine = {name: value.copy() for name, value in values.items()}
            program.run(list(mine.values()), [mine[first], mine[second]], [0.3])
            assert same_bits(mine[first], expected[0]) and same_bits(mine[second], expected[1]), nodes


# Refused


def busy(count):
    """A graph that needs so many numbers again after it has had all of them."""
    graph = Graph()
    x = graph.input("x")
    parts = [graph.apply("sin", graph.apply("mul", x, graph.constant(k + 1.5))) for k in range(count)]
    for op in ("add", "max"):
        for part in parts:
            x = graph.apply(op, x, part)
    return assemble(graph, [x], ["x"])


def test_too_large_programs_are_refused(kernels, dtype):
    """Inputs, scalars, constants, outputs or registers beyond what there is room for; up to it, all goes well."""
    most, graph = kernels.LIMITS, Graph()
    x = graph.input("x")
    names = [f"n{k}" for k in range(most["uniforms"] + 1)]

    def constants(count):
        total = x
        for k in range(count):
            total = graph.apply("sin", graph.apply("mul", total, graph.constant(k + 1.5)))
        return assemble(graph, [total], ["x"])

    def programs(more):
        yield assemble(graph, [x], ["x", *names[: most["inputs"] - 1 + more]])
        yield assemble(graph, [x], ["x"], names[: most["uniforms"] + more])
        yield assemble(graph, [x] * (most["outputs"] + more), ["x"])
        yield constants(most["uniforms"] + more)
        yield busy(most["registers"] - 2 + 2 * more)

    z = np.linspace(-2, 2, 40, dtype=dtype)
    parts = np.sin(z.astype("f8") * (np.arange(most["registers"] - 2)[:, None] + 1.5))
    *_, largest = programs(0)
    (found,) = run(largest.load(dtype), [z])
    np.testing.assert_allclose(found, np.maximum(z + parts.sum(0), parts.max(0)), 1e-4, 1e-4)
    for good, wrong in zip(programs(0), programs(1), strict=True):
        good.load(dtype)
        with pytest.raises(ValueError, match=r"a program of .* inputs, .* uniforms, .* registers, .* outputs: beyond"):
            wrong.load(dtype)


def instructions(*rows):
    return b"".join(struct.pack("6i", *row, *[0] * (6 - len(row))) for row in rows)


def loaded(kernels, code, first=(), values=(1.0, 2.0), inputs=1, scalars=1, registers=1, outputs=1):
    """Slots: 0 an input, 1 a scalar, 2 a uniform, 3 a register, 4 an output."""
    return kernels.Program(
        instructions(*code), instructions(*first), np.array(values).tobytes(), inputs, scalars, registers, outputs, True
    )


def test_codes_and_slots_are_checked(kernels):
    add, exp, last = kernels.NAMES["add"], kernels.NAMES["exp"], max(kernels.NAMES.values())
    good = [(add, 3, 0, 2), (exp, 4, 3)]
    program = loaded(kernels, good, [(exp, 2, 1)])
    assert run(program, [np.zeros(3)], 1, [1.0])[0] == pytest.approx([np.exp(np.e)] * 3)
    for row in [(-1, 3, 0), (last + 1, 3, 0), (add, 5, 0, 0), (add, -1, 0, 0), (add, 3, 5, 0), (add, 3, 0, -1)]:
        with pytest.raises(ValueError, match="instruction 2: code or slot out of range"):
            loaded(kernels, [*good, row])
    for row in [(exp, 0, 3), (exp, 1, 3), (exp, 2, 3)]:  # writes what comes in
        with pytest.raises(ValueError, match="instruction 0: code or slot out of range"):
            loaded(kernels, [row])
    for row in [(exp, 2, 0), (add, 2, 1, 0), (exp, 1, 1), (exp, 3, 1), (exp, 2, 3)]:  # no number, or the scalar itself
        with pytest.raises(ValueError, match="instruction 0: code or slot out of range"):
            loaded(kernels, good, [row])


def test_programs_of_impossible_size_are_refused(kernels):
    good, one = [(kernels.NAMES["exp"], 4, 0)], np.zeros(1)
    sizes = [{"inputs": -1}, {"scalars": -1}, {"scalars": 3}, {"registers": -1}, {"outputs": 0}, {"values": [0.0] * 65}]
    for size in sizes:
        with pytest.raises(ValueError, match="a program of"):
            loaded(kernels, good, **size)
    with pytest.raises(ValueError, match="a program of"):
        loaded(kernels, [])
    with pytest.raises(ValueError, match="a program or a native function"):
        kernels.Extension()
    assert run(loaded(kernels, good), [one], 1, [0.0])[0] == 1


def test_arrays_are_checked(kernels):
    program = loaded(kernels, [(kernels.NAMES["exp"], 4, 0)])
    x, out = np.zeros(4), np.zeros(4)
    frozen = np.zeros(4)
    frozen.flags.writeable = False
    program.run([frozen], [out], [0.0])
    assert out.tolist() == [1] * 4
    for inputs, outputs, scalars in (([], [out], [0]), ([x, x], [out], [0]), ([x], [], [0]), ([x], [out], [])):
        with pytest.raises(ValueError, match="expected 1 inputs, 1 outputs and 1 scalars"):
            program.run(inputs, outputs, scalars)
    for inputs, outputs in (([x[:3]], [out]), ([x.astype("f4")], [out]), ([x], [np.zeros(4, "i8")])):
        with pytest.raises(ValueError, match="of different length, or of another dtype"):
            program.run(inputs, outputs, [0.0])
    with pytest.raises((ValueError, BufferError)):
        program.run([x], [frozen], [0.0])
    with pytest.raises((ValueError, BufferError)):
        program.run([np.zeros(8)[::2]], [out], [0.0])
    with pytest.raises(TypeError):
        program.run([x], [out], ["0"])
    assert out.tolist() == [1] * 4 and frozen.tolist() == [0] * 4
