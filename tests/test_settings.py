"""Settings made after a network is built hold from the next call on, in plans, files and copies, or are refused."""

import copy

import numpy as np
import pytest

import fastmlp as fm
from fastmlp import layers as L
from fastmlp.configurable import init_parameters

N, FEATURES, UNITS = 16, 5, 3
RNG = np.random.default_rng(21)
X = RNG.normal(size=(N, FEATURES)).astype("f4")
LABELS = RNG.integers(0, UNITS, N)
ROWS = np.eye(UNITS, dtype="f4")[LABELS]


# What each setting is given, by its name in `__init__`: what it isn't already, in every class that takes it. A tuple is
# a choice, of which the first that differs is taken.
VALUES = {
    "activation": ("tanh", "sigmoid"),
    "alpha": (0.3, 0.6),
    "amsgrad": (True, False),
    "anneal_strategy": ("linear",),
    "apply_class_balancing": (True,),
    "approximate": (True,),
    "at_zero": (0.5,),
    "average": ("micro",),
    "axis": (1, (0, 1)),
    "b": (1.5,),
    "beta": (0.7, 1.5),
    "beta_1": (0.5,),
    "beta_2": (0.6,),
    "beta_constraint": ("unit_norm",),
    "beta_regularizer": ("l2",),
    "bias_constraint": ("unit_norm",),
    "bias_initializer": ("ones",),
    "bias_regularizer": ("l1",),
    "bins": (4,),
    "boundaries": ([1],),
    "centered": (True, False),
    "chains": ([[], []],),
    "class_id": (1,),
    "clipnorm": (1e-3,),
    "clipvalue": (1e-3,),
    "columns": ({(0, 1): []},),
    "curve": ("PR",),
    "cycle": (True,),
    "decay_rate": (0.25,),
    "decay_steps": (3,),
    "delta": (0.1,),
    "distribution": ("uniform",),
    "div_factor": (4.0,),
    "ema_momentum": (0.5,),
    "ema_overwrite_frequency": (1,),
    "end_learning_rate": (0.05,),
    "epsilon": (0.1,),
    "factor": (0.5,),
    "final_div_factor": (10.0,),
    "first_decay_steps": (3,),
    "from_logits": (True, False),
    "full": (True,),
    "gain": (0.5,),
    "gamma": (1.5,),
    "gamma_constraint": ("unit_norm",),
    "gamma_regularizer": ("l1_l2",),
    "global_clipnorm": (1e-3,),
    "initial_accumulator_value": (0.5,),
    "initial_learning_rate": (0.25,),
    "k": (1,),
    "kernel_constraint": ("unit_norm",),
    "kernel_initializer": ("glorot_normal",),
    "kernel_regularizer": ("l2",),
    "kind": ("categorical",),
    "l1": (0.5,),
    "l2": (0.5,),
    "label_smoothing": (0.2,),
    "layers": ([{"name": "activation", "activation": "tanh"}],),
    "learning_rate": (0.5,),
    "lengths": ([2],),
    "levels": (0.3, 0.6),
    "m_mul": (0.5,),
    "max_learning_rate": (0.25,),
    "max_value": (0.5,),
    "maxval": (0.5,),
    "mean": (0.5,),
    "merge": ("add",),
    "min_value": (0.1,),
    "minval": (-0.5,),
    "mode": ("fan_out",),
    "momentum": (0.5, 0.4),
    "momentum_decay": (0.5,),
    "name": ("other",),
    "nesterov": (True,),
    "parameters": ({"b": 2.0},),
    "pct_start": (0.25,),
    "pos_weight": (2.0,),
    "power": (2.0,),
    "program": ([["input", "'z'"], ["tanh", 0]],),
    "rate": (0.5,),
    "remainder": ("passthrough",),
    "rho": (0.5,),
    "scale": (3.0,),
    "schedules": ([0.2, {"name": "constant", "value": 0.3}],),
    "staircase": (True,),
    "stddev": (2.0,),
    "t_mul": (1.0,),
    "three_phase": (True,),
    "threshold": (0.2,),
    "total_steps": (3,),
    "trainable": (False,),
    "units": (7,),
    "use_bias": (False,),
    "use_ema": (True,),
    "value": (0.25,),
    "values": ([0.3, 0.2],),
    "variance": (2.0,),
    "warmup_steps": (3,),
    "warmup_target": (0.3,),
    "weight_decay": (0.25, 0.5),
}
VALUES_OF = {(fm.regularizers.OrthogonalRegularizer, "mode"): ("columns",)}  # where a name means something else

RATES = {"initial_learning_rate": 0.1, "decay_steps": 2}
CONFIGS = {  # what objects are made of where the defaults don't do, or where more is to be seen
    ("activations", "prelu"): [{}, {"alpha": 0.25}],
    ("activations", "silu"): [{}, {"beta": fm.learned(1.0)}],
    ("activations", "recorded"): [
        {"program": [["input", "'z'"], ["input", "'b'"], ["mul", 0, 1]], "parameters": {"b": 1.5}}
    ],
    ("layers", "dense"): [{"units": 4, "activation": "relu"}, {"units": 4, "activation": "prelu"}],
    ("layers", "activation"): [{"activation": "relu"}, {"activation": "prelu"}],
    ("layers", "dropout"): [{"rate": 0.25}],
    ("layers", "columns"): [{"columns": {0: [{"name": "dense", "units": 2}]}, "remainder": "drop"}],
    ("layers", "parallel"): [{"chains": [[], [{"name": "dense", "units": 6}]]}],
    ("layers", "gaussian_noise"): [{"stddev": 0.25}],
    ("layers", "normalization"): [{"mean": 0.1, "variance": 0.5}],
    ("layers", "residual"): [{"layers": [{"name": "dense", "units": 6}]}],
    ("optimizers", "sgd"): [{}, {"momentum": 0.9}, {"weight_decay": 0.1}],
    ("optimizers", "rmsprop"): [{}, {"momentum": 0.9}, {"centered": True}],
    ("optimizers", "adam"): [{}, {"amsgrad": True}, {"weight_decay": 0.1}],
    ("optimizers", "adamw"): [{}, {"amsgrad": True}],
    ("losses", "categorical_crossentropy"): [{}, {"from_logits": True}],
    ("losses", "sparse_categorical_crossentropy"): [{}, {"from_logits": True}],
    ("losses", "binary_crossentropy"): [{}, {"from_logits": True}, {"pos_weight": 3.0}],
    ("losses", "binary_focal_crossentropy"): [{}, {"apply_class_balancing": False, "from_logits": True}],
    ("losses", "quantile"): [{}, {"levels": [0.1, 0.5, 0.9]}],
    ("metrics", "accuracy"): [{}, {"kind": "binary"}],
    ("schedules", "constant"): [{"value": 0.1}],
    ("schedules", "cosine_decay"): [RATES, {**RATES, "warmup_target": 0.2, "warmup_steps": 2}],
    ("schedules", "cosine_decay_restarts"): [{"initial_learning_rate": 0.1, "first_decay_steps": 2}],
    ("schedules", "coslog4"): [{"max_learning_rate": 0.1, "total_steps": 5}],
    ("schedules", "exponential_decay"): [{**RATES, "decay_rate": 0.5}],
    ("schedules", "flat_cos"): [RATES],
    ("schedules", "inverse_time_decay"): [{**RATES, "decay_rate": 0.5}],
    ("schedules", "linear"): [{**RATES, "end_learning_rate": 0.2}],
    ("schedules", "one_cycle"): [{"max_learning_rate": 0.1, "total_steps": 5}],
    ("schedules", "piecewise_constant_decay"): [{"boundaries": [0], "values": [0.1, 0.2]}],
    ("schedules", "polynomial_decay"): [RATES],
    ("schedules", "sequence"): [{"schedules": [0.1, 0.2], "lengths": [1]}],
    ("schedules", "step"): [RATES],
    ("metrics", "precision"): [{}, {"class_id": 0}, {"kind": "binary", "threshold": 0.6}],
    ("metrics", "top_k_categorical_accuracy"): [{"k": 2}],
    ("metrics", "sparse_top_k_categorical_accuracy"): [{"k": 2}],
}


def built_ins():
    """Give every built-in class of every kind once, with what its objects are made of."""
    for kind in fm.registry.KINDS:
        registry = getattr(fm.registry, kind)
        seen = set()
        for name in registry.builtins():
            cls = registry.resolve(name)
            if cls not in seen and cls is not L.Embedding:  # which can't be the third layer: see test_columns.py
                seen.add(cls)
                names = [one for one in registry.builtins() if registry.resolve(one) is cls]
                configs = [config for one in names for config in CONFIGS.get((kind, one), ())]
                for number, config in enumerate(configs or [{}]):
                    yield pytest.param(kind, cls, config, id=f"{kind}-{cls.__name__}-{number}")


BUILT_INS = list(built_ins())


def network(kind, obj, *, build=True):
    """A network that the object is a part of, and targets for it."""
    layers = [L.Dense(6, "tanh", kernel_regularizer="l2"), L.BatchNorm()]
    loss, metrics, last, optimizer, y, units = "mse", ["mae"], None, "adam", ROWS, UNITS
    if kind == "activations":
        layers.append(L.Dense(4, obj))
    elif kind == "layers":
        layers.append(obj)
    elif kind == "initializers":
        layers.append(L.Dense(4, kernel_initializer=obj))
    elif kind == "regularizers":
        bias = None if isinstance(obj, fm.regularizers.OrthogonalRegularizer) else obj  # it takes matrices alone
        layers.append(L.Dense(4, kernel_regularizer=obj, bias_regularizer=bias))
    elif kind == "optimizers":
        optimizer = obj
    elif kind == "constraints":
        layers.append(L.Dense(4, kernel_constraint=obj))
    elif kind == "schedules":
        optimizer = fm.optimizers.SGD(obj, momentum=obj)
    elif kind == "metrics":
        metrics = [obj]
        if type(obj).__name__.startswith("Sparse"):
            loss, last, y = "sparse_categorical_crossentropy", "softmax", LABELS
    elif kind == "losses":
        loss, metrics = obj, ["accuracy"]
        y = LABELS if loss.labels else ROWS
        if loss.probabilities:
            last = "sigmoid" if loss.accuracy == "binary" else "softmax"
        elif isinstance(loss, fm.losses.Poisson):
            last = "softplus"
        elif isinstance(loss, fm.losses.GammaDeviance):
            y = ROWS + 1
        elif isinstance(loss, fm.losses.GaussianNLL):
            units, metrics = 2 * UNITS, []
        elif isinstance(loss, fm.losses.Quantile) and isinstance(loss.levels, tuple):
            units, metrics = 3 * UNITS, []
    net = fm.Sequential([*layers, L.Dense(units, last)], input_dim=FEATURES if build else None, seed=4)
    net.compile(optimizer, loss, metrics)
    return net, y


def future(net, y):
    """What a network answers from now on: predictions, evaluations, gradients, two steps; or how it refuses."""
    calls = [net.predict, *(net.evaluate, net.loss_and_gradients, net.train_on_batch, net.train_on_batch, net.evaluate)]
    answers = []
    for call in [*calls, net.predict]:
        try:
            answers.append(call(X) if call == net.predict else call(X, y))
        except ValueError as error:
            answers.append(str(error))
    if not net.built:
        return answers
    return [*answers, net.predict(X[:1]), dict(net.parameters), dict(net.buffers), {**net.optimizer_state}]


def flat(value):
    """Bits of anything that a network answers."""
    if isinstance(value, (list, tuple)):
        return [flat(part) for part in value]
    if hasattr(value, "items"):
        return [(key, flat(part)) for key, part in value.items()]
    return value.tobytes() if isinstance(value, np.ndarray) else repr(value)


def another(obj, name):
    """A value that the setting does not have."""
    now = getattr(obj, name)
    for value in VALUES_OF.get((type(obj), name), VALUES.get(name)):
        if not np.array_equal(value, now) and getattr(now, "__class__", None).__name__.lower() != str(value):
            return copy.deepcopy(value)
    raise AssertionError(f"no other value for {name} of {obj!r}")


def settled(obj):
    return {name: repr(value) for name, value in obj.get_config().items()}


@pytest.mark.parametrize("when", ["before", "built", "after a step"])
@pytest.mark.parametrize(("kind", "cls", "config"), BUILT_INS)
def test_every_setting_holds_in_network_file_and_copy_or_is_refused(kind, cls, config, when, tmp_path):
    for name in init_parameters(cls):
        net, y = network(kind, cls(**copy.deepcopy(config)), build=when != "before")
        obj = find(net, kind)
        if when == "after a step":
            future(net, y)
        before, value = settled(obj), another(obj, name)
        try:
            setattr(obj, name, value)
        except AttributeError as error:
            assert name in str(error) and len(str(error)) > 40, "says why"
            assert settled(obj) == before
        else:
            assert settled(obj)[name] != before[name], name
        net.save(tmp_path / "net")
        others = [fm.load(tmp_path / "net"), copy.deepcopy(net)]
        expected = flat(future(net, y))
        for other in others:
            assert settled(find(other, kind)) == settled(obj)
            assert flat(future(other, y)) == expected, name


def find(net, kind):
    if kind == "layers":
        return net.layers[2]
    if kind in ("optimizers", "losses"):
        return getattr(net, kind.replace("losses", "loss").replace("optimizers", "optimizer"))
    if kind == "metrics":
        return net.metrics[0]
    if kind == "schedules":
        return net.optimizer.learning_rate
    return getattr(net.layers[2], {"activations": "activation"}.get(kind, f"kernel_{kind[:-1]}"))


def test_every_setting_has_another_value_here():
    """A new setting needs one in the table: else it would not be looked at."""
    taken = {name for param in BUILT_INS for name in init_parameters(param.values[1])}
    assert taken == set(VALUES)


# -- what is refused ---------------------------------------------------------------------------------------------------


def small():
    layers = [L.Dense(4, "relu", name="first"), L.BatchNorm(), L.Dropout(0.1), L.Dense(UNITS, "softmax")]
    net = fm.Sequential(layers, input_dim=FEATURES, seed=2)
    net.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return net


UNKNOWN = {  # of whom, which name, and which is meant
    "a layer": (lambda net: net.layers[0], "activaton", "activation"),
    "dropout": (lambda net: net.layers[2], "p", "rate"),
    "batch norm": (lambda net: net.layers[1], "eps", "epsilon"),
    "freezing": (lambda net: net.layers[0], "trainabel", "trainable"),
    "optimizer": (lambda net: net.optimizer, "lr", "learning_rate"),
    "optimizer of before": (lambda net: net.optimizer, "beta1", "beta_1"),
    "optimizer of torch": (lambda net: net.optimizer, "eps", "epsilon"),
    "activation": (lambda net: fm.activations.LeakyReLU(), "alhpa", "alpha"),
    "loss": (lambda net: net.loss, "from_logit", "from_logits"),
    "loss with a delta": (lambda net: fm.losses.Huber(), "detla", "delta"),
    "metric": (lambda net: net.metrics[0], "kinds", "kind"),
    "regularizer": (lambda net: fm.regularizers.L2(), "l22", "l2"),
    "initializer": (lambda net: fm.initializers.RandomNormal(), "stdev", "stddev"),
    "early stopping": (lambda net: fm.callbacks.EarlyStopping("loss"), "patiance", "patience"),
    "network": (lambda net: net, "stop_trainig", "stop_training"),
    "network, freezing": (lambda net: net, "trainables", "trainable"),
}


@pytest.mark.parametrize("case", UNKNOWN)
def test_attributes_that_are_not_there_are_refused(case, same_future):
    whose, name, meant = UNKNOWN[case]
    net, twin = small(), small()
    obj = whose(net)
    before = dict(vars(obj))
    with pytest.raises(AttributeError) as caught:
        setattr(obj, name, 0.5)
    assert repr(name) in str(caught.value)
    if case != "dropout":
        assert f"did you mean {meant!r}" in str(caught.value)
    assert meant in str(caught.value), "it lists what there is"
    assert vars(obj) == before and not hasattr(obj, name)
    same_future(net, twin)


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (fm.losses.MeanSquaredError, "recordable"),
        (fm.losses.Hinge, "accuracy"),
        (fm.activations.Sigmoid, "output"),
        (fm.activations.ReLU, "initializer"),
        (fm.activations.Tanh, "forward"),
        (fm.metrics.MeanSquaredError, "better"),
        (fm.initializers.HeNormal, "scale"),
        (fm.initializers.GlorotUniform, "distribution"),
        (fm.initializers.Ones, "value"),
        (fm.optimizers.Adam, "update"),
        (fm.optimizers.RMSprop, "elementwise"),
        (lambda: L.Dropout(0.1), "keeps_meaning"),
    ],
)
def test_what_belongs_to_a_class_can_not_be_set_on_an_object(make, name):
    """No file would keep it: a copy would be another network."""
    obj = make()
    with pytest.raises(AttributeError, match=f"{name} belongs to the class.*subclass"):
        setattr(obj, name, None)
    assert name not in vars(obj)


@pytest.mark.parametrize(
    ("whose", "name", "value", "error"),
    [
        (lambda net: net.layers[2], "rate", 1.0, ValueError),
        (lambda net: net.layers[2], "rate", "half", TypeError),
        (lambda net: net.layers[1], "epsilon", 0, ValueError),
        (lambda net: net.layers[1], "momentum", np.nan, ValueError),
        (lambda net: net.layers[0], "activation", "relux", fm.UnknownNameError),
        (lambda net: net.layers[0], "activation", np.tanh, TypeError),
        (lambda net: net.metrics[0], "kind", "binry", ValueError),
        (lambda net: fm.losses.Huber(), "delta", -1, ValueError),
        (lambda net: fm.activations.ReLU(), "at_zero", 0.3, ValueError),
        (lambda net: fm.activations.CELU(), "alpha", 0, ValueError),
        (lambda net: fm.regularizers.L1(), "l1", -0.1, ValueError),
        (lambda net: fm.initializers.RandomUniform(0.0, 1.0), "maxval", -1.0, ValueError),
        (lambda net: fm.activations.recorded(np.tanh), "program", [["exec", 0]], ValueError),
    ],
)
def test_what_init_would_refuse_is_refused_later_too(whose, name, value, error, same_future):
    net, twin = small(), small()
    obj = whose(net)
    before = dict(vars(obj))
    with pytest.raises(error):
        setattr(obj, name, value)
    assert vars(obj) == before
    same_future(net, twin)


def test_what_is_set_is_what_init_makes_of_it():
    """Names become objects, and what follows from a setting follows."""
    net = small()
    net.layers[0].activation = "tanh"
    assert net.layers[0].activation == fm.activations.Tanh()
    net.layers[0].trainable = 0
    assert net.layers[0].trainable is False
    recorded = fm.activations.recorded(lambda z, b=2.0: b * z)
    recorded.parameters = {"b": 3}
    assert recorded(np.array([1.0])) == 3
    recorded.program = [["input", "'z'"], ["tanh", 0]]
    assert recorded(np.array([1.0])) == np.tanh(1.0)
    random = fm.initializers.RandomUniform(0.0, 1.0)
    random.minval = 0.5
    assert random == fm.initializers.RandomUniform(0.5, 1.0)


FIXED = {
    "units": lambda net: setattr(net.layers[0], "units", 5),
    "use_bias": lambda net: setattr(net.layers[0], "use_bias", False),
    "name": lambda net: setattr(net.layers[1], "name", "norm"),
    "kernel_initializer": lambda net: setattr(net.layers[3], "kernel_initializer", "ones"),
    "gamma_regularizer": lambda net: setattr(net.layers[1], "gamma_regularizer", "l2"),
    "units of a layer that is told": lambda net: setattr(net.layers[2], "units", 2),
    "an activation that learns": lambda net: setattr(net.layers[0], "activation", "prelu"),
    "layers": lambda net: setattr(net, "layers", ()),
    "dtype": lambda net: setattr(net, "dtype", "float64"),
    "seed": lambda net: setattr(net, "seed", 3),
    "loss": lambda net: setattr(net, "loss", "mse"),
    "parameters": lambda net: setattr(net, "parameters", {}),
    "a setting that is deleted": lambda net: delattr(net.layers[2], "rate"),
}


@pytest.mark.parametrize("case", FIXED)
def test_what_can_not_be_changed_any_more_says_why(case, same_future):
    net, twin = small(), small()
    for one in (net, twin):
        one.train_on_batch(X, LABELS)
    with pytest.raises(AttributeError, match=r"can't be (changed|set|deleted)|that are learned") as caught:
        FIXED[case](net)
    assert "new network" in str(caught.value) or ("call" in str(caught.value)) or ("values" in str(caught.value))
    same_future(net, twin)


def test_settings_are_free_again_where_a_first_call_was_refused():
    net = fm.Sequential([L.Dense(3)], seed=0)
    net.compile("sgd", "mse")
    with pytest.raises(ValueError):
        net.train_on_batch(X, np.ones(N))
    net.layers[0].units = 1
    net.train_on_batch(X, np.ones(N))
    with pytest.raises(AttributeError):
        net.layers[0].units = 2


def test_what_layers_learn_of_an_activation_is_settled():
    prelu, half, snake = fm.activations.PReLU(), fm.activations.PReLU(0.5), fm.activations.SiLU(fm.learned(1.0))
    for activation, name, value in (
        (prelu, "alpha", 0.3),
        (half, "alpha", fm.learned(0.5)),
        (snake, "beta", fm.learned(2.0)),
        (prelu.alpha, "value", 0.5),
        (snake.beta, "per", "unit"),
    ):
        before = getattr(activation, name)
        with pytest.raises(AttributeError, match=name):
            setattr(activation, name, value)
        assert getattr(activation, name) is before
    half.alpha = 0.75
    assert half == fm.activations.PReLU(0.75)


@pytest.mark.parametrize(("first", "then"), [(0.0, 0.5), (0.5, 0.0), (0.0, lambda step: 0.5), (lambda step: 0.5, 0)])
def test_a_velocity_is_there_or_not_from_compile_on(first, then):
    """A file would have state that its network has no place for, or none where it needs some."""
    optimizer = fm.optimizers.SGD(momentum=first)
    optimizer.momentum, optimizer.momentum = then, first  # nothing has been made yet
    net = fm.Sequential([L.Dense(2)], input_dim=FEATURES)
    net.compile(optimizer, "mse")
    with pytest.raises(AttributeError, match=r"velocity.*compile"):
        net.optimizer.momentum = then
    assert net.optimizer.momentum == first


# -- what is free ------------------------------------------------------------------------------------------------------


def test_objects_of_ones_own_classes_may_have_what_they_like(tmp_path):
    class Net(fm.Sequential):
        pass

    class Wide(L.Dense):
        pass

    class Slow(fm.optimizers.SGD):
        pass

    class Leaky(fm.activations.LeakyReLU):
        pass

    class Squares(fm.losses.MeanSquaredError):
        pass

    class Share(fm.metrics.Accuracy):
        pass

    net = Net([Wide(3, Leaky())], input_dim=FEATURES)
    net.compile(Slow(), Squares(), [Share()])
    for obj in (net, net.layers[0], net.layers[0].activation, net.optimizer, net.loss, net.metrics[0]):
        obj.note = "mine"
        obj.note = "still mine"
        assert obj.note == "still mine"
        del obj.note
    with pytest.raises(AttributeError, match="units can't be changed"):
        net.layers[0].units = 4
    with pytest.raises(AttributeError, match="loss can't be set: call compile"):
        net.loss = "mse"


class Scaled(L.Layer):
    """A layer of somebody's own that is compiled, of settings that are no plain numbers."""

    def __init__(self, gate, chain=("relu", "tanh"), **options):
        super().__init__(**options)
        self.gate = fm.activations.get(gate)
        self.chain = chain

    def lower(self, to, x):
        for name in self.chain:
            x = to.op("activation", x, activation=fm.activations.get(name))
        return to.op("activation", x, activation=self.gate)


@pytest.mark.parametrize(
    "change",
    [
        lambda layer: setattr(layer, "chain", ("sin", "sigmoid")),
        lambda layer: setattr(layer, "gate", fm.activations.Cos()),
        lambda layer: setattr(layer.gate, "alpha", 0.7),
    ],
    ids=["tuple", "another activation", "a setting of it"],
)
def test_settings_of_compiled_layers_of_ones_own_hold_from_the_next_call(change, same_bits):
    def make():
        net = fm.Sequential([L.Dense(4), Scaled("leaky_relu", chain=("sin",))], input_dim=FEATURES, seed=3)
        net.compile("sgd", "mse")
        return net

    net, twin = make(), make()
    old = net.predict(X)
    net.train_on_batch(X, np.zeros((N, 4)))
    change(twin.layers[1])  # before anything has run
    twin.train_on_batch(X, np.zeros((N, 4)))
    net.parameters["0.kernel"], net.parameters["0.bias"] = (make().parameters[key] for key in ("0.kernel", "0.bias"))
    twin.parameters["0.kernel"], twin.parameters["0.bias"] = (make().parameters[key] for key in ("0.kernel", "0.bias"))
    change(net.layers[1])
    assert same_bits(net.predict(X), twin.predict(X)) and not same_bits(net.predict(X), old)
    assert net.train_on_batch(X, np.ones((N, 4))) == twin.train_on_batch(X, np.ones((N, 4)))


class Tower(L.Layer):
    """Stands for a dense layer of so many units."""

    def __init__(self, width, **options):
        super().__init__(**options)
        self.width = width
        self.calls = 0

    def compose(self, input_dim):
        return [L.Dense(self.width)]


def test_settings_of_a_layer_that_stands_for_others_are_fixed_once_they_are_built():
    net = fm.Sequential([Tower(2)], seed=0)
    net.layers[0].width = 3
    assert net.predict(X).shape == (N, 3)
    with pytest.raises(AttributeError, match="width can't be changed"):
        net.layers[0].width = 4
    net.layers[0].calls = 1  # what is no setting is its own affair
    net.layers[0].trainable = False


@pytest.mark.parametrize("which", ["parameters", "buffers"])
def test_arrays_that_are_assigned_to_a_layer_are_copied_in(which, tmp_path):
    """Not kept beside the network, which would go on with its own."""
    net, key = small(), "gamma" if which == "parameters" else "running_mean"
    before = net.predict(X)
    mine = np.linspace(0.5, 2, 4)
    getattr(net.layers[1], which)[key] = mine
    np.testing.assert_array_equal(getattr(net, which)[f"1.{key}"], mine.astype("f4"))
    net.save(tmp_path / "net")
    for other in (fm.load(tmp_path / "net"), copy.deepcopy(net)):
        np.testing.assert_array_equal(other.predict(X), net.predict(X))
    assert not np.array_equal(net.predict(X), before)
    with pytest.raises(ValueError, match="shape"):
        getattr(net.layers[1], which)[key] = mine[:2]


# -- freezing a network ------------------------------------------------------------------------------------------------


def test_a_network_that_is_not_trainable_has_layers_that_are_not(same, tmp_path):
    net, twin = small(), small()
    assert net.trainable
    net.trainable = False
    for layer in twin.layers:
        layer.trainable = False
    assert not net.trainable and not any(layer.trainable for layer in net.layers)
    before = {key: value.copy() for key, value in net.parameters.items()}
    net.save(tmp_path / "net")
    for one in (net, twin, fm.load(tmp_path / "net")):
        one.fit(X, LABELS, epochs=2, verbose=0)
        same(one, twin) if one is not net else None
        assert all(np.array_equal(one.parameters[key], value) for key, value in before.items())
    net.layers[0].trainable = True
    assert not net.trainable
    net.trainable = True
    net.train_on_batch(X, LABELS)
    assert not np.array_equal(net.parameters["3.kernel"], before["3.kernel"])


def test_a_file_of_what_does_not_go_together_predicts_and_refuses_to_train(tmp_path):
    """As the network does that it was saved from."""
    net = small()
    net.loss.from_logits = True
    net.save(tmp_path / "net")
    for other in (fm.load(tmp_path / "net"), copy.deepcopy(net), net):
        np.testing.assert_array_equal(other.predict(X), small().predict(X))
        for call in (other.train_on_batch, other.evaluate, other.fit):
            with pytest.raises(ValueError, match="from_logits=False"):
                call(X, LABELS)
        other.loss.from_logits = False
        assert other.train_on_batch(X, LABELS) == small().train_on_batch(X, LABELS)
