"""Names of hyper-parameters: those of torch and scikit-learn are refused with ours, those of before are read."""

from typing import ClassVar

import numpy as np
import pytest

import fastmlp as fm
from fastmlp.configurable import Configurable
from fastmlp.layers import Dense

BUILT_INS = [fm.registry.optimizers.resolve(name) for name in fm.registry.optimizers.builtins()]
NAMES = {  # of others, and ours
    "lr": ["learning_rate"],
    "learning_rate_init": ["learning_rate"],
    "betas": ["beta_1", "beta_2"],
    "beta1": ["beta_1"],
    "beta2": ["beta_2"],
    "eps": ["epsilon"],
    "alpha": ["rho"],
    "nesterovs_momentum": ["nesterov"],
}
PAIRS = [
    (cls, name, ours)
    for cls in BUILT_INS
    for name, ours in NAMES.items()
    if set(ours) <= set(cls().get_config()) and (name != "alpha" or cls is fm.optimizers.RMSprop)
]


@pytest.mark.parametrize("cls, name, ours", PAIRS)
def test_names_of_other_libraries_are_refused_with_ours(cls, name, ours):
    meant = " and ".join(map(repr, ours))
    makers = [lambda: cls(**{name: 0.5}), lambda: fm.optimizers.get({"name": cls, name: 0.5})]
    if name not in cls.renamed:  # else it is read, see below
        makers.append(lambda: cls.from_config({name: 0.5}))
    for make in makers:
        with pytest.raises(TypeError, match=f"{name!r}, here called {meant}; accepted: learning_rate="):
            make()
    optimizer = cls()
    with pytest.raises(AttributeError, match=f"{name!r}: did you mean {meant}"):
        setattr(optimizer, name, 0.5)
    assert optimizer == cls()


@pytest.mark.parametrize("cls", BUILT_INS)
def test_what_an_optimizer_does_not_have_is_refused_with_what_it_has(cls):
    for name in {"momentum", "amsgrad", "centered", "betas", "alpha", "ema"} - cls().get_config().keys():
        if (cls, name) in [pair[:2] for pair in PAIRS]:
            continue
        with pytest.raises(TypeError, match=f"{cls.__name__}: unknown parameter {name!r}; accepted: learning_rate="):
            cls(**{name: 0.5})
        with pytest.raises(AttributeError, match=f"no attribute {name!r}.*learning_rate"):
            setattr(cls(), name, 0.5)


def test_a_class_of_ones_own_tells_as_much():
    class Own(fm.optimizers.Optimizer):
        def __init__(self, learning_rate=0.1, epsilon=1e-3, **kwargs):
            super().__init__(learning_rate, **kwargs)
            self.epsilon = epsilon

    with pytest.raises(
        TypeError, match=r"Own: unknown parameter 'eps', here called 'epsilon'; accepted: .*epsilon=0.001"
    ):
        Own(eps=1e-8)


def test_names_of_before_are_read():
    adam = fm.optimizers.Adam.from_config({"learning_rate": 0.1, "beta1": 0.5, "beta2": 0.75, "epsilon": 1e-7})
    assert adam == fm.optimizers.Adam(0.1, beta_1=0.5, beta_2=0.75, epsilon=1e-7)
    assert "beta1" not in adam.get_config()
    with pytest.raises(TypeError, match="unknown parameter 'beta1', here called 'beta_1'"):
        fm.optimizers.Adam.from_config({"beta1": 0.5, "beta_1": 0.6})  # of neither version


def test_a_file_with_names_of_before_is_loaded(tmp_path, rewrite):
    net = fm.Sequential([Dense(2)], input_dim=3, seed=0)
    net.compile(fm.optimizers.Adam(0.1, beta_1=0.5, beta_2=0.75), "mse")
    x, y = np.ones((4, 3)), np.zeros((4, 2))
    net.fit(x, y, epochs=2, verbose=0)
    net.save(tmp_path / "net")

    def to_before(header):
        config = header["optimizer"]["config"]
        header["optimizer"]["config"] = {
            "learning_rate": config["learning_rate"],
            "beta1": config["beta_1"],
            "beta2": config["beta_2"],
            "epsilon": config["epsilon"],
        }

    loaded = fm.load(rewrite(tmp_path / "net", to_before))
    assert loaded.optimizer == net.optimizer
    for one in (net, loaded):
        one.fit(x, y, verbose=0)
    for key, array in net.parameters.items():
        np.testing.assert_array_equal(loaded.parameters[key], array)


def test_any_class_may_rename_a_parameter():
    class Scale(Configurable):
        renamed: ClassVar = {"factor": "scale"}

        def __init__(self, scale=1.0):
            self.scale = scale

    assert Scale.from_config({"factor": 2.0}).scale == 2.0
    assert Scale.from_config({"scale": 3.0}).scale == 3.0
