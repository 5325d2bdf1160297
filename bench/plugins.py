"""What a foreign activation or optimizer costs: a whole training step, by how it runs.

    python bench/plugins.py --markdown plugins.md

Steps of the same network are interleaved: with the built-in sigmoid, with traced activations, with the same by hand
in C as native kernels (compiled here, if there is a compiler), with a learned parameter, and through NumPy; then
traced Lion against momentum, the built-in that moves as many bytes. Losses of the forms of one activation are
compared before a time counts.
"""

from __future__ import annotations

import argparse
import ctypes
import functools
import os
import pathlib
import shlex
import subprocess
import sys
import sysconfig
import tempfile

import numpy as np
from networks import NETWORKS, data
from timing import interleave, turn

import fastmlp as fm
from fastmlp._kernels import level

SIZES = "small", "tab", "mnist"
HERE = pathlib.Path(__file__).parent


class Swish(fm.activations.Activation):
    """As a user writes it; `recordable` is what keeps the other form out of the plan."""

    def forward(self, z):
        return z / (1 + np.exp(-z))

    def derivative(self, z, a):
        s = 1 / (1 + np.exp(-z))
        return s + a * (1 - s)


class Gelu(fm.activations.Activation):
    def forward(self, z):
        return 0.5 * z * (1 + np.tanh(np.sqrt(2 / np.pi) * (z + 0.044715 * z**3)))


class Mish(fm.activations.Activation):
    def forward(self, z):
        return z * np.tanh(np.log1p(np.exp(z)))


class Softsign(fm.activations.Activation):
    def forward(self, z):
        return z / (1 + np.abs(z))


class Lion(fm.optimizers.Optimizer):
    """Chen and others, arXiv:2302.06675."""

    elementwise = True

    def init_state(self, param):
        return {"m": np.zeros_like(param)}

    def update(self, param, grad, state, learning_rate, step):
        m = state["m"]
        param -= learning_rate * np.sign(0.9 * m + 0.1 * grad)
        m *= 0.99
        m += 0.01 * grad


@functools.cache
def library():
    """The kernels by hand, compiled for this processor; None without a compiler."""
    compiler = shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc")[:1]
    flags = ["-O3", "-march=native", "-fno-math-errno", "-fno-trapping-math", "-shared", "-fPIC"]
    if level == "x86-64-v4":
        flags.append("-mprefer-vector-width=512")
    with tempfile.TemporaryDirectory(prefix="fastmlp-bench-") as folder:
        target = os.path.join(folder, "kernels.so")
        try:
            subprocess.run([*compiler, *flags, str(HERE / "kernels_by_hand.c"), "-o", target], check=True)
        except (OSError, subprocess.CalledProcessError) as error:
            print(f"no kernels by hand: {error}", file=sys.stderr)
            return None
        return ctypes.CDLL(target)


def by_hand(cls):
    """The class with a native kernel."""
    name = cls.__name__.lower()
    pair = getattr(library(), f"{name}_forward"), getattr(library(), f"{name}_backward")
    for function in pair:
        function.restype = None
    native = fm.activations.NativeKernel(float32=pair)
    return type(f"Native{cls.__name__}", (cls,), {"native": native})


def in_numpy(cls):
    """The class, kept out of the plan."""
    return type(f"NumPy{cls.__name__}", (cls,), {"recordable": False})


def forms():
    """Activations by label."""
    found = {"sigmoid, built in": "sigmoid", "relu, built in": "relu"}
    for cls in (Swish, Gelu, Mish):
        found[f"{cls.__name__.lower()}, traced"] = cls()
        if library() is not None:
            found[f"{cls.__name__.lower()}, C"] = by_hand(cls)()
    for per in ("layer", "unit"):
        found[f"learned swish, per {per}"] = fm.activations.get("swish", beta=fm.learned(1.0, per=per))
    return found | {"softsign, traced": Softsign(), "swish, NumPy": in_numpy(Swish)()}


def network(task, kernels, activation, optimizer):
    """Compiled, with the weights that all begin from."""
    layers = [fm.layers.Dense(units, activation=activation) for units in task.sizes[1:-1]]
    net = fm.Sequential([*layers, fm.layers.Dense(task.sizes[-1], "softmax")], input_dim=task.sizes[0], seed=0)
    net.compile(optimizer, "sparse_categorical_crossentropy")
    for number, kernel in enumerate(kernels):
        net.parameters[f"{number}.kernel"] = kernel
    return net


def times(nets, x, y, rounds):
    """Seconds of a step, by label and round."""
    return interleave(
        {label: lambda net=net: turn(lambda: net.train_on_batch(x, y)) for label, net in nets.items()}, rounds
    )


def activation_rows(name, rounds):
    """Steps with each form, against that with the built-in sigmoid."""
    x, y, kernels = data(NETWORKS[name])
    nets = {label: network(NETWORKS[name], kernels, form, "adam") for label, form in forms().items()}
    losses = {label: [net.train_on_batch(x, y)["loss"] for _ in range(3)] for label, net in nets.items()}
    for label, loss in losses.items():
        same = label.split(",")[0] + ", traced"
        np.testing.assert_allclose(loss, losses.get(same, loss), rtol=1e-4, err_msg=label)
    found = times(nets, x, y, rounds)
    for label, seconds in found.items():
        base = "sigmoid, built in"
        hand = label.replace("traced", "C")
        yield name, label, seconds, ratio(seconds, found[base]), ratio(seconds, found[hand]) if hand in found else None


def optimizer_rows(name, rounds):
    """Steps with traced Lion, against momentum."""
    x, y, kernels = data(NETWORKS[name])
    momentum = fm.optimizers.SGD(1e-4, momentum=0.9)
    nets = {"momentum, built in": network(NETWORKS[name], kernels, "relu", momentum)}
    nets["lion, traced"] = network(NETWORKS[name], kernels, "relu", Lion(1e-5))
    # the update alone: gradients that are there, applied
    gradients = {key: np.full(value.shape, 1e-3, value.dtype) for key, value in nets["lion, traced"].parameters.items()}
    updates = {
        f"{label}, update": lambda net=net: turn(lambda: net.apply_gradients(gradients)) for label, net in nets.items()
    }
    found = times(nets, x, y, rounds) | interleave(updates, rounds)
    for label, seconds in found.items():
        base = "momentum, built in" + (", update" if label.endswith("update") else "")
        yield name, label, seconds, ratio(seconds, found[base]), None


def ratio(times, base):
    """Median of the rounds' ratios."""
    return float(np.median(np.array(times) / np.array(base)))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=fm.get_num_threads())
    parser.add_argument("--markdown", type=pathlib.Path)
    arguments = parser.parse_args()
    fm.set_num_threads(arguments.threads)
    lines = [
        f"threads: {arguments.threads}",
        "",
        "| network | step with | us | to the built-in | to C |",
        "| --- | --- | --- | --- | --- |",
    ]
    for name in SIZES:
        for row in (*activation_rows(name, arguments.rounds), *optimizer_rows(name, arguments.rounds)):
            network_, label, seconds, to_builtin, to_c = row
            cell = "" if to_c is None else f"{to_c:.2f}"
            lines.append(f"| {network_} | {label} | {np.median(seconds) * 1e6:.1f} | {to_builtin:.2f} | {cell} |")
            print(lines[-1], file=sys.stderr, flush=True)
    text = "\n".join(lines) + "\n"
    print(text, end="")
    if arguments.markdown:
        arguments.markdown.write_text(text)


if __name__ == "__main__":
    main()
