"""The public interface: names, `Sequential`, training and its parts, plugins in Python, copies, threads."""

import contextlib
import copy
import inspect
import io
import pickle
import re
import threading

import numpy as np
import pytest

import fastmlp as fm

L = fm.layers
N, FEATURES, CLASSES, BATCH = 48, 6, 4, 16
RNG = np.random.default_rng(9)
X = RNG.normal(size=(N, FEATURES)).astype("f4")
LABELS = RNG.integers(0, CLASSES, N)
ROWS = RNG.normal(size=(N, CLASSES)).astype("f4")
HOT = np.eye(CLASSES, dtype="f4")[LABELS]
YES = (RNG.random((N, CLASSES)) < 0.5).astype("f4")
WEIGHT = RNG.uniform(0.5, 2, N)


def network(*layers, optimizer="sgd", loss="mse", metrics=(), seed=3, **kwargs):
    net = fm.Sequential(layers, input_dim=FEATURES, seed=seed, **kwargs)
    net.compile(optimizer, loss, metrics)
    return net


def classifier(optimizer="adam", **kwargs):
    layers = [L.Dense(8), L.BatchNorm(), L.Activation("relu"), L.Dropout(0.25), L.Dense(CLASSES, "softmax")]
    return network(*layers, optimizer=optimizer, loss="sparse_categorical_crossentropy", metrics=["accuracy"], **kwargs)


def contents(net):
    arrays = {f"parameter {key}": array for key, array in net.parameters.items()}
    arrays |= {f"buffer {key}": array for key, array in net.buffers.items()}
    for key, state in net.optimizer_state.items():
        arrays |= {f"state {key} {name}": np.asarray(array) for name, array in state.items()}
    return {name: array.tobytes() for name, array in arrays.items()}


def same(net, other):
    mine, others = contents(net), contents(other)
    assert mine.keys() == others.keys()
    assert [name for name in mine if mine[name] != others[name]] == []


def values(mapping):
    return {key: np.array(array) for key, array in mapping.items()}


def close(left, right, rtol=1e-5, atol=1e-6):
    assert left.keys() == right.keys()
    for key in left:
        np.testing.assert_allclose(left[key], right[key], rtol=rtol, atol=atol, err_msg=key)


# -- names ---------------------------------------------------------------------------------------------------------


def test_names_of_the_package():
    names = {
        *("Sequential", "load", "config", "show_config", "set_num_threads", "get_num_threads", "num_threads"),
        *("DuplicateNameError", "NonFiniteError", "NotBuiltError", "PluginError", "UnknownNameError"),
        *("activations", "callbacks", "initializers", "layers", "losses", "metrics", "optimizers", "registry"),
        "__version__",
    }
    assert names <= set(fm.__all__)
    assert all(hasattr(fm, name) for name in fm.__all__)
    assert fm.__all__ == sorted(fm.__all__)


MODULES = {
    "layers": {"dense": "Dense", "activation": "Activation", "batch_norm": "BatchNorm", "dropout": "Dropout"},
    "activations": {
        **{"identity": "Identity", "linear": "Identity", "relu": "ReLU", "leaky_relu": "LeakyReLU"},
        **{"sigmoid": "Sigmoid", "tanh": "Tanh", "exponential": "Exponential", "sin": "Sin", "cos": "Cos"},
        "softmax": "Softmax",
    },
    "initializers": {
        **{"zeros": "Zeros", "ones": "Ones", "constant": "Constant", "random_normal": "RandomNormal"},
        **{"random_uniform": "RandomUniform", "variance_scaling": "VarianceScaling", "he_normal": "HeNormal"},
        **{"he_uniform": "HeUniform", "lecun_normal": "LecunNormal", "lecun_uniform": "LecunUniform"},
        **{"glorot_normal": "GlorotNormal", "glorot_uniform": "GlorotUniform"},
    },
    "optimizers": {"sgd": "SGD", "adam": "Adam"},
    "losses": {
        **{"mse": "MeanSquaredError", "mean_squared_error": "MeanSquaredError"},
        **{"half_squared_error": "HalfSquaredError", "binary_crossentropy": "BinaryCrossentropy"},
        "categorical_crossentropy": "CategoricalCrossentropy",
        "sparse_categorical_crossentropy": "SparseCategoricalCrossentropy",
        **{"mape": "MeanAbsolutePercentageError", "msle": "MeanSquaredLogarithmicError"},
        **{"mean_absolute_percentage_error": "MeanAbsolutePercentageError", "kl_divergence": "KLDivergence"},
        **{"mean_squared_logarithmic_error": "MeanSquaredLogarithmicError", "squared_hinge": "SquaredHinge"},
        **{"categorical_hinge": "CategoricalHinge", "cosine_similarity": "CosineSimilarity"},
        "binary_focal_crossentropy": "BinaryFocalCrossentropy",
        "categorical_focal_crossentropy": "CategoricalFocalCrossentropy",
        **{"quantile": "Quantile", "gaussian_nll": "GaussianNLL"},
        **{"poisson_deviance": "PoissonDeviance", "gamma_deviance": "GammaDeviance"},
    },
    "metrics": {
        **{"accuracy": "Accuracy", "mse": "MeanSquaredError", "mean_squared_error": "MeanSquaredError"},
        **{"mae": "MeanAbsoluteError", "mean_absolute_error": "MeanAbsoluteError"},
        **{"binary_accuracy": "BinaryAccuracy", "categorical_accuracy": "CategoricalAccuracy"},
        "sparse_categorical_accuracy": "SparseCategoricalAccuracy",
        "top_k_categorical_accuracy": "TopKCategoricalAccuracy",
        "sparse_top_k_categorical_accuracy": "SparseTopKCategoricalAccuracy",
        **{"precision": "Precision", "recall": "Recall", "f1_score": "F1Score", "auc": "AUC"},
        **{"r2_score": "R2Score", "root_mean_squared_error": "RootMeanSquaredError", "rmse": "RootMeanSquaredError"},
        **{"mape": "MeanAbsolutePercentageError", "mean_absolute_percentage_error": "MeanAbsolutePercentageError"},
        **{"log_loss": "LogLoss", "brier_score": "BrierScore"},
        "expected_calibration_error": "ExpectedCalibrationError",
    },
}
NAMES = [(kind, name, cls) for kind, names in MODULES.items() for name, cls in names.items()]
BASES = {"layers": "Layer", "activations": "Activation", "losses": "Loss", "metrics": "Metric"}
REQUIRED = {"dense": {"units": 3}, "activation": {"activation": "relu"}, "dropout": {"rate": 0.5}}


@pytest.mark.parametrize("kind, name, cls", NAMES)
def test_registered_names(kind, name, cls):
    module, registry = getattr(fm, kind), getattr(fm.registry, kind)
    config = REQUIRED.get(name, {}) if kind == "layers" else {}
    found = registry.get(name, **config)
    assert type(found) is getattr(module, cls)
    assert cls in module.__all__ and name in registry and registry.origin(name) == "built-in"
    assert registry.get(found) is found
    again = registry.get({"name": name, **config})
    assert type(again) is type(found) and again.get_config().keys() == found.get_config().keys()
    assert type(registry.get(type(found), **config)) is type(found)
    assert repr(found).startswith(f"{cls}(")


@pytest.mark.parametrize("kind", MODULES)
def test_every_module_has_its_get(kind):
    name, cls = next(iter(MODULES[kind].items()))
    config = REQUIRED.get(name, {}) if kind == "layers" else {}
    assert type(getattr(fm, kind).get(name, **config)) is getattr(getattr(fm, kind), cls)


def test_base_classes():
    for kind in MODULES:
        base = getattr(fm, kind).__dict__[BASES.get(kind, kind[:-1].capitalize())]
        assert getattr(fm.registry, kind).base is base
        assert all(issubclass(getattr(fm.registry, kind).resolve(name), base) for name in MODULES[kind])


def test_spelling_of_keras():
    with pytest.raises(AttributeError, match="'BatchNorm'"):
        fm.layers.BatchNormalization  # noqa: B018
    with pytest.raises(AttributeError, match="'Dens'"):
        fm.layers.Dens  # noqa: B018
    with pytest.raises(AttributeError, match="'sequential'"):
        fm.sequential  # noqa: B018


def test_defaults():
    common = fm.optimizers.Optimizer().get_config()
    assert fm.optimizers.SGD().get_config() == {**common, "learning_rate": 0.01, "momentum": 0.0, "nesterov": False}
    adam = fm.optimizers.Adam().get_config()
    assert adam == {**common, "learning_rate": 0.001, "beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-8, "amsgrad": False}
    norm = L.BatchNorm()
    assert (norm.momentum, norm.epsilon) == (0.9, 1e-5)
    assert fm.activations.LeakyReLU().alpha == 0.01 and fm.activations.ReLU().at_zero == 1
    dense = L.Dense(3)
    assert dense.use_bias and type(dense.activation) is fm.activations.Identity
    net = fm.Sequential([dense])
    net.compile()
    assert type(net.optimizer) is fm.optimizers.SGD and net.loss is None and net.metrics == ()


# -- building ------------------------------------------------------------------------------------------------------


def test_properties():
    layers = [L.Dense(8, "relu"), L.Dropout(0.5), L.Dense(3)]
    net = fm.Sequential(layers, seed=12, dtype="float64")
    assert list(net.layers) == layers and net.seed == 12 and net.dtype == np.float64
    assert not net.built and net.input_dim is None
    net.build(5)
    assert net.built and net.input_dim == 5
    assert net.count_params() == 5 * 8 + 8 + 8 * 3 + 3
    assert {key: array.shape for key, array in net.parameters.items()} == {
        "0.kernel": (5, 8),
        "0.bias": (8,),
        "2.kernel": (8, 3),
        "2.bias": (3,),
    }
    assert all(array.dtype == np.float64 and array.flags.writeable for array in net.parameters.values())
    assert dict(net.buffers) == {}


@pytest.mark.parametrize("first", ["fit", "train_on_batch", "predict", "evaluate", "loss_and_gradients"])
def test_features_come_with_the_first_data(first):
    net = fm.Sequential([L.Dense(CLASSES)], seed=1)
    net.compile("sgd", "mse")
    getattr(net, first)(*([X] if first == "predict" else [X, ROWS]))
    assert net.built and net.input_dim == FEATURES


def test_layers_by_name_and_configuration():
    net = fm.Sequential(
        [{"name": "dense", "units": 8, "activation": "tanh"}, "batch_norm", {"name": "dropout", "rate": 0.1}]
    )
    assert [type(layer) for layer in net.layers] == [L.Dense, L.BatchNorm, L.Dropout]
    assert net.layers[0].units == 8 and net.layers[2].rate == 0.1


def test_seeds():
    def first(seed):
        return fm.Sequential([L.Dense(8)], input_dim=3, seed=seed).parameters["0.kernel"]

    assert first(1).tobytes() == first(1).tobytes() != first(2).tobytes()
    drawn = fm.Sequential([L.Dense(8)], input_dim=3)
    assert isinstance(drawn.seed, int) and drawn.seed != fm.Sequential([L.Dense(8)], input_dim=3).seed
    assert first(drawn.seed).tobytes() == drawn.parameters["0.kernel"].tobytes()


@pytest.mark.parametrize(
    "between, activation, expected",
    [
        ([], "relu", "he_normal"),
        ([], "leaky_relu", "he_normal"),
        ([], "tanh", "lecun_normal"),
        ([], "sigmoid", "lecun_normal"),
        ([L.BatchNorm], "relu", "he_normal"),
        ([L.BatchNorm, lambda: L.Dropout(0.5)], "relu", "he_normal"),
        ([L.BatchNorm], "tanh", "lecun_normal"),
        ([lambda: L.Dense(8)], "relu", "lecun_normal"),
    ],
)
def test_initializer_that_the_next_activation_recommends(between, activation, expected):
    def first(initializer):
        layers = [L.Dense(8, kernel_initializer=initializer), *(make() for make in between), L.Activation(activation)]
        return fm.Sequential(layers, input_dim=5, seed=4).parameters["0.kernel"]

    assert first(None).tobytes() == first(expected).tobytes() == first({"name": expected}).tobytes()
    other = {"he_normal": "lecun_normal", "lecun_normal": "he_normal"}[expected]
    assert first(None).tobytes() != first(other).tobytes()


def test_an_initializer_of_ones_own():
    class Ramp(fm.initializers.Initializer):
        def __call__(self, shape, rng, dtype):
            assert isinstance(rng, np.random.Generator) and dtype == np.float32
            draws.append(rng.random())
            return np.arange(np.prod(shape), dtype=dtype).reshape(shape)

    draws = []
    for _ in range(2):
        net = fm.Sequential([L.Dense(4, kernel_initializer=Ramp(), bias_initializer=Ramp())], input_dim=2, seed=1)
        np.testing.assert_array_equal(net.parameters["0.kernel"], np.arange(8).reshape(2, 4))
        np.testing.assert_array_equal(net.parameters["0.bias"], np.arange(4))
    assert draws[:2] == draws[2:] and draws[0] != draws[1]  # from seed and layer


# -- parameters, buffers, state ------------------------------------------------------------------------------------


def test_parameters_are_views():
    net = classifier()
    kernel, keys = net.parameters["0.kernel"], list(net.parameters)
    assert keys == ["0.kernel", "0.bias", "1.gamma", "1.beta", "4.kernel", "4.bias"] and len(net.parameters) == 6
    assert list(net.buffers) == ["1.running_mean", "1.running_var"]
    assert "0.kernel" in net.parameters and "0.kernl" not in net.parameters
    before = net.predict(X)
    kernel[...] = 0  # held from before a prediction, and from before training
    changed = net.predict(X)
    assert not np.array_equal(before, changed)
    net.train_on_batch(X, LABELS)
    assert kernel.any() and np.shares_memory(kernel, net.parameters["0.kernel"])
    trained = net.predict(X)
    kernel *= 2
    assert not np.array_equal(trained, net.predict(X))
    net.buffers["1.running_mean"][...] = 5
    assert not np.array_equal(trained, net.predict(X))


def test_parameters_are_set_by_copying():
    net = network(L.Dense(CLASSES))
    values = np.arange(FEATURES * CLASSES).reshape(FEATURES, CLASSES)
    net.parameters["0.kernel"] = values
    net.parameters["0.bias"] = [1, 2, 3, 4]
    values[...] = 0
    expected = X @ np.arange(FEATURES * CLASSES).reshape(FEATURES, CLASSES) + [1, 2, 3, 4]
    np.testing.assert_allclose(net.predict(X), expected, rtol=1e-4, atol=1e-4)
    with pytest.raises(KeyError, match=r"0\.kernel, 0\.bias"):
        net.parameters["kernel"] = values


def test_a_write_to_large_kernels_is_seen():
    """Kernels large enough to be packed."""
    net = fm.Sequential([L.Dense(300, "relu"), L.Dense(200)], input_dim=256, seed=1)
    x = np.random.default_rng(1).normal(size=(8, 256)).astype("f4")
    view = net.parameters["0.kernel"]
    net.predict(x)
    view[...] = 0
    view[0] = 1
    net.parameters["1.kernel"][...] = 1
    expected = 300 * np.maximum(x[:, :1], 0) + np.zeros((1, 200))
    np.testing.assert_allclose(net.predict(x), expected, rtol=1e-5)


def test_names_of_layers_are_in_keys():
    net = network(L.Dense(8, name="hidden"), L.BatchNorm(), L.Dense(CLASSES, name="out"), optimizer="adam")
    keys = ["hidden.kernel", "hidden.bias", "1.gamma", "1.beta", "out.kernel", "out.bias"]
    assert list(net.parameters) == keys == list(net.optimizer_state)
    assert list(net.loss_and_gradients(X, ROWS)[1]) == keys
    for name in ("hidden", "out"):
        assert name in repr(net)


@pytest.mark.parametrize(
    "optimizer, names",
    [
        ("sgd", []),
        (fm.optimizers.SGD(momentum=0.9), ["velocity"]),
        (fm.optimizers.SGD(momentum=0.9, nesterov=True), ["velocity"]),
        ("adam", ["m", "v"]),
    ],
)
def test_optimizer_state(optimizer, names):
    net = network(L.Dense(8), L.Dense(CLASSES), optimizer=copy.deepcopy(optimizer))
    assert list(net.optimizer_state) == list(net.parameters)
    for key, state in net.optimizer_state.items():
        assert list(state) == names
        assert all(array.shape == net.parameters[key].shape and not array.any() for array in state.values())
    net.train_on_batch(X, ROWS)
    assert all(array.any() for state in net.optimizer_state.values() for array in state.values())
    net.compile(copy.deepcopy(optimizer), "mse")
    assert not any(array.any() for state in net.optimizer_state.values() for array in state.values())


def test_compile_starts_adam_anew():
    net, fresh = (network(L.Dense(CLASSES), optimizer="adam") for _ in range(2))
    net.train_on_batch(X, ROWS)
    net.compile("adam", "mse")
    for key, array in net.parameters.items():
        fresh.parameters[key] = array
    for one in (net, fresh):
        one.train_on_batch(X, ROWS)
    same(net, fresh)


# -- compile -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "optimizer, loss, metric",
    [
        ("adam", "mse", "mae"),
        (fm.optimizers.Adam, fm.losses.MeanSquaredError, fm.metrics.MeanAbsoluteError),
        (fm.optimizers.Adam(), fm.losses.MeanSquaredError(), fm.metrics.MeanAbsoluteError()),
        ({"name": "adam"}, {"name": "mse"}, {"name": "mae"}),
        ({"name": "adam", "learning_rate": 0.001}, {"name": "mean_squared_error"}, "mean_absolute_error"),
    ],
    ids=["names", "classes", "instances", "configurations", "with parameters"],
)
def test_compile_takes_names_classes_instances_and_configurations(optimizer, loss, metric):
    net = network(L.Dense(CLASSES), optimizer=optimizer, loss=loss, metrics=[metric])
    assert net.optimizer == fm.optimizers.Adam() and net.loss == fm.losses.MeanSquaredError()
    assert net.metrics == (fm.metrics.MeanAbsoluteError(),)
    reference = network(L.Dense(CLASSES), optimizer="adam", loss="mse", metrics=["mae"])
    assert net.train_on_batch(X, ROWS) == reference.train_on_batch(X, ROWS)
    same(net, reference)
    if isinstance(optimizer, fm.optimizers.Optimizer):
        assert net.optimizer is optimizer and net.loss is loss and net.metrics[0] is metric


@pytest.mark.parametrize("name", ["sgd", "adam"])
def test_learning_rate_may_be_set_between_steps(name):
    net = network(L.Dense(CLASSES), optimizer={"name": name, "learning_rate": 0.5})
    net.train_on_batch(X, ROWS)
    before = contents(net)
    net.optimizer.learning_rate = 0.0
    net.train_on_batch(X, ROWS)
    net.fit(X, ROWS)
    after = contents(net)
    assert all(after[key] == before[key] for key in before if key.startswith("parameter"))
    net.optimizer.learning_rate = 0.5
    net.fit(X, ROWS)
    assert contents(net) != after


def rate(step):
    return 0.1 / step


@pytest.mark.parametrize("name", ["sgd", "adam"])
def test_a_schedule_equals_rates_set_by_hand(name):
    net = network(L.Dense(8, "tanh"), L.Dense(CLASSES), optimizer={"name": name, "learning_rate": rate})
    by_hand = network(L.Dense(8, "tanh"), L.Dense(CLASSES), optimizer=name)
    net.fit(X, ROWS, epochs=2, batch_size=BATCH, shuffle=False)
    net.train_on_batch(X, ROWS)
    step = 0
    for _ in range(2):
        for at in range(0, N, BATCH):
            step += 1
            by_hand.optimizer.learning_rate = rate(step)
            by_hand.train_on_batch(X[at : at + BATCH], ROWS[at : at + BATCH])
    by_hand.optimizer.learning_rate = rate(step + 1)
    by_hand.train_on_batch(X, ROWS)
    same(net, by_hand)


def test_a_schedule_within_apply_gradients():
    net = network(L.Dense(CLASSES), optimizer={"name": "sgd", "learning_rate": lambda step: [0.0, 1.0][step - 1]})
    before, ones = values(net.parameters), {key: np.ones_like(array) for key, array in net.parameters.items()}
    net.apply_gradients(ones)
    close(values(net.parameters), before)
    net.apply_gradients(ones)
    close(values(net.parameters), {key: array - 1 for key, array in before.items()})


# -- losses and metrics --------------------------------------------------------------------------------------------


def softmax(z):
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


LITERAL = {
    "mse": (ROWS, "identity", lambda y, p: ((p - y) ** 2).mean(axis=1)),
    "half_squared_error": (ROWS, "identity", lambda y, p: ((p - y) ** 2).sum(axis=1) / 2),
    "categorical_crossentropy": (HOT, "softmax", lambda y, p: -(y * np.log(p)).sum(axis=1)),
    "sparse_categorical_crossentropy": (LABELS, "softmax", lambda y, p: -np.log(p[np.arange(N), y])),
    "binary_crossentropy": (YES, "sigmoid", lambda y, p: -(y * np.log(p) + (1 - y) * np.log(1 - p)).mean(axis=1)),
}


@pytest.mark.parametrize("weight", [None, WEIGHT], ids=["plain", "weighted"])
@pytest.mark.parametrize("loss", LITERAL)
def test_losses_are_weighted_means(loss, weight):
    y, activation, rows = LITERAL[loss]
    net = network(L.Dense(8, "tanh"), L.Dense(CLASSES, activation), loss=loss)
    expected = np.average(rows(y, net.predict(X).astype("f8")), weights=weight)
    np.testing.assert_allclose(net.evaluate(X, y, sample_weight=weight)["loss"], expected, rtol=1e-5)
    np.testing.assert_allclose(net.evaluate(X, y, sample_weight=weight, batch_size=7)["loss"], expected, rtol=1e-5)
    np.testing.assert_allclose(net.loss_and_gradients(X, y, weight)[0], expected, rtol=1e-5)
    np.testing.assert_allclose(net.train_on_batch(X, y, weight)["loss"], expected, rtol=1e-5)


@pytest.mark.parametrize("loss", [loss for loss in LITERAL if "crossentropy" in loss])
def test_logits_equal_probabilities(loss):
    y, activation, _ = LITERAL[loss]
    of_probabilities = network(
        L.Dense(8, "tanh"), L.Dense(CLASSES, activation, kernel_initializer="he_normal"), loss=loss, dtype="float64"
    )
    apart = network(
        L.Dense(8, "tanh"),
        L.Dense(CLASSES, kernel_initializer="he_normal"),
        L.Activation(activation),
        loss=loss,
        dtype="float64",
    )
    of_logits = network(
        L.Dense(8, "tanh"),
        L.Dense(CLASSES, kernel_initializer="he_normal"),
        loss={"name": loss, "from_logits": True},
        dtype="float64",
    )
    for net in (of_probabilities, apart, of_logits):
        assert net.parameters["1.kernel"].tobytes() == of_logits.parameters["1.kernel"].tobytes()
    expected, gradients = of_logits.loss_and_gradients(X, y)
    for net in (of_probabilities, apart):
        found, others = net.loss_and_gradients(X, y)
        np.testing.assert_allclose(found, expected, rtol=1e-12)
        close(others, gradients, rtol=1e-9, atol=1e-12)
        net.fit(X, y, batch_size=BATCH, epochs=2)
    of_logits.fit(X, y, batch_size=BATCH, epochs=2)
    close(values(of_probabilities.parameters), values(of_logits.parameters), rtol=1e-9, atol=1e-12)
    probabilities = of_logits.predict(X)
    probabilities = softmax(probabilities) if activation == "softmax" else 1 / (1 + np.exp(-probabilities))
    np.testing.assert_allclose(of_probabilities.predict(X), probabilities, rtol=1e-9)


@pytest.mark.parametrize("loss", [loss for loss in LITERAL if "crossentropy" in loss])
def test_extreme_logits_have_a_finite_loss(loss):
    y, activation, _ = LITERAL[loss]
    net = network(L.Dense(CLASSES, activation, kernel_initializer="ones"), loss=loss, optimizer="sgd")
    net.parameters["0.kernel"][:, 0] = -1000
    assert np.isfinite(net.train_on_batch(X, y)["loss"])
    assert all(np.isfinite(array).all() for array in net.parameters.values())


def hits(kind, y, p):
    if kind == "sparse":
        return p.argmax(axis=1) == y
    if kind == "categorical":
        return p.argmax(axis=1) == y.argmax(axis=1)
    return ((p > 0.5) == (y > 0.5)).mean(axis=1)


ACCURACIES = {
    "labels": ("sparse", "sparse_categorical_crossentropy", LABELS, "softmax", CLASSES),
    "one-hot": ("categorical", "categorical_crossentropy", HOT, "softmax", CLASSES),
    "one yes or no": ("binary", "binary_crossentropy", YES[:, :1], "sigmoid", 1),
    "several yes or no": ("binary", "binary_crossentropy", YES, "sigmoid", CLASSES),
    "squares of several": ("categorical", "mse", HOT, "identity", CLASSES),
    "squares of one": ("binary", "mse", YES[:, :1], "identity", 1),
}


@pytest.mark.parametrize("case", ACCURACIES)
def test_accuracy_follows_loss_and_shape(case):
    kind, loss, y, activation, units = ACCURACIES[case]
    net = network(L.Dense(8, "tanh"), L.Dense(units, activation), loss=loss, metrics=["accuracy"])
    correct = hits(kind, y, net.predict(X))
    found = net.evaluate(X, y, batch_size=7, sample_weight=WEIGHT)["accuracy"]
    np.testing.assert_allclose(found, np.average(correct, weights=WEIGHT), rtol=1e-6)
    np.testing.assert_allclose(net.evaluate(X, y)["accuracy"], correct.mean(), rtol=1e-6)
    assert 0 < found < 1
    np.testing.assert_allclose(net.train_on_batch(X, y)["accuracy"], correct.mean(), rtol=1e-6)


@pytest.mark.parametrize("case", ["labels", "one-hot", "one yes or no", "several yes or no"])
def test_accuracy_of_logits(case):
    """Not of the logits beside 0.5, but of the probabilities that they stand for."""
    kind, loss, y, activation, units = ACCURACIES[case]
    net = network(L.Dense(8, "tanh"), L.Dense(units), loss={"name": loss, "from_logits": True}, metrics=["accuracy"])
    z = net.predict(X)
    correct = hits(kind, y, softmax(z) if activation == "softmax" else 1 / (1 + np.exp(-z)))
    assert kind != "binary" or correct.mean() != hits(kind, y, z).mean(), "data that can't tell"
    np.testing.assert_allclose(net.evaluate(X, y)["accuracy"], correct.mean(), rtol=1e-6)
    np.testing.assert_allclose(net.train_on_batch(X, y)["accuracy"], correct.mean(), rtol=1e-6)


def test_shapes_of_targets_for_one_output():
    for loss, y in (("mse", ROWS[:, 0]), ("binary_crossentropy", YES[:, 0])):
        one, other = (network(L.Dense(1, "sigmoid"), loss=loss, metrics=["accuracy"]) for _ in range(2))
        assert one.fit(X, y, epochs=2).history == other.fit(X, y[:, None], epochs=2).history
        assert one.evaluate(X, y) == other.evaluate(X, y[:, None])
        same(one, other)
        assert one.predict(X).shape == (N, 1)
    one, other = classifier(), classifier()
    assert one.fit(X, LABELS).history == other.fit(X, LABELS[:, None]).history
    same(one, other)


@pytest.mark.parametrize("weight", [None, WEIGHT], ids=["plain", "weighted"])
def test_metrics_in_evaluate_equal_means_by_hand(weight):
    net = network(L.Dense(8, "tanh"), L.Dense(CLASSES), loss="half_squared_error", metrics=["mse", "mae"])
    error = net.predict(X).astype("f8") - ROWS
    found = net.evaluate(X, ROWS, batch_size=7, sample_weight=weight)
    assert list(found) == ["loss", "mean_squared_error", "mean_absolute_error"]
    for name, rows in (("mean_squared_error", error**2), ("mean_absolute_error", np.abs(error))):
        np.testing.assert_allclose(found[name], np.average(rows.mean(axis=1), weights=weight), rtol=1e-5)
    assert all(type(value) is float for value in found.values())


@pytest.mark.parametrize("call", ["fit", "fit with hooks", "stream", "train_on_batch", "evaluate"])
def test_metrics_of_an_epoch(call):
    """Over all its rows, whatever looks at single batches meanwhile; with no learning, those of `evaluate`."""

    class Watch(fm.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            seen.append(logs["mean_absolute_error"])

    seen = []
    net = network(L.Dense(CLASSES), optimizer={"name": "sgd", "learning_rate": 0.0}, metrics=["accuracy", "mae"])
    expected = net.evaluate(X, ROWS)
    if call == "evaluate":
        found = net.evaluate(X, ROWS, batch_size=BATCH - 1)
    elif call == "train_on_batch":
        found = net.train_on_batch(X, ROWS)
    else:
        data = [(X[at : at + 10], ROWS[at : at + 10]) for at in range(0, N, 10)] if call == "stream" else X
        hooks = [Watch()] if call != "fit" else []
        history = net.fit(data, None if call == "stream" else ROWS, epochs=2, batch_size=10, callbacks=hooks).history
        assert all(column[0] == pytest.approx(column[1], rel=1e-5) for column in history.values())
        found = {name: column[0] for name, column in history.items()}
        assert len(set(seen)) > 1 or call == "fit"
    assert found.keys() == expected.keys()
    for name in expected:
        assert found[name] == pytest.approx(expected[name], rel=1e-5)


def test_a_metric_of_ones_own(register):
    class Largest(fm.metrics.Metric):
        def reset(self):
            self.value = 0.0

        def update(self, y_true, y_pred, weight):
            assert y_true.shape == y_pred.shape and (weight is None or weight.shape == (len(y_true),))
            batches.append(len(y_true))
            self.value = max(self.value, float(np.abs(y_pred - y_true).max()))

        def result(self):
            return self.value

    batches = []
    register("metrics", "test_api.largest", Largest)
    net = network(L.Dense(CLASSES), metrics=["test_api.largest"])
    expected = np.abs(net.predict(X) - ROWS).max()
    found = net.evaluate(X, ROWS, batch_size=20)
    assert found["test_api.largest"] == pytest.approx(expected, rel=1e-6)
    assert set(batches) == {20, 8}
    history = net.fit(X, ROWS, epochs=3, sample_weight=WEIGHT, validation_data=(X, ROWS)).history
    assert list(history) == ["loss", "test_api.largest", "val_loss", "val_test_api.largest"]
    assert history["val_test_api.largest"][-1] == pytest.approx(np.abs(net.predict(X) - ROWS).max(), rel=1e-6)


def test_a_metric_that_is_not_registered():
    """Names are for files and texts: an object of one's own works without, as losses and optimizers do."""

    class MaxError(fm.metrics.Metric):
        def rows(self, y_true, y_pred):
            return np.abs(y_pred - y_true).max(axis=1)

    net = network(L.Dense(CLASSES), metrics=[MaxError()])
    expected = np.abs(net.predict(X) - ROWS).max(axis=1).mean()
    found = net.evaluate(X, ROWS)
    assert len(found) == 2
    assert list(found.values())[1] == pytest.approx(expected, rel=1e-5)
    assert len(net.fit(X, ROWS).history) == 2


class Huber(fm.losses.Loss):
    """Of one's own, in NumPy, which code that can't be traced stays in."""

    recordable = False

    def __init__(self, delta=1.0):
        self.delta = delta

    def value_and_gradient(self, y_true, y_pred):
        error = y_pred - y_true
        inside = np.abs(error) <= self.delta
        value = np.where(inside, error**2 / 2, self.delta * (np.abs(error) - self.delta / 2))
        return value.sum(axis=1), np.clip(error, -self.delta, self.delta)


def test_a_loss_of_ones_own():
    """With a wide delta it is half of the squares."""
    net = network(L.Dense(8, "tanh"), L.Dense(CLASSES), loss=Huber(1e3), metrics=["mae"])
    built_in = network(L.Dense(8, "tanh"), L.Dense(CLASSES), loss="half_squared_error", metrics=["mae"])
    for one in (net, built_in):
        one.fit(X, ROWS, epochs=2, batch_size=BATCH, sample_weight=WEIGHT)
    close(values(net.parameters), values(built_in.parameters))
    close(net.evaluate(X, ROWS), built_in.evaluate(X, ROWS))
    loss, gradients = net.loss_and_gradients(X, ROWS, WEIGHT)
    expected, others = built_in.loss_and_gradients(X, ROWS, WEIGHT)
    assert loss == pytest.approx(expected, rel=1e-5)
    close(gradients, others)
    assert "Huber(delta=1000.0)" in repr(net) and "Python" in repr(net)
    assert network(L.Dense(CLASSES), loss=Huber(0.1)).evaluate(X, ROWS) != built_in.evaluate(X, ROWS)


@pytest.mark.parametrize("labels", [True, False])
def test_accuracy_beside_a_loss_of_ones_own(labels):
    class Own(fm.losses.SparseCategoricalCrossentropy if labels else fm.losses.CategoricalCrossentropy):
        pass

    y = LABELS if labels else HOT
    net = network(L.Dense(8, "tanh"), L.Dense(CLASSES, "softmax"), loss=Own(), metrics=["accuracy"])
    correct = (net.predict(X).argmax(axis=1) == LABELS).mean()
    assert 0 < correct < 1
    assert net.evaluate(X, y, batch_size=7)["accuracy"] == pytest.approx(correct)
    assert net.train_on_batch(X, y)["accuracy"] == pytest.approx(correct)
    net.optimizer.learning_rate = 0.0
    correct = (net.predict(X).argmax(axis=1) == LABELS).mean()
    assert net.fit(X, y, batch_size=7).history["accuracy"] == [pytest.approx(correct)]


# -- training ------------------------------------------------------------------------------------------------------


def test_fit_equals_steps():
    """Bit for bit: rows in order, the last batch smaller, masks and statistics by step."""
    net, by_hand = classifier(), classifier()
    history = net.fit(X, LABELS, epochs=2, batch_size=20, shuffle=False)
    for _ in range(2):
        losses = [
            (by_hand.train_on_batch(X[at : at + 20], LABELS[at : at + 20]), len(X[at : at + 20]))
            for at in range(0, N, 20)
        ]
    same(net, by_hand)
    for name in ("loss", "accuracy"):
        mean = sum(logs[name] * rows for logs, rows in losses) / N
        assert history.history[name][-1] == pytest.approx(mean, rel=1e-6)


class Count(fm.metrics.Metric):
    def rows(self, y_true, y_pred):
        return np.ones(len(y_true))


@pytest.mark.parametrize("change", ["float64", "list", "callback", "threads", "metric", "stream"])
def test_ways_through_fit_give_the_same_bits(change, register):
    class Watch(fm.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            pass

    net, reference = classifier(), classifier()
    x, y, keywords, around = X, LABELS, {"callbacks": []}, contextlib.nullcontext()
    if change == "float64":
        x = X.astype("f8")
    elif change == "list":
        x, y = X.tolist(), LABELS.tolist()
    elif change == "callback":
        keywords["callbacks"] = [Watch()]
    elif change == "threads":
        around = fm.num_threads(3)
    elif change == "metric":
        register("metrics", "test_api.count", Count)
        net.compile("adam", "sparse_categorical_crossentropy", ["accuracy", "test_api.count"])
    else:
        x, y = [(X[at : at + BATCH], LABELS[at : at + BATCH]) for at in range(0, N, BATCH)], None
    shuffle = change != "stream"
    with around:
        found = net.fit(x, y, epochs=3, batch_size=BATCH, shuffle=shuffle, **keywords).history
    assert found.pop("test_api.count", None) == ([1.0] * 3 if change == "metric" else None)
    assert found == reference.fit(X, LABELS, epochs=3, batch_size=BATCH, shuffle=shuffle).history
    same(net, reference)


def test_shuffling_goes_on_over_calls():
    net, reference = classifier(), classifier()
    for _ in range(3):
        net.fit(X, LABELS, batch_size=BATCH)
    reference.fit(X, LABELS, epochs=3, batch_size=BATCH)
    same(net, reference)
    ordered = classifier()
    ordered.fit(X, LABELS, epochs=3, batch_size=BATCH, shuffle=False)
    assert contents(ordered) != contents(net)


def test_history():
    net = classifier()
    history = net.fit(X, LABELS, epochs=3, validation_split=0.25, verbose=0)
    assert isinstance(history, fm.callbacks.History)
    assert list(history.history) == ["loss", "accuracy", "val_loss", "val_accuracy"]
    assert history.epoch == [0, 1, 2] and all(len(column) == 3 for column in history.history.values())
    assert all(type(value) is float for column in history.history.values() for value in column)
    assert list(classifier().fit(X, LABELS).history) == ["loss", "accuracy"]
    assert "3 epochs" in repr(history) and "val_loss" in repr(history)


def test_validation():
    net, by_hand = classifier(), classifier()
    split = net.fit(X, LABELS, epochs=2, validation_split=0.25, sample_weight=WEIGHT).history
    last = slice(N - N // 4, None)
    rows = slice(0, N - N // 4)
    given = by_hand.fit(
        X[rows],
        LABELS[rows],
        epochs=2,
        validation_data=(X[last], LABELS[last], WEIGHT[last]),
        sample_weight=WEIGHT[rows],
    ).history
    assert split == given
    same(net, by_hand)
    expected = net.evaluate(X[last], LABELS[last], sample_weight=WEIGHT[last])
    assert split["val_loss"][-1] == pytest.approx(expected["loss"], rel=1e-6)
    assert split["val_accuracy"][-1] == pytest.approx(expected["accuracy"], rel=1e-6)


def test_class_weight_multiplies_sample_weight():
    net, by_hand = classifier(), classifier()
    factors = {0: 2.0, 2: 0.25, np.int64(3): 1}
    weight = WEIGHT * np.array([factors.get(int(label), 1.0) for label in LABELS])
    found = net.fit(X, LABELS, epochs=2, sample_weight=WEIGHT, class_weight=factors).history
    assert found == by_hand.fit(X, LABELS, epochs=2, sample_weight=weight).history
    same(net, by_hand)
    assert classifier().fit(X, LABELS, class_weight=factors).history != classifier().fit(X, LABELS).history


def test_epochs_and_initial_epoch():
    class Watch(fm.callbacks.Callback):
        def __init__(self):
            self.seen = []

        def on_train_begin(self, logs=None):
            self.seen.append("begin")

        def on_epoch_begin(self, epoch, logs=None):
            self.seen.append(epoch)

        def on_epoch_end(self, epoch, logs=None):
            self.seen.append(sorted(logs))

        def on_train_end(self, logs=None):
            self.seen.append("end")

    logs = ["accuracy", "loss"]
    net, whole = classifier(), classifier()
    watch = Watch()
    first = net.fit(X, LABELS, epochs=2, callbacks=[watch])
    second = net.fit(X, LABELS, epochs=5, initial_epoch=2, callbacks=[watch])
    reference = whole.fit(X, LABELS, epochs=5)
    assert first.epoch == [0, 1] and second.epoch == [2, 3, 4]
    assert watch.seen == ["begin", 0, logs, 1, logs, "end", "begin", 2, logs, 3, logs, 4, logs, "end"]
    assert first.history["loss"] + second.history["loss"] == reference.history["loss"]
    same(net, whole)
    assert net.fit(X, LABELS, epochs=2, initial_epoch=2).epoch == []
    same(net, whole)


def test_steps_per_epoch():
    net, by_hand = classifier(), classifier()
    net.fit(X, LABELS, batch_size=BATCH, steps_per_epoch=2, shuffle=False)
    for at in (0, BATCH):
        by_hand.train_on_batch(X[at : at + BATCH], LABELS[at : at + BATCH])
    same(net, by_hand)
    stream = [(X[:10], LABELS[:10])] * 5
    net, by_hand = classifier(), classifier()
    net.fit(stream, epochs=2, steps_per_epoch=3)
    for _ in range(6):
        by_hand.train_on_batch(X[:10], LABELS[:10])
    same(net, by_hand)


def test_a_stream_with_weights_and_batches_of_any_size():
    net, by_hand = classifier(), classifier()
    parts = [slice(0, 5), slice(5, 30), slice(30, 31)]
    net.fit([[X[part], LABELS[part], WEIGHT[part]] for part in parts], epochs=2)
    for _ in range(2):
        for part in parts:
            by_hand.train_on_batch(X[part], LABELS[part], WEIGHT[part])
    same(net, by_hand)


@pytest.mark.parametrize("hook", ["on_epoch_end", "on_train_batch_end"])
def test_stop_training(hook):
    class Stops(fm.callbacks.Callback):
        calls = 0

    def stop(self, number, logs=None):
        self.calls += 1
        if number == 1:
            self.model.stop_training = True

    setattr(Stops, hook, stop)
    net, by_hand, stops = classifier(), classifier(), Stops()
    history = net.fit(X, LABELS, epochs=10, batch_size=BATCH, shuffle=False, callbacks=[stops])
    assert stops.calls == 2 and len(history.epoch) == (2 if hook == "on_epoch_end" else 1)
    if hook == "on_epoch_end":
        by_hand.fit(X, LABELS, epochs=2, batch_size=BATCH, shuffle=False)
    else:
        for at in (0, BATCH):
            by_hand.train_on_batch(X[at : at + BATCH], LABELS[at : at + BATCH])
    same(net, by_hand)
    assert len(net.fit(X, LABELS, epochs=2).epoch) == 2  # the wish does not outlive its call


def test_hooks_for_batches_see_every_step():
    class Watch(fm.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            seen.append((batch, dict(logs)))

    seen = []
    net, by_hand = classifier(), classifier()
    net.fit(X, LABELS, batch_size=20, shuffle=False, callbacks=[Watch()])
    single = [by_hand.train_on_batch(X[at : at + 20], LABELS[at : at + 20]) for at in range(0, N, 20)]
    assert [batch for batch, _ in seen] == [0, 1, 2] and seen[0][1] == single[0]
    sizes = [20, 20, 8]
    for batch, logs in seen:  # the means of the epoch so far
        assert logs.keys() == single[batch].keys()
        for name, value in logs.items():
            so_far = [one[name] for one in single[: batch + 1]]
            assert value == pytest.approx(np.average(so_far, weights=sizes[: batch + 1]), rel=1e-12)


def test_learning_rate_set_by_a_hook():
    class Halves(fm.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            self.model.optimizer.learning_rate /= 2

    net, by_hand = (network(L.Dense(CLASSES), optimizer={"name": "sgd", "learning_rate": 1.0}) for _ in range(2))
    net.fit(X, ROWS, batch_size=BATCH, shuffle=False, callbacks=[Halves()])
    for step, at in enumerate(range(0, N, BATCH)):
        by_hand.optimizer.learning_rate = 0.5**step
        by_hand.train_on_batch(X[at : at + BATCH], ROWS[at : at + BATCH])
    same(net, by_hand)
    assert net.optimizer.learning_rate == 0.5 ** (N // BATCH)


@pytest.mark.parametrize("restore", [True, False])
def test_early_stopping(restore):
    """The learning rate makes it worse and worse: the first epoch is the best."""
    net = network(L.Dense(CLASSES), optimizer={"name": "sgd", "learning_rate": 3.0})
    stop = fm.callbacks.EarlyStopping("loss", patience=3, restore_best_weights=restore)
    kept = []

    class Keeps(fm.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            kept.append(contents(self.model))

    history = net.fit(X, ROWS, epochs=50, callbacks=[Keeps(), stop])
    assert history.epoch == [0, 1, 2, 3]
    assert (stop.best_epoch, stop.stopped_epoch, stop.best) == (0, 3, history.history["loss"][0])
    assert contents(net) == kept[0 if restore else 3]


def test_verbose(capsys):
    for verbose, lines in ((0, 0), ("auto", 0), (1, 2)):
        classifier().fit(X, LABELS, epochs=2, validation_split=0.5, verbose=verbose)
        printed = capsys.readouterr().out.splitlines()
        assert len(printed) == lines
    assert "1/2" in printed[0] and "val_accuracy" in printed[0] and "loss" in printed[0]


def test_loss_and_gradients_changes_nothing_and_leads_the_coming_step():
    net, twin = classifier(optimizer="sgd"), classifier(optimizer="sgd")
    before, start = contents(net), values(net.parameters)
    loss, gradients = net.loss_and_gradients(X, LABELS, WEIGHT)
    again, others = net.loss_and_gradients(X, LABELS, WEIGHT)
    assert contents(net) == before and type(loss) is float
    assert loss == again and gradients.keys() == others.keys() == net.parameters.keys()
    assert all(gradients[key].tobytes() == others[key].tobytes() for key in gradients)
    assert not any(np.shares_memory(gradients[key], others[key]) for key in gradients)
    assert net.train_on_batch(X, LABELS, WEIGHT)["loss"] == loss == twin.train_on_batch(X, LABELS, WEIGHT)["loss"]
    same(net, twin)
    close(values(net.parameters), {key: start[key] - 0.01 * gradients[key] for key in start})


def test_apply_gradients_is_the_step_of_the_optimizer():
    net, by_parts = classifier(), classifier()
    for _ in range(3):
        net.train_on_batch(X, LABELS)
        _, gradients = by_parts.loss_and_gradients(X, LABELS)
        by_parts.apply_gradients(gradients)
    ours, theirs = contents(net), contents(by_parts)
    assert [key for key in ours if ours[key] != theirs[key] and not key.startswith("buffer")] == []


def test_vjp():
    net = network(L.Dense(8, "tanh"), L.BatchNorm(), L.Dropout(0.5), L.Dense(CLASSES), loss="half_squared_error")
    net.fit(X, ROWS)
    before = contents(net)
    for training in (False, True):
        y, backward = net.vjp(X, training=training)
        gradients, d_input = backward((y - ROWS) / N)
        assert d_input.shape == X.shape and gradients.keys() == net.parameters.keys()
        if training:
            close(gradients, net.loss_and_gradients(X, ROWS)[1])
        else:
            np.testing.assert_allclose(y, net.predict(X), rtol=1e-5, atol=1e-6)
        second, _ = backward(2 * (y - ROWS) / N)  # more than once
        close(second, {key: 2 * gradient for key, gradient in gradients.items()})
    assert contents(net) == before


# -- optimizers against their formulas -----------------------------------------------------------------------------


def literal_sgd(rate, momentum, nesterov):
    velocity = {}

    def update(parameters, gradients):
        for key, g in gradients.items():
            v = velocity[key] = momentum * velocity.get(key, 0.0) - rate * g
            parameters[key] = parameters[key] + (momentum * v - rate * g if nesterov else v)

    return update


def literal_adam(rate, beta_1, beta_2, epsilon):
    m, v, t = {}, {}, 0

    def update(parameters, gradients):
        nonlocal t
        t += 1
        for key, g in gradients.items():
            m[key] = beta_1 * m.get(key, 0.0) + (1 - beta_1) * g
            v[key] = beta_2 * v.get(key, 0.0) + (1 - beta_2) * g * g
            corrected = m[key] / (1 - beta_1**t), v[key] / (1 - beta_2**t)
            parameters[key] = parameters[key] - rate * corrected[0] / (np.sqrt(corrected[1]) + epsilon)

    return update


@pytest.mark.parametrize(
    "optimizer, literal",
    [
        (fm.optimizers.SGD(0.1), literal_sgd(0.1, 0.0, False)),
        (fm.optimizers.SGD(0.1, momentum=0.8), literal_sgd(0.1, 0.8, False)),
        (fm.optimizers.SGD(0.1, momentum=0.8, nesterov=True), literal_sgd(0.1, 0.8, True)),
        (fm.optimizers.Adam(0.05), literal_adam(0.05, 0.9, 0.999, 1e-8)),
        (fm.optimizers.Adam(0.05, beta_1=0.5, beta_2=0.8, epsilon=0.1), literal_adam(0.05, 0.5, 0.8, 0.1)),
    ],
    ids=repr,
)
def test_optimizers_are_their_formulas(optimizer, literal):
    """Steps of fit and of train_on_batch; the gradients come from a network that is given the literal parameters."""
    layers = [L.Dense(8, "tanh"), L.Dense(CLASSES)]
    net = network(*layers, optimizer=optimizer, dtype="float64")
    slope = network(L.Dense(8, "tanh"), L.Dense(CLASSES), dtype="float64")
    expected = values(net.parameters)
    net.fit(X, ROWS, epochs=2, batch_size=BATCH, shuffle=False)
    net.train_on_batch(X[:5], ROWS[:5])
    batches = [(X[at : at + BATCH], ROWS[at : at + BATCH]) for at in range(0, N, BATCH)] * 2
    for batch in [*batches, (X[:5], ROWS[:5])]:
        for key, array in expected.items():
            slope.parameters[key] = array
        literal(expected, slope.loss_and_gradients(*batch)[1])
    close(values(net.parameters), expected, rtol=1e-10, atol=1e-12)


class NumPyAdam(fm.optimizers.Optimizer):
    """Of one's own, in NumPy."""

    def __init__(self, learning_rate=0.001, beta_1=0.9):
        super().__init__(learning_rate)
        self.beta_1 = beta_1

    def init_state(self, param):
        return {"m": np.zeros_like(param), "v": np.zeros_like(param)}

    def update(self, param, grad, state, learning_rate, step):
        state["m"][...] = self.beta_1 * state["m"] + (1 - self.beta_1) * grad
        state["v"][...] = 0.999 * state["v"] + 0.001 * grad**2
        m, v = state["m"] / (1 - self.beta_1**step), state["v"] / (1 - 0.999**step)
        param -= learning_rate * m / (np.sqrt(v) + 1e-8)


@pytest.mark.filterwarnings("ignore:apply_gradients")  # a plain dict leaves running statistics
@pytest.mark.parametrize("dtype, rtol", [("float32", 1e-4), ("float64", 1e-9)])
def test_an_optimizer_of_ones_own(dtype, rtol):
    def make(optimizer):
        first = L.Dense(8, use_bias=False)  # a bias before batch norm has a gradient of rounding errors
        layers = [first, L.BatchNorm(), L.Activation("tanh"), L.Dropout(0.2), L.Dense(CLASSES)]
        return network(*layers, optimizer=optimizer, dtype=dtype)

    net, built_in = make(NumPyAdam(rate)), make(fm.optimizers.Adam(rate))
    for one in (net, built_in):
        one.fit(X, ROWS, epochs=2, batch_size=20)
        one.train_on_batch(X, ROWS)
        one.apply_gradients({key: np.ones_like(array) for key, array in one.parameters.items()})
    close(values(net.parameters), values(built_in.parameters), rtol=rtol, atol=rtol / 10)
    for key, state in built_in.optimizer_state.items():
        close(values(net.optimizer_state[key]), values(state), rtol=rtol, atol=rtol / 10)
    assert "NumPyAdam" in repr(net) and "Python" in repr(net)


# -- activations and layers in Python ------------------------------------------------------------------------------


class Cube(fm.activations.Activation):
    def forward(self, z):
        return z**3

    def derivative(self, z, a):
        return 3 * z**2


class OwnTanh(fm.activations.Activation):
    def forward(self, z):
        return np.tanh(z)

    def derivative(self, z, a):
        return 1 - a**2


class OwnSoftmax(fm.activations.Activation):
    elementwise = False
    output = "probabilities"

    def forward(self, z):
        return softmax(z)

    def backward(self, z, a, da):
        return a * (da - (da * a).sum(axis=1, keepdims=True))


def test_an_activation_of_ones_own(register):
    register("activations", "test_api.cube", Cube)
    net = network(L.Dense(CLASSES, "test_api.cube"), loss="half_squared_error")
    z = X @ net.parameters["0.kernel"] + net.parameters["0.bias"]
    np.testing.assert_allclose(net.predict(X), z**3, rtol=1e-3, atol=1e-5)
    _, gradients = net.loss_and_gradients(X, ROWS)
    delta = (z**3 - ROWS) * 3 * z**2 / N
    close(gradients, {"0.kernel": X.T @ delta, "0.bias": delta.sum(axis=0)}, rtol=1e-3, atol=1e-5)
    np.testing.assert_array_equal(fm.activations.get("test_api.cube")([1, 2, 3]), [1, 8, 27])
    assert fm.registry.activations.origin("test_api.cube").startswith("run time")


@pytest.mark.parametrize("place", ["dense", "layer", "after batch norm", "first", "last"])
def test_an_elementwise_activation_equals_the_built_in(place):
    def make(activation):
        middle = {
            "dense": lambda: [L.Dense(8, activation), L.Dense(CLASSES)],
            "layer": lambda: [L.Dense(8), L.Activation(activation), L.Dense(CLASSES)],
            "after batch norm": lambda: [
                *(L.Dense(8, use_bias=False), L.BatchNorm(), L.Activation(activation)),
                L.Dense(CLASSES),
            ],
            "first": lambda: [L.Activation(activation), L.Dense(CLASSES)],
            "last": lambda: [L.Dense(8, "relu"), L.Dense(CLASSES, activation)],
        }[place]()
        return network(*middle, optimizer="adam", metrics=["mae"], dtype="float64")

    net, built_in = make(OwnTanh()), make("tanh")
    for one in (net, built_in):
        one.fit(X, ROWS, epochs=2, batch_size=20)
    close(values(net.parameters), values(built_in.parameters), rtol=1e-9, atol=1e-12)
    close(net.evaluate(X, ROWS), built_in.evaluate(X, ROWS))
    np.testing.assert_allclose(net.predict(X), built_in.predict(X), rtol=1e-9)


def test_an_activation_of_whole_rows_equals_the_built_in():
    def make(activation):
        layers = [L.Dense(8, "tanh"), L.Dense(CLASSES, activation)]
        return network(*layers, loss="sparse_categorical_crossentropy", metrics=["accuracy"], dtype="float64")

    net, built_in = make(OwnSoftmax()), make("softmax")
    for one in (net, built_in):
        one.fit(X, LABELS, epochs=2, batch_size=20)
    close(values(net.parameters), values(built_in.parameters), rtol=1e-9, atol=1e-12)
    close(net.evaluate(X, LABELS), built_in.evaluate(X, LABELS))
    middle = network(L.Dense(8, OwnSoftmax()), L.Dense(CLASSES), dtype="float64")
    reference = network(L.Dense(8, "softmax"), L.Dense(CLASSES), dtype="float64")
    close(middle.loss_and_gradients(X, ROWS)[1], reference.loss_and_gradients(X, ROWS)[1], rtol=1e-9, atol=1e-12)


class Linear(L.Layer):
    """A dense layer in NumPy."""

    def __init__(self, units, *, name=None):
        super().__init__(name=name)
        self.units = units

    def build(self, input_dim):
        self.add_parameter("kernel", (input_dim, self.units), "lecun_normal", decay=True)
        self.add_parameter("bias", (self.units,))
        self.add_buffer("calls", (), 0)
        self.add_buffer("largest", (self.units,), -1.0)
        return self.units

    def forward(self, x, *, training, rng):
        assert not x.flags.writeable and isinstance(rng, np.random.Generator)
        kernel = self.parameters["kernel"]
        y = x @ kernel + self.parameters["bias"]
        if training:
            self.buffers["calls"] += 1
            self.buffers["largest"][...] = np.maximum(self.buffers["largest"], y.max(axis=0))

        def backward(dy):
            return dy @ kernel.T, {"kernel": x.T @ dy, "bias": dy.sum(axis=0)}

        return y, backward


@pytest.mark.parametrize("place", ["first", "middle", "last"])
def test_a_layer_of_ones_own(place):
    def make(cls):
        layers = [L.Dense(8, "tanh"), L.Dense(5, "relu"), L.Dense(CLASSES)]
        at = ["first", "middle", "last"].index(place)
        units = layers[at].units
        layers[at : at + 1] = [cls(units), L.Activation(layers[at].activation)]
        return network(*layers, optimizer="adam", dtype="float64")

    net, built_in = make(Linear), make(L.Dense)
    for key, array in built_in.parameters.items():
        net.parameters[key] = array
    assert list(net.parameters) == list(built_in.parameters)
    close(net.loss_and_gradients(X, ROWS)[1], built_in.loss_and_gradients(X, ROWS)[1], rtol=1e-9, atol=1e-12)
    y, backward = net.vjp(X)
    other, pull = built_in.vjp(X)
    np.testing.assert_allclose(backward(y)[1], pull(other)[1], rtol=1e-9, atol=1e-12)
    key = f"{['first', 'middle', 'last'].index(place)}.calls"
    assert net.buffers[key] == 0  # no side effect
    for one in (net, built_in):
        one.fit(X, ROWS, epochs=2, batch_size=20)
    close(values(net.parameters), values(built_in.parameters), rtol=1e-9, atol=1e-12)
    assert net.buffers[key] == 6 and (net.buffers[key.replace("calls", "largest")] > -1).any()
    np.testing.assert_allclose(net.predict(X), built_in.predict(X), rtol=1e-9)
    assert net.buffers[key] == 6
    assert "Linear(units=" in repr(net)


def test_a_random_layer_of_ones_own():
    """Its generator is keyed by the step: the same for loss_and_gradients and the step to come, then another."""

    class Noise(L.Layer):
        def forward(self, x, *, training, rng):
            noise = rng.normal(size=x.shape).astype(x.dtype) if training else 0
            return x + noise, lambda dy: (dy, {})

    net, twin = (network(L.Dense(8), Noise(), Noise(), L.Dense(CLASSES)) for _ in range(2))
    loss, _ = net.loss_and_gradients(X, ROWS)
    assert loss == net.loss_and_gradients(X, ROWS)[0] == net.train_on_batch(X, ROWS)["loss"]
    net.optimizer.learning_rate = 0.0
    losses = [net.train_on_batch(X, ROWS)["loss"] for _ in range(3)]
    assert len(set(losses)) == 3
    twin.train_on_batch(X, ROWS)
    twin.optimizer.learning_rate = 0.0
    twin.fit(X, ROWS, epochs=3, batch_size=N, shuffle=False)
    same(net, twin)
    assert net.predict(X).tobytes() == net.predict(X).tobytes()


class Block(L.Layer):
    def __init__(self, units, depth=1, *, name=None):
        super().__init__(name=name)
        self.units = units
        self.depth = depth

    def compose(self, input_dim):
        if self.depth > 1:
            return [Block(self.units), Block(self.units, self.depth - 1, name="rest")]
        return [L.Dense(self.units), L.BatchNorm(name="norm"), L.Activation("tanh")]


def test_composed_layers():
    net = network(Block(8), Block(6, depth=3, name="body"), L.Dense(CLASSES), optimizer="adam")
    parts = [part for units in (8, 6, 6, 6) for part in (L.Dense(units), L.BatchNorm(), L.Activation("tanh"))]
    flat = network(*parts, L.Dense(CLASSES), optimizer="adam")
    assert list(net.parameters) == [
        *("0.0.kernel", "0.0.bias", "0.norm.gamma", "0.norm.beta"),
        *("body.0.0.kernel", "body.0.0.bias", "body.0.norm.gamma", "body.0.norm.beta"),
        *("body.rest.0.0.kernel", "body.rest.0.0.bias", "body.rest.0.norm.gamma", "body.rest.0.norm.beta"),
        *("body.rest.rest.0.kernel", "body.rest.rest.0.bias"),
        *("body.rest.rest.norm.gamma", "body.rest.rest.norm.beta"),
        *("2.kernel", "2.bias"),
    ]
    assert list(net.buffers)[:2] == ["0.norm.running_mean", "0.norm.running_var"]
    assert net.count_params() == flat.count_params()
    for mine, theirs in zip(net.parameters.values(), flat.parameters.values(), strict=True):
        mine[...] = theirs
    for one in (net, flat):
        one.fit(X, ROWS, epochs=2, batch_size=20)
    assert net.predict(X).tobytes() == flat.predict(X).tobytes()
    assert len(net.layers) == 3


METHODS = {
    name: method
    for name, method in inspect.getmembers(fm.Sequential, inspect.isfunction)
    if not name.startswith("_") and list(inspect.signature(method).parameters) != ["self"]
}


def test_methods_are_found():
    assert len(METHODS) >= 12 and {"fit", "predict", "train_on_batch", "vjp"} <= set(METHODS)


@pytest.mark.parametrize("name", METHODS)
def test_help_of_a_method_shows_all_of_it(name):
    """Every parameter, what comes back, every error, and an example, where users call it."""
    method = METHODS[name]
    signature, text = inspect.signature(method), inspect.getdoc(method)
    described = text.partition("Parameters\n")[2].partition("\nRaises\n")[0]
    for parameter in list(signature.parameters)[1:]:
        assert re.search(rf"^(\w+, )*{parameter}(, \w+)* :", described, re.MULTILINE), parameter
    assert ("\nReturns\n" in text) == (signature.return_annotation != "None")
    assert "\nRaises\n" in text and "\nExamples\n" in text and ">>> " in text


def test_summary_tells_what_runs_in_python(capsys):
    net = classifier()
    text = repr(net)
    assert net.summary() is None and capsys.readouterr().out == text + "\n"
    for word in ("Dense", "BatchNorm", "Dropout", "softmax|Softmax", "float32", "seed 3"):
        assert any(part in text for part in word.split("|"))
    assert f"{net.count_params():,}" in text and "all operations run compiled" in text and "Python" not in text
    mixed = network(L.Dense(8, Sorted()), Linear(5, name="mine"), L.Dense(CLASSES), optimizer=NumPyAdam(), loss=Huber())
    text = repr(mixed)
    assert "Python" in text and "all operations run compiled" not in text
    _, below = text.split("Python", 1)
    for word in ("Sorted", "Linear", "mine", "NumPyAdam", "Huber"):
        assert word in below
    unbuilt = fm.Sequential([L.Dense(8), L.Dense(3, name="out")])
    assert "not built" in repr(unbuilt) and "out" in repr(unbuilt)


class Sorted(fm.activations.Activation):
    """Branches on its data, so that it can't be traced."""

    elementwise = False

    def forward(self, z):
        return np.sort(z, axis=1) if z.sum() > 0 else np.sort(z, axis=1) * 1

    def backward(self, z, a, da):
        dz = np.empty_like(da)
        np.put_along_axis(dz, z.argsort(axis=1), da, axis=1)
        return dz


# -- prediction, copies, threads -----------------------------------------------------------------------------------


def test_predict_writes_to_out():
    net = classifier()
    out = np.full((N, CLASSES), -1, "f4")
    assert net.predict(X, out=out) is out
    expected = net.predict(X)
    assert out.tobytes() == expected.tobytes() and expected.flags.owndata and expected.flags.writeable
    assert net(X).tobytes() == expected.tobytes()
    part = np.zeros((N + 2, CLASSES), "f4")
    net.predict(X, out=part[1:-1])
    assert part[1:-1].tobytes() == expected.tobytes() and not part[0].any() and not part[-1].any()


def test_predictions_do_not_depend_on_the_rows_beside():
    for dtype in ("float32", "float64"):
        net = fm.Sequential(
            [L.Dense(70, "tanh"), L.BatchNorm(), L.Activation("relu"), L.Dense(33, "softmax")],
            input_dim=50,
            seed=1,
            dtype=dtype,
        )
        x = np.random.default_rng(2).normal(size=(67, 50)).astype(dtype)
        expected = net.predict(x)
        rows = np.concatenate([net.predict(x[i : i + 1]) for i in range(len(x))])
        assert rows.tobytes() == expected.tobytes()
        for batch_size in (1, 5, 66, 1000):
            assert net.predict(x, batch_size=batch_size).tobytes() == expected.tobytes()


def copies(net):
    file = io.BytesIO(pickle.dumps(net))
    return {
        "deepcopy": copy.deepcopy(net),
        "copy": copy.copy(net),
        "pickle": pickle.load(file),
    }


@pytest.mark.parametrize("how", ["deepcopy", "copy", "pickle", "file"])
def test_copies_are_whole_and_apart(how, tmp_path):
    net = classifier()
    net.fit(X, LABELS, epochs=2, batch_size=BATCH)
    if how == "file":
        net.save(tmp_path / "network")
        other = fm.load(tmp_path / "network")
    else:
        other = copies(net)[how]
    assert type(other) is fm.Sequential and other.seed == net.seed and other.dtype == net.dtype
    assert other.optimizer == net.optimizer and other.loss == net.loss and other.metrics == net.metrics
    assert repr(other) == repr(net)
    same(net, other)
    kept = contents(net)
    assert not any(np.shares_memory(net.parameters[key], other.parameters[key]) for key in net.parameters)
    history = other.fit(X, LABELS, epochs=2, batch_size=BATCH).history
    assert contents(net) == kept
    other.optimizer.learning_rate = 7.0
    assert net.optimizer.learning_rate == 0.001
    assert net.fit(X, LABELS, epochs=2, batch_size=BATCH).history == history  # masks, shuffling, counters go on alike
    same(net, other)


def test_copies_of_networks_that_are_not_built_or_not_compiled():
    unbuilt = fm.Sequential([L.Dense(8, "relu"), L.Dense(3, name="out")], seed=5)
    uncompiled = fm.Sequential([L.Dense(8, "relu")], input_dim=FEATURES, seed=5)
    for net in (unbuilt, uncompiled):
        for other in copies(net).values():
            assert other.built == net.built and other.seed == 5 and other.optimizer is None
            assert [layer.name for layer in other.layers] == [layer.name for layer in net.layers]
            assert repr(other) == repr(net)
    assert copies(unbuilt)["pickle"].predict(X).tobytes() == unbuilt.predict(X).tobytes()


def test_copies_of_registered_plugins(register):
    register("activations", "test_api.cube", Cube)
    register("layers", "test_api.linear", Linear)
    register("layers", "test_api.block", Block)
    register("losses", "test_api.huber", Huber)
    register("optimizers", "test_api.adam", NumPyAdam)
    layers = [Block(5, depth=2), L.Dense(8, Cube()), Linear(6), L.Dense(CLASSES)]
    net = network(*layers, optimizer=NumPyAdam(0.01, beta_1=0.8), loss=Huber(0.5))
    net.fit(X, ROWS, epochs=2, batch_size=BATCH)
    for other in copies(net).values():
        same(net, other)
        assert other.optimizer.beta_1 == 0.8 and other.loss.delta == 0.5
        ours, theirs = copy.deepcopy(net), other
        assert ours.fit(X, ROWS).history == theirs.fit(X, ROWS).history
        same(ours, theirs)


def test_a_plugin_that_is_not_registered_names_the_remedy(tmp_path):
    net = network(Linear(CLASSES))
    with pytest.raises(fm.UnknownNameError, match=r"Linear.*register\("):
        net.save(tmp_path / "net")
    assert not (tmp_path / "net").exists()
    net.train_on_batch(X, ROWS)  # and harms nothing


@pytest.mark.parametrize("name", ["a/b", " ", "a\nb", "é", "-1", "kernel", "..%"])
def test_odd_names_of_layers_survive_a_file(name, tmp_path):
    if "." in name:
        name = name.replace(".", "'")
    net = fm.Sequential([L.Dense(3, name=name), L.BatchNorm()], input_dim=FEATURES, seed=1)
    net.save(tmp_path / "net")
    other = fm.load(tmp_path / "net")
    assert list(other.parameters) == list(net.parameters) and other.layers[0].name == name
    assert other.predict(X).tobytes() == net.predict(X).tobytes()


def test_number_of_threads():
    before = fm.get_num_threads()
    assert before >= 1
    with fm.num_threads(3):
        assert fm.get_num_threads() == 3
        with fm.num_threads(7):
            assert fm.get_num_threads() == 7
            fm.set_num_threads(2)
            assert fm.get_num_threads() == 2
        assert fm.get_num_threads() == 3
        elsewhere = []
        thread = threading.Thread(target=lambda: elsewhere.append(fm.get_num_threads()))
        thread.start()
        thread.join()
        assert elsewhere == [before]  # this thread of Python only
        with pytest.raises(ZeroDivisionError), fm.num_threads(5):
            raise ZeroDivisionError
        assert fm.get_num_threads() == 3
    assert fm.get_num_threads() == before


def test_bits_do_not_depend_on_threads():
    x = np.random.default_rng(1).normal(size=(300, 90)).astype("f4")
    y = np.random.default_rng(2).integers(0, 10, 300)

    def run(threads):
        layers = [L.Dense(130), L.BatchNorm(), L.Activation("relu"), L.Dropout(0.3), L.Dense(10, "softmax")]
        net = fm.Sequential(layers, input_dim=90, seed=1)
        net.compile("adam", "sparse_categorical_crossentropy", ["accuracy"])
        with fm.num_threads(threads):
            history = net.fit(x, y, epochs=2, batch_size=128).history
            return contents(net), history, net.predict(x).tobytes()

    expected = run(1)
    for threads in (2, 3, 5):
        assert run(threads) == expected


def test_predictions_in_several_threads():
    net = classifier()
    x = np.random.default_rng(1).normal(size=(3000, FEATURES)).astype("f4")
    expected, found = net.predict(x).tobytes(), []
    threads = [
        threading.Thread(target=lambda: found.extend(net.predict(x).tobytes() == expected for _ in range(20)))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [True] * 80


def test_config(capsys):
    config = fm.config()
    assert config["version"] == fm.__version__
    assert config["instruction_set"] in config["instruction_sets"]
    assert isinstance(config["openmp"], bool) and isinstance(config["plugins"], dict)
    with fm.num_threads(3):
        assert fm.config()["threads"] == 3
        assert fm.show_config() is None
    text = capsys.readouterr().out
    for word in (fm.__version__, config["instruction_set"], "threads: 3", "openmp", "plugins"):
        assert word in text
