"""The same seed gives the same bits: at any number of threads, in any layout of the data, step by step or by epochs;
and what else runs beside a network, threads of Python and forked processes, changes none of them."""

import os
import threading

import numpy as np
import pytest

import fastmlp as fm
from fastmlp import _kernels
from fastmlp.layers import Activation, BatchNorm, Dense, Dropout

SIZES = [  # widths, batch, rows; all but the third are work for eight threads: in GEMMs, and row by row in the fourth
    ((64, 256, 128, 10), 128, 300),
    ((200, 600, 300, 5), 300, 650),
    ((5, 9, 3), 7, 40),
    ((4, 3000, 3, 5), 300, 400),
]


@pytest.fixture(autouse=True)
def several_threads():
    """A team in every test that has work for one."""
    with fm.num_threads(3):
        yield


def network(widths, dtype="float32", seed=1, dropout=0.2):
    """Dense, batch norm, ReLU, dropout; softmax at the end; Adam."""
    layers = []
    for units in widths[1:-1]:
        layers += [Dense(units), BatchNorm(), Activation("relu"), Dropout(dropout)]
    net = fm.Sequential([*layers, Dense(widths[-1], "softmax")], input_dim=widths[0], dtype=dtype, seed=seed)
    net.compile("adam", "sparse_categorical_crossentropy", ["accuracy"])
    return net


def data(n, widths, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, widths[0])), rng.integers(0, widths[-1], n), rng.uniform(0.1, 2, n)


# Threads


def tasks():
    """Threads of this process, OpenMP's included; infinite where that is not to be seen."""
    folder = "/proc/self/task"
    return len(os.listdir(folder)) if os.path.isdir(folder) and fm.config()["openmp"] else float("inf")


@pytest.fixture(scope="module")
def trained(snapshot):
    """What a number of threads makes of a network, an epoch or two of it, and the calls beside training."""
    known = {}

    def run(size, dtype, threads):
        if (size, dtype, threads) not in known:
            widths, batch, n = SIZES[size]
            x, y, weight = data(n, widths)
            x = x.astype(dtype)
            net = network(widths, dtype)
            with fm.num_threads(threads):
                history = net.fit(x, y, epochs=2, batch_size=batch, sample_weight=weight, verbose=0).history
                running = [tasks()]
                logs = net.train_on_batch(x[:batch], y[:batch])
                running += [tasks()]
                loss, gradients = net.loss_and_gradients(x[:batch], y[:batch])
                running += [tasks()]
                outputs, backward = net.vjp(x[:batch], training=True)
                _, d_input = backward(outputs)
                results = {"predict": net.predict(x), "evaluate": net.evaluate(x, y), "vjp": outputs, "d": d_input}
            numbers = [history, logs, loss, results.pop("evaluate")]
            arrays = {**snapshot(net), **results, **{f"d {key}": gradient for key, gradient in gradients.items()}}
            known[size, dtype, threads] = arrays, numbers, max(running)
        return known[size, dtype, threads]

    return run


@pytest.mark.parametrize("size", range(len(SIZES)))
@pytest.mark.parametrize("threads", [2, 3, 5, 8])
def test_threads_change_no_bit(threads, size, dtype, trained, same_bits):
    """Parameters, running statistics, optimizer state, predictions, losses and gradients."""
    arrays, numbers, running = trained(size, dtype, threads)
    alone, alone_numbers, _ = trained(size, dtype, 1)
    for name, array in alone.items():
        assert same_bits(arrays[name], array), name
    assert numbers == alone_numbers
    assert size == 2 or running >= threads  # or the test would show nothing


def test_threads_change_no_bit_of_unfused_layers(dtype, snapshot, same_bits):
    """Layers that no GEMM takes in, each wide enough for several threads: first, between others, and last."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(300, 2500)).astype(dtype), rng.uniform(size=(300, 2500))
    results = []
    for threads in (1, 2, 5, 8, 5):
        first = [BatchNorm(), Activation("tanh"), Dropout(0.1), Activation("sin"), BatchNorm(), Dense(3)]
        middle = [Dense(2500), Dropout(0.1), Activation("softmax"), BatchNorm(), Dense(3)]
        net = fm.Sequential([*first, *middle, Dense(2500, "softmax")], input_dim=2500, dtype=dtype, seed=0)
        net.compile("sgd", "mse")
        with fm.num_threads(threads):
            logs = [net.train_on_batch(x, y) for _ in range(2)]
            outputs = {"predict": net.predict(x), "vjp": net.vjp(x)[0], "training": net.vjp(x, training=True)[0]}
        results.append((logs, {**snapshot(net), **outputs}))
    for logs, arrays in results[1:]:
        assert logs == results[0][0]
        for name, array in results[0][1].items():
            assert same_bits(arrays[name], array), name


@pytest.mark.parametrize("threads", [1, 4])
def test_training_is_repeatable(threads, snapshot, same_bits):
    """Made and trained twice; and another seed gives other bits."""
    widths, batch, n = SIZES[0]
    x, y, _ = data(n, widths)
    with fm.num_threads(threads):
        nets = [network(widths, seed=seed) for seed in (5, 5, 6)]
        for net in nets:
            net.fit(x, y, batch_size=batch, verbose=0)
    first, second, other = map(snapshot, nets)
    assert same_bits(first, second)
    assert not any(same_bits(first[key], other[key]) for key in first if key.endswith("kernel"))


# Rows of a prediction


def wide(dtype, activation):
    return fm.Sequential([Dense(2050, activation), Dense(130, "tanh"), Dense(3)], input_dim=1030, dtype=dtype, seed=0)


def normalized(dtype, activation):
    layers = [BatchNorm(), Dense(300), BatchNorm(), Activation(activation), Dense(65), BatchNorm(), Dense(7, "softmax")]
    net = fm.Sequential([*layers, Dropout(0.5)], input_dim=70, dtype=dtype, seed=0)
    net.compile("sgd", "mse")
    rng = np.random.default_rng(0)
    net.fit(rng.normal(size=(64, 70)), rng.normal(size=(64, 7)), verbose=0)
    return net


@pytest.mark.parametrize(
    ("make", "activation"), [(wide, "sigmoid"), *((normalized, name) for name in ("relu", "sigmoid", "sin", "tanh"))]
)
def test_a_row_of_predict_is_its_own(make, activation, dtype, same_bits):
    """``predict(x)[i]`` has the bits of ``predict(x[i:i+1])[0]``, whatever stands beside it, in whatever portions."""
    net = make(dtype, activation)
    x = np.random.default_rng(0).normal(size=(70, net.input_dim)).astype(dtype)
    whole = net.predict(x)
    for i in (0, 1, 31, 32, 33, 69):
        assert same_bits(net.predict(x[i : i + 1])[0], whole[i])
        others = np.concatenate([x[i : i + 1], 100 * x[:40]])
        assert same_bits(net.predict(others)[0], whole[i])
    for batch_size in (3, 33, 1000):
        assert same_bits(net.predict(x, batch_size=batch_size), whole)
    with fm.num_threads(7):
        assert same_bits(net.predict(x), whole)
    out = np.full_like(whole, np.nan)
    assert net.predict(x, out=out, batch_size=32) is out
    assert same_bits(out, whole)
    many = np.tile(x, (16, 1))  # more than predict takes at a time
    assert same_bits(net.predict(many), np.tile(whole, (16, 1)))


# Epochs, steps, batches


@pytest.mark.parametrize("size", [0, 2])
def test_ten_fits_are_one(size, dtype, snapshot, same_bits):
    """Ten ``fit(epochs=1)`` equal one ``fit(epochs=10)``: neither shuffling nor dropout starts anew."""
    widths, batch, n = SIZES[size]
    x, y, _ = data(n, widths)
    once, often = network(widths, dtype), network(widths, dtype)
    history = once.fit(x, y, epochs=10, batch_size=batch, verbose=0).history
    parts = [often.fit(x, y, epochs=1, batch_size=batch, verbose=0).history for _ in range(10)]
    assert same_bits(snapshot(once), snapshot(often))
    assert history == {name: [part[name][0] for part in parts] for name in history}


class Recorder(fm.activations.Activation):
    """The identity, which remembers the first column of what came through."""

    def __init__(self):
        self.batches = []

    def forward(self, z):
        self.batches.append(z[:, 0].astype(int))
        return z

    def derivative(self, z, a):
        return np.ones_like(z)


def batches_of(n, batch_size, epochs, seed):
    """The rows of each batch, in the order in which ``fit`` shows them: it depends on seed and epoch alone."""
    recorder = Recorder()
    net = fm.Sequential([Activation(recorder), Dense(1)], input_dim=1, seed=seed)
    net.compile(fm.optimizers.SGD(0.0), "mse")
    net.fit(np.arange(n)[:, None], np.zeros(n), epochs=epochs, batch_size=batch_size, verbose=0)
    return recorder.batches


class Watch(fm.callbacks.Callback):
    """Takes ``fit`` back to Python after every step."""

    def __init__(self):
        self.losses = []

    def on_train_batch_end(self, batch, logs=None):
        self.losses.append(logs["loss"])


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("size", [0, 2])
def test_fit_equals_train_on_batch(size, weighted, dtype, snapshot, same_bits):
    """Over the same rows: as one compiled epoch, with a callback after each step, from an iterable, and by hand."""
    widths, batch, n = SIZES[size]
    x, y, weight = data(n, widths)
    w = weight if weighted else None
    batches = batches_of(n, batch, 2, seed=1)
    assert [len(rows) for rows in batches] == 2 * [*([batch] * (n // batch)), n % batch]

    def parts():
        return [(x[rows], y[rows], *([weight[rows]] if weighted else [])) for rows in batches]

    whole, watched, streamed, by_hand = (network(widths, dtype) for _ in range(4))
    history = whole.fit(x, y, epochs=2, batch_size=batch, sample_weight=w, verbose=0).history
    watch = Watch()
    again = watched.fit(x, y, epochs=2, batch_size=batch, sample_weight=w, callbacks=[watch], verbose=0).history
    streamed.fit(parts(), verbose=0)
    losses = [by_hand.train_on_batch(*part)["loss"] for part in parts()]
    assert history == again
    masses = [weight[rows].astype(dtype).sum(dtype=float) if weighted else len(rows) for rows in batches]
    half = len(batches) // 2
    for epoch, part in enumerate((slice(0, half), slice(half, None))):
        means = np.cumsum(np.multiply(losses[part], masses[part])) / np.cumsum(masses[part])
        np.testing.assert_allclose(watch.losses[part], means, rtol=1e-12)
        assert history["loss"][epoch] == watch.losses[part][-1]
    for other in (watched, streamed, by_hand):
        assert same_bits(snapshot(whole), snapshot(other))


def test_capacity_changes_no_bit(dtype, snapshot, same_bits):
    """Larger batches in between, which make the executable anew, leave the rest as it is."""
    widths, *_ = SIZES[0]
    x, y, _ = data(200, widths)
    small, large = network(widths, dtype), network(widths, dtype)
    large.loss_and_gradients(x, y)
    large.evaluate(x, y, batch_size=200)
    for rows in (slice(0, 9), slice(9, 109), slice(109, 140)):
        small.train_on_batch(x[rows], y[rows])
        large.train_on_batch(x[rows], y[rows])
    assert same_bits(snapshot(small), snapshot(large))


def test_shuffling(snapshot, same_bits):
    """On by default, and it matters; off, every epoch goes in order."""
    widths, batch, n = SIZES[2]
    x, y, _ = data(n, widths)
    default, shuffled, in_order, by_hand = (network(widths) for _ in range(4))
    default.fit(x, y, epochs=2, batch_size=batch, verbose=0)
    shuffled.fit(x, y, epochs=2, batch_size=batch, shuffle=True, verbose=0)
    in_order.fit(x, y, epochs=2, batch_size=batch, shuffle=False, verbose=0)
    for _ in range(2):
        for at in range(0, n, batch):
            by_hand.train_on_batch(x[at : at + batch], y[at : at + batch])
    assert same_bits(snapshot(default), snapshot(shuffled))
    assert not same_bits(snapshot(shuffled), snapshot(in_order))
    assert same_bits(snapshot(in_order), snapshot(by_hand))


def test_shuffling_depends_on_seed_and_epoch():
    """The order is keyed by both."""
    orders = [np.concatenate(batches_of(30, 30, 1, seed)).tolist() for seed in (1, 1, 2, 2**63)]
    assert orders[0] == orders[1]
    assert orders[0] != orders[2] != orders[3]
    first, second = batches_of(30, 30, 2, seed=1)
    assert first.tolist() == orders[0] != second.tolist()


def test_seed_none_draws_one_and_keeps_it(snapshot, same_bits):
    """``net.seed`` then makes the network again."""
    widths, batch, n = SIZES[2]
    x, y, _ = data(n, widths)
    drawn, other = network(widths, seed=None), network(widths, seed=None)
    seed = drawn.seed
    again = network(widths, seed=seed)
    assert isinstance(seed, int)
    assert same_bits(snapshot(drawn), snapshot(again))
    for net in (drawn, again):
        net.fit(x, y, epochs=2, batch_size=batch, verbose=0)
    assert drawn.seed == seed != other.seed
    assert same_bits(snapshot(drawn), snapshot(again))


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_dropout_masks_are_keyed_by_seed_step_layer_and_element(rate, same_bits):
    """A unit is dropped with probability `rate`, else divided by 1 - rate; a mask is drawn anew for each of these, and
    is the same in the same place, whatever the batch."""
    n, units = 60, 70

    def masks(seed=1, steps=0, rows=n):
        net = fm.Sequential([Dropout(rate), Dense(units), Dropout(rate)], input_dim=units, seed=seed, dtype="float64")
        net.compile(fm.optimizers.SGD(0.0), "mse")
        ones = np.ones((rows, units))
        for _ in range(steps):
            net.train_on_batch(ones[:1], ones[:1])
        net.parameters["1.kernel"] = np.zeros((units, units))
        net.parameters["1.bias"] = np.ones(units)
        after, _ = net.vjp(ones, training=True)
        net.parameters["1.bias"] = np.zeros(units)
        net.parameters["1.kernel"] = np.eye(units)
        both, _ = net.vjp(ones, training=True)
        assert np.isin(after, [0, 1 / (1 - rate)]).all()
        return after > 0, both > 0

    after, both = masks()
    for other, _ in (masks(seed=2), masks(steps=1)):
        assert abs((other != after).mean() - 2 * rate * (1 - rate)) < 0.05
    assert same_bits(masks(rows=1)[0], after[:1])
    deviation = np.sqrt(rate * (1 - rate) / after.size)
    assert abs(after.mean() - (1 - rate)) < 5 * deviation
    assert abs(both.mean() - (1 - rate) ** 2) < 5 * deviation + 0.01  # independent of the layer before
    rows, columns = np.unique(after, axis=0), np.unique(after, axis=1)
    assert (len(rows), columns.shape[1]) == (n, units)


# Layout of the data


def unaligned(a):
    raw = np.zeros(a.nbytes + 1, np.uint8)
    view = raw[1:].view(a.dtype).reshape(a.shape)
    view[...] = a
    assert not view.flags.aligned
    return view


def read_only(a):
    a = a.copy()
    a.flags.writeable = False
    return a


def within(a):
    """In the middle of something larger."""
    larger = np.full((*(2 * n + 3 for n in a.shape),), 99, a.dtype)
    inner = larger[tuple(slice(2, 2 * n + 2, 2) for n in a.shape)]
    inner[...] = a
    return inner


def columns_of_more(a):
    """Rows of a longer stride, numbers beside each other."""
    larger = np.full((len(a), 2 * a.shape[-1] + 1), 99, a.dtype) if a.ndim > 1 else np.full(2 * len(a), 99, a.dtype)
    inner = larger[:, 1 : a.shape[1] + 1] if a.ndim > 1 else larger[1 : len(a) + 1]
    inner[...] = a
    return inner


def backwards(a):
    return np.ascontiguousarray(a[tuple(slice(None, None, -1) for _ in a.shape)])[
        tuple(slice(None, None, -1) for _ in a.shape)
    ]


LAYOUTS = {
    "F": np.asfortranarray,
    "strided": within,
    "longer rows": columns_of_more,
    "backwards": backwards,
    "rows backwards": lambda a: np.ascontiguousarray(a[::-1])[::-1],
    "read-only": read_only,
    "unaligned": unaligned,
    "broadcast": lambda a: np.broadcast_to(a[:1], a.shape),
    "lists": lambda a: a.tolist(),
    "int8": lambda a: a.astype(np.int8),
    "float16": lambda a: a.astype(np.float16),
    "bool": lambda a: a > 0,
    "uint64": lambda a: abs(a).astype(np.uint64),
    "big-endian float": lambda a: a.astype(">f8"),
    "big-endian int": lambda a: a.astype(">i4"),
    "float32": lambda a: a.astype(np.float32),
    "float64": lambda a: a.astype(np.float64),
    "longdouble": lambda a: a.astype(np.longdouble),
}


def everything(net, x, y, weight):
    """All that a network does with data."""
    batch = 16
    results = {"predict": net.predict(x), "by 7": net.predict(x, batch_size=7)}
    loss, gradients = net.loss_and_gradients(x, y, weight)
    outputs, backward = net.vjp(x)
    results |= {f"d {key}": gradient for key, gradient in gradients.items()}
    results |= {"vjp": outputs, "d_input": backward(outputs)[1]}
    history = net.fit(x, y, epochs=2, batch_size=batch, sample_weight=weight, validation_split=0.2, verbose=0).history
    logs = net.train_on_batch(x, y, weight)
    streamed = net.fit([(x, y, weight)], validation_data=(x, y, weight), verbose=0).history
    return results, [loss, history, logs, streamed, net.evaluate(x, y, sample_weight=weight)]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("rows_in", ["x", "y", "weight"])
def test_layout_changes_no_bit(layout, rows_in, dtype, snapshot, same_bits):
    """Any layout and dtype of inputs, targets and weights gives the bits of the plain array of the same numbers."""
    rng = np.random.default_rng(0)
    plain = {
        "x": rng.integers(-3, 4, (40, 13)).astype(dtype),
        "y": rng.integers(0, 2, (40, 3)).astype(dtype),
        "weight": rng.integers(1, 4, 40).astype(dtype),
    }
    given = LAYOUTS[layout](plain[rows_in])
    plain[rows_in] = np.ascontiguousarray(given, dtype)
    kept = np.array(given)
    found = []
    for arrays in (plain, {**plain, rows_in: given}):
        layers = [Dense(20), BatchNorm(), Activation("relu"), Dropout(0.1), Dense(3, "sigmoid")]
        net = fm.Sequential(layers, input_dim=13, dtype=dtype, seed=0)
        net.compile("adam", "binary_crossentropy", ["accuracy", "mse"])
        results, numbers = everything(net, arrays["x"], arrays["y"], arrays["weight"])
        found.append(({**results, **snapshot(net)}, numbers))
    assert found[0][1] == found[1][1]
    for name, array in found[0][0].items():
        assert same_bits(found[1][0][name], array), name
    np.testing.assert_array_equal(given, kept)  # nobody writes into the caller's data


@pytest.mark.parametrize("layout", sorted({*LAYOUTS} - {"unaligned"}))
def test_layout_of_labels(layout, same_bits):
    """Labels, in one column or none, in any integer dtype, or as whole numbers of another."""
    labels = np.random.default_rng(0).integers(0, 2, 40)
    x = np.random.default_rng(1).normal(size=(40, 5))
    given = LAYOUTS[layout](labels)
    results = []
    for y in (np.array(given).astype(np.int64), given, np.asarray(given)[:, None]):
        net = network((5, 6, 2))
        results.append((net.fit(x, y, epochs=2, verbose=0).history, net.predict(x)))
    for history, outputs in results[1:]:
        assert history == results[0][0]
        assert same_bits(outputs, results[0][1])


def test_memmap(tmp_path, same_bits):
    """Data on disk."""
    widths, batch, n = SIZES[2]
    x, y, _ = data(n, widths)
    stored = np.memmap(tmp_path / "x", np.float32, "w+", shape=x.shape)
    stored[...] = x
    results = []
    for inputs in (x.astype(np.float32), np.memmap(tmp_path / "x", np.float32, "r", shape=x.shape)):
        net = network(widths)
        net.fit(inputs, y, batch_size=batch, verbose=0)
        results.append(net.predict(inputs))
    assert same_bits(*results)


# Views


@pytest.mark.parametrize(
    "key", ["0.kernel", "0.bias", "1.gamma", "1.beta", "1.running_mean", "1.running_var", "4.kernel", "4.bias"]
)
def test_a_write_through_a_held_view_is_seen(key, same_bits, snapshot):
    """By the next predict and by the next step: no packed or folded copy outlives it."""
    widths, rows = (200, 130, 40), 64  # packed, folded
    x, y, _ = data(rows, widths)
    net, other = network(widths), network(widths)
    place, name = net.layers[int(key[0])], key[2:]
    views = {**net.parameters, **net.buffers}
    held, of_layer = views[key], {**place.parameters, **place.buffers}[name]
    for write in (held, of_layer):
        for _ in range(2):  # copies are made, if any are
            before = net.predict(x)
            net.evaluate(x, y)
            net.train_on_batch(x, y)
            other.train_on_batch(x, y)
        write += 0.25
        target = other.parameters if key in other.parameters else other.buffers
        target[key] = target[key] + np.float32(0.25)
        after = net.predict(x)
        assert not same_bits(after, before)
        fresh = network(widths)
        for source, mapping in ((net.parameters, fresh.parameters), (net.buffers, fresh.buffers)):
            for each, value in source.items():
                mapping[each] = value
        assert same_bits(after, fresh.predict(x))
        assert net.evaluate(x, y) == fresh.evaluate(x, y)
        net.train_on_batch(x, y)
        other.train_on_batch(x, y)
        assert same_bits(snapshot(net), snapshot(other))


def test_a_write_into_optimizer_state_is_seen(same_bits, snapshot):
    """As one into parameters."""
    widths, rows = (5, 9, 3), 40
    x, y, _ = data(rows, widths)
    net, other = network(widths), network(widths)
    held = net.optimizer_state["0.kernel"]["v"]
    for each in (net, other):
        each.train_on_batch(x, y)
    held[...] = 1.0
    other.optimizer_state["0.kernel"]["v"] = np.ones((5, 9))
    for each in (net, other):
        each.train_on_batch(x, y)
    assert held.min() > 0.9
    assert same_bits(snapshot(net), snapshot(other))


def test_views_stay_the_same_memory(same_bits):
    """Training writes into the views that were handed out; keys and arrays last as long as the network."""
    widths, batch, n = SIZES[2]
    x, y, _ = data(n, widths)
    net = network(widths)
    held = {**net.parameters, **net.buffers}
    before = {key: view.copy() for key, view in held.items()}
    net.fit(x, y, batch_size=batch, verbose=0)
    net.compile("sgd", "sparse_categorical_crossentropy")
    now = {**net.parameters, **net.buffers}
    assert same_bits(held, now)
    assert all(np.shares_memory(held[key], now[key]) for key in held)
    assert not any(same_bits(held[key], before[key]) for key in held)


# Threads of Python


def in_threads(*functions):
    """Runs them at once; what one raises is raised here."""
    errors = []

    def guarded(function):
        try:
            function()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=guarded, args=(function,)) for function in functions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    if errors:
        raise errors[0]


@pytest.mark.parametrize(("widths", "rows", "calls"), [((6, 17, 4), 3, 5000), ((100, 300, 10), 200, 100)])
def test_two_threads_predict_on_one_network(widths, rows, calls):
    """10,000 predictions, each with the right answer; and with teams of several threads each."""
    net = network(widths)
    xs = [np.random.default_rng(seed).normal(size=(rows, widths[0])).astype(np.float32) for seed in range(4)]
    right = [net.predict(x) for x in xs]

    def caller(which):
        def call():
            fm.set_num_threads(3)
            for i in range(calls):
                at = 2 * which + i % 2
                assert (net.predict(xs[at]) == right[at]).all()

        return call

    in_threads(caller(0), caller(1))


class Meddler(fm.activations.Activation):
    """The identity, which lets another thread of Python do something on the way forward."""

    def __init__(self):
        self.action = None
        self.outcome = None

    def forward(self, z):
        if self.action is not None:
            action, self.action = self.action, None
            try:
                in_threads(action)
                self.outcome = "done"
            except RuntimeError as error:
                self.outcome = str(error)
        return z

    def derivative(self, z, a):
        return np.ones_like(z)


@pytest.fixture
def impatient():
    """Nobody waits long for a step of another thread."""
    before = _kernels.concurrency.set_patience(0.05)
    yield
    _kernels.concurrency.set_patience(before)


@pytest.mark.parametrize("first", ["predict", "evaluate", "fit", "train_on_batch", "loss_and_gradients", "vjp"])
@pytest.mark.parametrize("second", ["fit", "train_on_batch", "apply_gradients", "compile", "predict", "vjp"])
@pytest.mark.usefixtures("impatient")
def test_changing_a_network_that_another_thread_uses(first, second, snapshot, same_bits):
    """A call that changes a network beside any other, or any beside one that changes it, is a RuntimeError; the one
    that came first goes on as if nothing had been. So is a reading call that waits for a step which waits for it."""
    meddler = Meddler()
    net = fm.Sequential([Dense(4, meddler), Dense(2)], input_dim=3, seed=0)
    net.compile("adam", "mse")
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(8, 3)), rng.normal(size=(8, 2))
    calls = {
        "predict": lambda: net.predict(x),
        "evaluate": lambda: net.evaluate(x, y),
        "vjp": lambda: net.vjp(x),
        "loss_and_gradients": lambda: net.loss_and_gradients(x, y),
        "fit": lambda: net.fit(x, y, verbose=0),
        "train_on_batch": lambda: net.train_on_batch(x, y),
        "apply_gradients": lambda: net.apply_gradients({key: 0 * value for key, value in net.parameters.items()}),
        "compile": lambda: net.compile("sgd", "mse"),
    }
    before = snapshot(net)
    meddler.action = calls[second]
    calls[first]()
    harmless = second in ("predict", "vjp") and first in ("predict", "vjp", "evaluate")
    if harmless:
        assert meddler.outcome == "done"
    elif second in ("predict", "vjp") and first == "fit":
        assert meddler.outcome is not None  # between two steps it is answered
    else:
        assert second in meddler.outcome
        assert "thread" in meddler.outcome
    if first in ("fit", "train_on_batch"):
        assert not same_bits(snapshot(net), before)
    else:
        assert same_bits(snapshot(net), before)
    for call in calls.values():  # all is free again
        call()


def test_the_guard_of_a_network():
    """Readers beside each other; a change beside nothing but itself, from one thread."""
    guard = fm.Sequential().engine.guard
    entered, leave = threading.Event(), threading.Event()

    def elsewhere(block):
        def hold():
            with block("elsewhere"):
                entered.set()
                leave.wait(60)

        thread = threading.Thread(target=hold)
        thread.start()
        assert entered.wait(60)
        return thread

    for block, reading_is_fine in ((guard.reading, True), (guard.changing, False)):
        entered.clear()
        leave.clear()
        thread = elsewhere(block)
        try:
            with pytest.raises(RuntimeError, match="here"), guard.changing("here"):
                pass
            if reading_is_fine:
                with guard.reading("here"):
                    pass
            else:
                with pytest.raises(RuntimeError, match="here"), guard.reading("here"):
                    pass
        finally:
            leave.set()
            thread.join(60)
    with guard.changing("one"), guard.changing("two"), guard.reading("three"):
        pass
    with pytest.raises(ZeroDivisionError), guard.changing("an error lets go"):
        raise ZeroDivisionError
    in_threads(lambda: guard.changing("elsewhere").__enter__())


# Processes

FORK = """
import multiprocessing, os, sys, warnings
import numpy as np
import fastmlp as fm

warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)  # Python from 3.12 on
threads = int(sys.argv[1])


def made():
    layers = [fm.layers.Dense(600, "relu"), fm.layers.BatchNorm(), fm.layers.Dropout(0.1)]
    net = fm.Sequential([*layers, fm.layers.Dense(5, "softmax")], input_dim=200, seed=0)
    net.compile("adam", "sparse_categorical_crossentropy")
    return net


def state(net):
    return b"".join(view.tobytes() for view in [*net.parameters.values(), *net.buffers.values()])


def work(net):
    net.fit(x, y, epochs=2, batch_size=100, verbose=0)
    return state(net), net.predict(x).tobytes()


def child(end, net):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        results = work(net)
        asked = fm.get_num_threads()
        fm.set_num_threads(4)
        net.predict(x)
    warned = [(warning.category.__name__, str(warning.message)) for warning in caught]
    end.send((results, asked, warned, len(os.listdir("/proc/self/task"))))


rng = np.random.default_rng(0)
x, y = rng.normal(size=(300, 200)).astype("float32"), rng.integers(0, 5, 300)
fm.set_num_threads(threads)
net = made()
work(net)
parent, end = multiprocessing.Pipe()
process = multiprocessing.get_context("fork").Process(target=child, args=(end, net))
process.start()
assert parent.poll(60), "the child hangs"
results, asked, caught, tasks = parent.recv()
process.join(60)
assert process.exitcode == 0
assert work(net) == results, "the child computes something else"
print(asked, tasks, caught)
"""


@pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="counts threads as Linux shows them")
@pytest.mark.parametrize("threads", ["4", "1"])
def test_fork(threads, run_python):
    """A child works, on one thread, with one warning and the same bits: whoever may have used OpenMP before."""
    asked, tasks, caught = run_python(FORK.replace("sys.argv[1]", threads)).split(" ", 2)
    assert (asked, tasks) == ("1", "1")
    assert caught.count("RuntimeWarning") == 1
    assert caught.count("Warning") == 1
    assert "fork" in caught
