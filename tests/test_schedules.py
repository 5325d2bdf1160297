"""Schedules: each against values worked by hand, in networks, files and copies, as a configuration, refused."""

import copy
import math
import pickle

import numpy as np
import pytest

import fastmlp as fm
from fastmlp import schedules as S

HALF = math.sqrt(0.5)  # cos(pi / 4)

# A schedule, and its values at steps, which count from 1: where Keras has it, what it gives at the step before.
BY_HAND = [
    (S.ConstantSchedule(0.25), {1: 0.25, 1000: 0.25}),
    (S.StepDecay(0.8, 3, 0.5), {1: 0.8, 3: 0.8, 4: 0.4, 6: 0.4, 7: 0.2}),
    (S.StepDecay(0.8, 2.5, 0.5), {3: 0.8, 4: 0.4, 5: 0.4, 6: 0.2}),
    (S.PiecewiseConstantDecay([2, 4.5], [1.0, 0.5, 0.1]), {1: 1.0, 3: 1.0, 4: 0.5, 5: 0.5, 6: 0.1, 99: 0.1}),
    (S.ExponentialDecay(1.0, 2, 0.25), {1: 1.0, 2: 0.5, 3: 0.25, 4: 0.125, 5: 0.0625}),
    (S.ExponentialDecay(1.0, 2, 0.25, staircase=True), {1: 1.0, 2: 1.0, 3: 0.25, 4: 0.25, 5: 0.0625}),
    (S.InverseTimeDecay(1.0, 2, 3.0), {1: 1.0, 2: 1 / 2.5, 3: 1 / 4, 5: 1 / 7}),
    (S.InverseTimeDecay(1.0, 2, 3.0, staircase=True), {1: 1.0, 2: 1.0, 3: 1 / 4, 4: 1 / 4, 5: 1 / 7}),
    (S.PolynomialDecay(1.0, 4, 0.5), {1: 1.0, 2: 0.875, 3: 0.75, 5: 0.5, 9: 0.5}),
    (S.PolynomialDecay(1.0, 4, 0.0, power=2.0), {1: 1.0, 2: 0.5625, 3: 0.25, 4: 0.0625, 5: 0.0}),
    (S.PolynomialDecay(1.0, 4, 0.0, cycle=True), {1: 1.0, 5: 0.0, 6: 0.375, 9: 0.0, 10: 0.25}),
    (S.Linear(0.0, 0.4, 4), {1: 0.0, 2: 0.1, 4: 0.3, 5: 0.4, 50: 0.4}),
    (S.Linear(0.4, 0.0, 4), {1: 0.4, 3: 0.2, 5: 0.0}),
    (S.CosineDecay(2.0, 4), {1: 2.0, 2: 1 + HALF, 3: 1.0, 4: 1 - HALF, 5: 0.0, 100: 0.0}),
    (S.CosineDecay(2.0, 4, alpha=0.5), {1: 2.0, 3: 1.5, 5: 1.0, 6: 1.0}),
    (S.CosineDecay(0.0, 4, warmup_target=2.0, warmup_steps=2), {1: 0.0, 2: 1.0, 3: 2.0, 5: 1.0, 7: 0.0, 8: 0.0}),
    (S.CosineDecay(1.0, 2, alpha=0.25, warmup_target=2.0), {1: 2.0, 2: 1.25, 3: 0.5}),  # warmup_steps=0
    # periods of 2, 4 and 8 steps
    (S.CosineDecayRestarts(2.0, 2), {1: 2.0, 2: 1.0, 3: 2.0, 4: 1 + HALF, 5: 1.0, 6: 1 - HALF, 7: 2.0, 11: 1.0}),
    (S.CosineDecayRestarts(2.0, 2, m_mul=0.5, alpha=0.5), {1: 2.0, 2: 1.5, 3: 1.5, 5: 1.25, 7: 1.25}),
    (S.CosineDecayRestarts(2.0, 4, t_mul=1.0), {1: 2.0, 3: 1.0, 5: 2.0, 7: 1.0, 9: 2.0}),
    (S.OneCycle(1.0, 11, pct_start=0.5, anneal_strategy="linear", div_factor=10), {1: 0.1, 4: 0.7, 11: 1e-5, 99: 1e-5}),
    (
        S.OneCycle(1.0, 10, pct_start=0.5, div_factor=4, final_div_factor=25),
        {1: 0.25, 3: 0.625, 5: 1.0, 10: 0.01, 11: 0.01},
    ),
    (
        S.OneCycle(1.0, 11, 4 / 11, "linear", 10, 10, three_phase=True),
        {1: 0.1, 2: 0.4, 4: 1.0, 5: 0.7, 7: 0.1, 9: 0.055, 11: 0.01},
    ),
    (
        S.Sequence([S.Linear(0.0, 1.0, 2), 0.5, S.StepDecay(0.4, 1, 0.5)], [2, 1]),
        {1: 0.0, 2: 0.5, 3: 0.5, 4: 0.4, 5: 0.2},
    ),
    # log2(1 + 15 s) is 0, 1, 2, 3, 4 at s = 0, 1/15, 3/15, 7/15, 1, and k + 1/2 between two of them
    (S.CosLog4(3.0, 15), {1: 0.0, 2: 0.0, 4: 0.0, 8: 0.0, 16: 0.0, 99: 0.0}),
    (S.CosLog4(3.0, 15 / (math.sqrt(2) - 1)), {2: 3.0}),
    (S.CosLog4(3.0, 60), {2: 1.5 * (1 - math.cos(2 * math.pi * math.log2(1.25)))}),
    (S.FlatCos(2.0, 8), {1: 2.0, 5: 2.0, 6: 1 + HALF, 7: 1.0, 8: 1 - HALF, 9: 0.0, 10: 0.0}),
]


@pytest.mark.parametrize(("schedule", "values"), BY_HAND, ids=lambda value: repr(value) if callable(value) else "")
def test_values_worked_by_hand(schedule, values):
    for step, value in values.items():
        assert schedule(step) == pytest.approx(value, rel=1e-12, abs=1e-12), step


def test_every_schedule_is_here():
    assert {type(schedule) for schedule, _ in BY_HAND} == {
        fm.registry.schedules.resolve(name) for name in fm.registry.schedules.builtins()
    }


# Keras's own formulas, from its sources (keras/src/optimizers/schedules/learning_rate_schedule.py, 3.x), in NumPy, by
# the steps that it counts, from 0 on.


def keras_polynomial(t, initial, steps, end, power, cycle):
    if cycle:
        steps = steps * (1.0 if t == 0 else np.ceil(t / steps))
    else:
        t = min(t, steps)
    return (initial - end) * (1 - t / steps) ** power + end


def keras_cosine(t, initial, steps, alpha, target, warmup):
    def decay(t, top):
        return top * ((1 - alpha) * 0.5 * (1 + np.cos(np.pi * t / steps)) + alpha)

    if target is None:
        return decay(min(t, steps), initial)
    t = min(t, steps + warmup)
    return (target - initial) * t / warmup + initial if t < warmup else decay(t - warmup, target)


def keras_restarts(t, initial, first, t_mul, m_mul, alpha):
    done = t / first
    if t_mul == 1:
        number = np.floor(done)
        done -= number
    else:
        number = np.floor(np.log(1 - done * (1 - t_mul)) / np.log(t_mul))
        done = (done - (1 - t_mul**number) / (1 - t_mul)) / t_mul**number
    return initial * ((1 - alpha) * 0.5 * m_mul**number * (1 + np.cos(np.pi * done)) + alpha)


def test_kerass_formulas_one_step_later():
    rng = np.random.default_rng(1)
    for _ in range(200):
        a, b, c = rng.uniform(0.1, 1.0, 3).tolist()
        n, m, power = int(rng.integers(1, 40)), int(rng.integers(1, 9)), float(rng.uniform(0.5, 3))
        cycle, target = bool(rng.integers(2)), (b if rng.integers(2) else None)
        t_mul = float(rng.choice([1.0, 1.5, 2.0]))
        t = int(rng.integers(0, 100))
        pairs = [
            (S.PolynomialDecay(a, n, b, power, cycle), keras_polynomial(t, a, n, b, power, cycle)),
            (S.CosineDecay(a, n, c, target, m), keras_cosine(t, a, n, c, target, m)),
            (S.CosineDecayRestarts(a, n + 0.37, t_mul, b, c), keras_restarts(t, a, n + 0.37, t_mul, b, c)),
            (S.ExponentialDecay(a, n, b), a * b ** (t / n)),
            (S.ExponentialDecay(a, n, b, True), a * b ** np.floor(t / n)),
            (S.InverseTimeDecay(a, n, b), a / (1 + b * t / n)),
            (S.InverseTimeDecay(a, n, b, True), a / (1 + b * np.floor(t / n))),
        ]
        for schedule, expected in pairs:
            assert schedule(t + 1) == pytest.approx(expected, rel=1e-9, abs=1e-12), (schedule, t)


@pytest.mark.parametrize("t_mul", [1.0, 1.0 + 1e-9, 1.1, 2.0, 3.0, 10.0])
def test_each_period_begins_at_its_first_step(t_mul):
    """Where the logarithms are rounded, too: 5 periods of 3, 9, 27, ... steps end where the sixth begins."""
    first = 1 << 12
    schedule = S.CosineDecayRestarts(1.0, first, t_mul, m_mul=0.5)
    begins = 0.0
    for number in range(6):
        step = math.ceil(round(begins, 6)) + 1
        assert schedule(step) == pytest.approx(0.5**number, rel=1e-5)
        assert number == 0 or schedule(step - 1) < 1e-3 * 0.5**number
        begins += first * t_mul**number


@pytest.mark.parametrize("schedule", [schedule for schedule, _ in BY_HAND], ids=repr)
def test_they_are_pure_and_never_negative_however_far(schedule):
    steps = [1, 2, 3, 7, 100, 10**6, 10**12]
    first = [schedule(step) for step in steps]
    assert [schedule(step) for step in reversed(steps)] == first[::-1]
    assert all(type(value) is float and math.isfinite(value) and value >= 0 for value in first)
    assert schedule(np.int64(3)) == schedule(3)
    for step in (0, -1):
        with pytest.raises(ValueError, match="count from 1"):
            schedule(step)


# -- configuration -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("schedule", [schedule for schedule, _ in BY_HAND], ids=repr)
def test_configuration_text_and_copies(schedule):
    names = {name: getattr(S, name) for name in S.__all__}
    twins = [type(schedule).from_config(schedule.get_config()), eval(repr(schedule), names)]
    name = fm.registry.schedules.identify(schedule)
    twins += [S.get({"name": name, **schedule.get_config()}), S.get(name, **schedule.get_config())]
    twins += [copy.deepcopy(schedule), pickle.loads(pickle.dumps(schedule))]
    for twin in twins:
        assert twin == schedule and repr(twin) == repr(schedule)
        assert [twin(step) for step in range(1, 20)] == [schedule(step) for step in range(1, 20)]


def test_whole_steps_stay_whole_in_the_text():
    assert repr(S.CosineDecay(0.1, 1000)) == "CosineDecay(initial_learning_rate=0.1, decay_steps=1000)"
    assert repr(fm.optimizers.SGD(S.ConstantSchedule(1))) == "SGD(learning_rate=ConstantSchedule(value=1.0))"
    assert S.CosineDecay(0.1, 12.5).decay_steps == 12.5
    assert S.CosineDecay(0.1, np.int64(7)).decay_steps == 7


def test_the_configuration_of_one_in_the_place_of_a_number():
    config = {"name": "cosine_decay", "initial_learning_rate": 0.1, "decay_steps": 4}
    adam = fm.optimizers.Adam(config, epsilon={"name": "constant", "value": 0.5})
    assert adam.learning_rate == S.CosineDecay(0.1, 4)
    assert adam.hyperparameters_at(1, ["epsilon", "learning_rate"]) == [0.5, 0.1]
    assert config["name"] == "cosine_decay"
    adam.learning_rate = {"name": "step", "initial_learning_rate": 1.0, "decay_steps": 1}
    assert adam.learning_rate_at(2) == 0.1
    net = network({"name": "sgd", "learning_rate": config})
    assert net.optimizer.learning_rate == S.CosineDecay(0.1, 4)
    before = adam.learning_rate
    with pytest.raises(fm.UnknownNameError, match="cosine_decay"):
        adam.learning_rate = {"name": "cosine_decai"}
    with pytest.raises(TypeError, match="initial_learning_rate"):
        adam.learning_rate = S.CosineDecay
    assert adam.learning_rate is before


WRONG = [
    (lambda: S.ConstantSchedule(-1), ValueError, "value"),
    (lambda: S.ConstantSchedule("fast"), TypeError, "value"),
    (lambda: S.CosineDecay(math.nan, 5), ValueError, "initial_learning_rate"),
    (lambda: S.CosineDecay(0.1, 0), ValueError, "decay_steps"),
    (lambda: S.CosineDecay(0.1, -0.5), ValueError, "decay_steps"),
    (lambda: S.CosineDecay(0.1, math.inf), ValueError, "decay_steps"),
    (lambda: S.CosineDecay(0.1, True), TypeError, "decay_steps"),
    (lambda: S.CosineDecay(0.1, 5, warmup_target=0.1, warmup_steps=-1), ValueError, "warmup_steps"),
    (lambda: S.CosineDecayRestarts(0.1, 5, t_mul=0.5), ValueError, "t_mul"),
    (lambda: S.ExponentialDecay(0.1, 5, -0.5), ValueError, "decay_rate"),
    (lambda: S.PolynomialDecay(0.1, 5, power=-1), ValueError, "power"),
    (lambda: S.OneCycle(0.1, 1), ValueError, "total_steps"),
    (lambda: S.OneCycle(0.1, 10, pct_start=1.5), ValueError, "pct_start"),
    (lambda: S.OneCycle(0.1, 10, pct_start=0.6, three_phase=True), ValueError, "pct_start"),
    (lambda: S.OneCycle(0.1, 10, anneal_strategy="sin"), ValueError, "anneal_strategy"),
    (lambda: S.PiecewiseConstantDecay([1, 1], [1, 2, 3]), ValueError, "boundaries"),
    (lambda: S.PiecewiseConstantDecay([1], [1, 2, 3]), ValueError, "one more than boundaries"),
    (lambda: S.PiecewiseConstantDecay(1, [1, 2]), TypeError, "boundaries"),
    (lambda: S.Sequence([0.1, 0.2], []), ValueError, "lengths"),
    (lambda: S.Sequence([], []), ValueError, "schedules"),
    (lambda: S.Sequence([0.1, 0.2], [0]), ValueError, "lengths"),
    (lambda: S.Sequence(["linear", 0.2], [1]), TypeError, "schedules"),
]


@pytest.mark.parametrize(("make", "error", "word"), WRONG)
def test_what_makes_no_sense_is_refused(make, error, word):
    with pytest.raises(error, match=word):
        make()


def test_a_setting_is_checked_when_it_is_set():
    schedule = S.CosineDecay(0.1, 10)
    with pytest.raises(ValueError, match="decay_steps"):
        schedule.decay_steps = -1
    with pytest.raises(AttributeError, match="decay_steps"):
        schedule.decay_step = 5
    assert schedule == S.CosineDecay(0.1, 10)


# -- in networks -------------------------------------------------------------------------------------------------------

RNG = np.random.default_rng(3)
X, Y = RNG.normal(size=(40, 5)).astype("f4"), RNG.normal(size=(40, 2)).astype("f4")


class Own(fm.optimizers.Optimizer):
    """Runs in NumPy."""

    hyperparameters = ("learning_rate", "drag")

    def __init__(self, learning_rate=0.1, drag=0.0):
        super().__init__(learning_rate)
        self.drag = drag

    def update(self, param, grad, state, learning_rate, step):
        param -= learning_rate * (grad + self.drag * param)


MADE = {  # compiled, traced, in NumPy: from a schedule of the learning rate and one of another hyper-parameter
    "sgd": lambda rate, other: fm.optimizers.SGD(rate, momentum=other),
    "adam": lambda rate, other: fm.optimizers.Adam(rate, epsilon=other),
    "rmsprop": lambda rate, other: fm.optimizers.RMSprop(rate, epsilon=other),
    "own": lambda rate, other: Own(rate, drag=other),
}


def network(optimizer, seed=2):
    net = fm.Sequential([fm.layers.Dense(8, "tanh"), fm.layers.Dense(2)], input_dim=5, seed=seed)
    net.compile(optimizer, "mse")
    return net


@pytest.mark.parametrize("name", MADE)
def test_a_network_trains_by_it_as_by_rates_set_by_hand(name, contents):
    rate, other = S.CosineDecay(0.1, 6, warmup_target=0.2, warmup_steps=2), S.Linear(0.0, 0.4, 5)
    net, twin = network(MADE[name](rate, other)), network(MADE[name](0.1, lambda step: other(step)))
    net.fit(X, Y, epochs=2, batch_size=8, verbose=0, shuffle=False)
    for step in range(10):
        twin.optimizer.learning_rate = rate(step + 1)
        at = step % 5 * 8
        twin.train_on_batch(X[at : at + 8], Y[at : at + 8])
    assert contents(net) == contents(twin)


def test_what_is_set_on_a_schedule_holds_from_the_next_step_on(contents):
    schedule = S.Linear(0.1, 0.2, 4)
    net, twin = network(fm.optimizers.SGD(schedule)), network(fm.optimizers.SGD(0.1))
    net.train_on_batch(X, Y)
    twin.train_on_batch(X, Y)
    schedule.end_learning_rate = 0.5
    twin.optimizer.learning_rate = 0.2  # a quarter of the way
    net.train_on_batch(X, Y)
    twin.train_on_batch(X, Y)
    assert contents(net) == contents(twin)


@pytest.mark.parametrize("name", [name for name in MADE if name != "own"])
def test_files_and_copies_go_on_along_the_schedule(name, tmp_path, contents):
    rate = S.Sequence([S.Linear(0.0, 0.2, 3), S.CosineDecayRestarts(0.2, 4)], [3])
    net = network(MADE[name](rate, S.FlatCos(0.3, 9)))
    net.fit(X, Y, batch_size=16, verbose=0)
    net.save(tmp_path / "net")
    others = [fm.load(tmp_path / "net"), copy.deepcopy(net), pickle.loads(pickle.dumps(net))]
    net.fit(X, Y, batch_size=16, epochs=2, verbose=0)
    for other in others:
        assert other.optimizer == net.optimizer and other.optimizer.learning_rate is not rate
        other.fit(X, Y, batch_size=16, epochs=2, verbose=0)
        assert contents(other) == contents(net)


def falling(step):
    return 0.1 / step


def test_a_plain_function_works_in_copies_and_saving_says_what_to_do(tmp_path, contents):
    nets = [network(fm.optimizers.Adam(falling)), network(fm.optimizers.Adam(lambda step: 0.1 / step))]
    nets += [copy.deepcopy(nets[1]), pickle.loads(pickle.dumps(nets[0]))]
    for net in nets:
        net.fit(X, Y, batch_size=16, verbose=0)
        assert contents(net) == contents(nets[0])
        with pytest.raises(TypeError, match=r"Adam\.learning_rate = .*fm\.registry\.schedules\.register"):
            net.save(tmp_path / "net")
    assert not list(tmp_path.iterdir())
    nested = network(fm.optimizers.SGD(S.Sequence([falling, 0.1], [4])))
    with pytest.raises(TypeError, match=r"Sequence\.schedules = <function falling"):
        nested.save(tmp_path / "net")


class Root(S.Schedule):
    def __init__(self, initial_learning_rate=0.1):
        self.initial_learning_rate = initial_learning_rate

    def __call__(self, step):
        return self.initial_learning_rate / step**0.5


def test_one_of_ones_own_is_saved_once_it_is_registered(register, tmp_path, contents):
    net = network(fm.optimizers.SGD(Root(0.2)))
    with pytest.raises(fm.UnknownNameError, match="register"):
        net.save(tmp_path / "net")
    register("schedules", "root", Root)
    net.save(tmp_path / "net")
    other = fm.load(tmp_path / "net")
    assert other.optimizer.learning_rate == Root(0.2)
    for each in (net, other):
        each.train_on_batch(X, Y)
    assert contents(net) == contents(other)


class Bare(S.Schedule):
    pass


def test_one_without_a_call_says_what_to_write():
    with pytest.raises(NotImplementedError, match=r"Bare has no __call__\(self, step\)"):
        Bare()(1)


def test_a_value_beyond_all_numbers_is_refused_with_its_name(contents):
    net = network(fm.optimizers.SGD(S.ExponentialDecay(0.1, 1e-3, 1e9)))
    net.train_on_batch(X, Y)
    before = contents(net)
    with pytest.raises(ValueError, match=r"learning_rate of SGD at step 2, given by ExponentialDecay\(.*inf"):
        net.train_on_batch(X, Y)
    assert contents(net) == before
