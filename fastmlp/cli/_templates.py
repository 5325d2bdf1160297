"""The texts of a new package; ``@NAME@`` and the like are filled in."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["FILES", "KINDS", "Example"]


class Example(NamedTuple):
    """What a new package of some kind begins with."""

    base: str
    doc: str
    body: str
    test: str


KINDS = {
    "activations": Example(
        "activations.Activation",
        "``a = z / (1 + |z|)``: a bounded curve without exponentials.",
        """\
    initializer = "lecun_normal"  # what a layer before it takes when it is given none

    def forward(self, z):
        \"\"\"Return ``a``: a new array of the shape and dtype of `z`.\"\"\"
        return z / (1 + np.abs(z))

    def derivative(self, z, a):
        \"\"\"Return ``da/dz``.\"\"\"
        return 1 / (1 + np.abs(z)) ** 2
""",
        """\
    a = made.forward(np.array([-1.0, 0.0, 3.0]))
    assert a.tolist() == [-0.5, 0.0, 0.75]
""",
    ),
    "initializers": Example(
        "initializers.Initializer",
        "``w ~ U(-limit, limit)`` with ``limit = sqrt(gain / inputs)``.",
        """\
    def __init__(self, gain=1.0):
        self.gain = gain  # kept under its own name: that is the configuration

    def __call__(self, shape, rng, dtype):
        \"\"\"Return new values of `shape` and `dtype`, drawn from `rng` alone.\"\"\"
        limit = np.sqrt(self.gain / shape[0])
        return rng.uniform(-limit, limit, shape).astype(dtype)
""",
        """\
    w = made((100, 20), np.random.default_rng(0), "float64")
    assert 0.09 < np.abs(w).max() <= 0.1
""",
    ),
    "optimizers": Example(
        "optimizers.Optimizer",
        "``m = beta m + g``, ``w -= learning_rate m``: steps along a decaying sum of gradients.",
        """\
    elementwise = True  # each number moves by its own gradient and state alone

    def __init__(self, learning_rate=0.01, beta=0.9, **options):
        super().__init__(learning_rate, **options)  # weight_decay, clipnorm and the like
        self.beta = beta  # kept under its own name: that is the configuration

    def init_state(self, param):
        \"\"\"Return what is remembered of `param`.\"\"\"
        return {"m": np.zeros_like(param)}

    def update(self, param, grad, state, learning_rate, step):
        \"\"\"Change `param` and `state` in place.\"\"\"
        m = state["m"]
        m *= self.beta
        m += grad
        param -= learning_rate * m
""",
        """\
    w = np.array([1.0])
    state = made.init_state(w)
    made.update(w, np.array([2.0]), state, 0.25, 1)
    assert w.tolist() == [0.5] and state["m"].tolist() == [2.0]
""",
    ),
    "layers": Example(
        "layers.Layer",
        "``y = scale x``, a learned factor for each column.",
        """\
    def build(self, input_dim):
        \"\"\"Ask for parameters; return the number of outputs.\"\"\"
        self.add_parameter("scale", (input_dim,), "ones")
        return input_dim

    def forward(self, x, *, training, rng):
        \"\"\"Return the outputs, and what takes their gradient back.\"\"\"
        scale = self.parameters["scale"]

        def backward(dy):
            return dy * scale, {"scale": (dy * x).sum(axis=0)}

        return np.multiply(x, scale), backward
""",
        """\
    net = fm.Sequential([made], input_dim=2, seed=0)
    net.parameters["0.scale"] = [2.0, 3.0]
    assert net.predict(np.ones((1, 2))).tolist() == [[2.0, 3.0]]
""",
    ),
    "losses": Example(
        "losses.Loss",
        "``sum_j log cosh(yhat_j - y_j)``: squared error for small errors, absolute error for large ones.",
        """\
    def value_and_gradient(self, y_true, y_pred):
        \"\"\"Return one value per row, and the gradient by `y_pred`.\"\"\"
        d = y_pred - y_true
        value = np.logaddexp(d, -d) - np.log(2.0).astype(d.dtype)
        return value.sum(axis=1), np.tanh(d)
""",
        """\
    value, gradient = made.value_and_gradient(np.zeros((1, 2)), np.array([[0.0, 30.0]]))
    assert abs(value[0] - (30.0 - np.log(2.0))) < 1e-12
    assert gradient.tolist() == [[0.0, 1.0]]
""",
    ),
    "regularizers": Example(
        "regularizers.Regularizer",
        "``strength sum w^2 / (1 + w^2)``: small weights are drawn to 0, large ones are left alone.",
        """\
    def __init__(self, strength=0.01):
        self.strength = strength  # kept under its own name: that is the configuration

    def value_and_gradient(self, w):
        \"\"\"Return the penalty, one number, and its gradient by `w`.\"\"\"
        below = 1 + w * w
        return self.strength * np.sum(w * w / below), 2 * self.strength * w / below**2
""",
        """\
    value, gradient = made.value_and_gradient(np.array([0.0, 1.0]))
    assert value == 0.005 and gradient.tolist() == [0.0, 0.005]
""",
    ),
    "constraints": Example(
        "constraints.Constraint",
        "``clip(w, -limit, limit)``: no weight is larger than ``limit``.",
        """\
    def __init__(self, limit=1.0):
        self.limit = limit  # kept under its own name: that is the configuration

    def __call__(self, w):
        \"\"\"Return what `w` becomes after an update: a new array of its shape.\"\"\"
        return np.clip(w, -self.limit, self.limit)
""",
        """\
    assert made(np.array([-3.0, 0.5, 2.0])).tolist() == [-1.0, 0.5, 1.0]
""",
    ),
    "schedules": Example(
        "schedules.Schedule",
        "``initial_learning_rate / sqrt(1 + decay_rate (step - 1))``.",
        """\
    def __init__(self, initial_learning_rate=0.1, decay_rate=1.0):
        self.initial_learning_rate = initial_learning_rate  # kept under its own name: that is the configuration
        self.decay_rate = decay_rate

    def __call__(self, step):
        \"\"\"Return the value at `step`, which counts from 1; the same at every call.\"\"\"
        return float(self.initial_learning_rate / np.sqrt(1 + self.decay_rate * (step - 1)))
""",
        """\
    assert [made(step) for step in (1, 4, 16)] == [0.1, 0.05, 0.025]
    assert np.isclose(fm.optimizers.SGD(made).learning_rate_at(9), 0.1 / 3)
""",
    ),
    "metrics": Example(
        "metrics.Metric",
        "``mean_j [|yhat_j - y_j| <= tolerance]``: the share of outputs that are close to their targets.",
        """\
    labels = False  # targets are rows, not numbers of classes
    better = "higher"

    def __init__(self, tolerance=0.1):
        self.tolerance = tolerance  # kept under its own name: that is the configuration

    def rows(self, y_true, y_pred):
        \"\"\"Return one value for each row; the metric is their mean by the sample weights.\"\"\"
        return (np.abs(y_pred - y_true) <= self.tolerance).mean(axis=1)
""",
        """\
    assert made.rows(np.zeros((2, 2)), np.array([[0.0, 0.05], [0.5, -0.1]])).tolist() == [1.0, 0.5]
""",
    ),
}

PYPROJECT = """\
[build-system]
requires = ["setuptools>=77"]
build-backend = "setuptools.build_meta"

[project]
name = "@NAME@"
version = "0.1.0"
description = "The @KIND@ @PLAIN@ for fastmlp"
readme = "README.md"
license = "BSD-3-Clause"
license-files = ["LICENSE"]
requires-python = ">=3.10"
dependencies = ["fastmlp>=0.1", "numpy>=1.26"]

[project.optional-dependencies]
test = ["pytest>=8"]

[project.entry-points."fastmlp.@KINDS@"]
@PLAIN@ = "@PACKAGE@:@CLASS@"

[tool.setuptools.packages.find]
where = ["src"]

[tool.setuptools.package-data]
@PACKAGE@ = ["py.typed"]

[tool.pytest.ini_options]
testpaths = ["tests"]
addopts = ["--import-mode=importlib"]
filterwarnings = ["error"]
"""

MODULE = '''\
"""The @KIND@ ``@PLAIN@``, found by fastmlp through the entry point in pyproject.toml."""

import numpy as np

import fastmlp as fm

__all__ = ["@CLASS@"]


class @CLASS@(fm.@BASE@):
    """@DOC@"""

@BODY@'''

TEST = '''\
"""@NAME@: every check of fastmlp's conformance kit, and values worked by hand."""

import numpy as np
import pytest

import fastmlp as fm
from fastmlp import testing


@pytest.mark.parametrize("check", testing.checks_of("@NAME@"), ids=str)
def test_conformance(check):
    check()


def test_values():
    made = fm.registry.@KINDS@.get("@NAME@:@PLAIN@")
@TEST@'''

README = """\
# @NAME@

The @KIND@ `@PLAIN@` for fastmlp: @DOC@

```
pip install ".[test]"
pytest
fastmlp plugins check @NAME@
```

After `pip install`, the name `"@PLAIN@"` works wherever fastmlp takes the name of one of its @KINDS@, and so does
`"@NAME@:@PLAIN@"`, which is what saved networks write down. The entry point in `pyproject.toml` is what makes it so.

To be made one's own: the class, this text, the licence (`LICENSE`, and `license` in `pyproject.toml`), and the versions
of Python in `.github/workflows/test.yml`.
"""

LICENSE = """\
BSD 3-Clause License

Copyright (c) the authors of @NAME@

Redistribution and use in source and binary forms, with or without
modification, are permitted provided that the following conditions are met:

1. Redistributions of source code must retain the above copyright notice, this
   list of conditions and the following disclaimer.

2. Redistributions in binary form must reproduce the above copyright notice,
   this list of conditions and the following disclaimer in the documentation
   and/or other materials provided with the distribution.

3. Neither the name of the copyright holder nor the names of its
   contributors may be used to endorse or promote products derived from
   this software without specific prior written permission.

THIS SOFTWARE IS PROVIDED BY THE COPYRIGHT HOLDERS AND CONTRIBUTORS "AS IS"
AND ANY EXPRESS OR IMPLIED WARRANTIES, INCLUDING, BUT NOT LIMITED TO, THE
IMPLIED WARRANTIES OF MERCHANTABILITY AND FITNESS FOR A PARTICULAR PURPOSE ARE
DISCLAIMED. IN NO EVENT SHALL THE COPYRIGHT HOLDER OR CONTRIBUTORS BE LIABLE
FOR ANY DIRECT, INDIRECT, INCIDENTAL, SPECIAL, EXEMPLARY, OR CONSEQUENTIAL
DAMAGES (INCLUDING, BUT NOT LIMITED TO, PROCUREMENT OF SUBSTITUTE GOODS OR
SERVICES; LOSS OF USE, DATA, OR PROFITS; OR BUSINESS INTERRUPTION) HOWEVER
CAUSED AND ON ANY THEORY OF LIABILITY, WHETHER IN CONTRACT, STRICT LIABILITY,
OR TORT (INCLUDING NEGLIGENCE OR OTHERWISE) ARISING IN ANY WAY OUT OF THE USE
OF THIS SOFTWARE, EVEN IF ADVISED OF THE POSSIBILITY OF SUCH DAMAGE.
"""

GITIGNORE = """\
/build/
/dist/
*.egg-info/
__pycache__/
.pytest_cache/
.venv/
"""

WORKFLOW = """\
name: test
on: [push, pull_request]

jobs:
  test:
    runs-on: ubuntu-latest
    strategy:
      matrix:
        python-version: ["3.10", "3.13"]
    steps:
      - uses: actions/checkout@v4
      - uses: actions/setup-python@v5
        with:
          python-version: ${{ matrix.python-version }}
      - run: pip install ".[test]"
      - run: pytest
      - run: fastmlp plugins check @NAME@
"""

FILES = {
    "pyproject.toml": PYPROJECT,
    "README.md": README,
    "LICENSE": LICENSE,
    ".gitignore": GITIGNORE,
    ".github/workflows/test.yml": WORKFLOW,
    "src/@PACKAGE@/__init__.py": MODULE,
    "src/@PACKAGE@/py.typed": "",
    "tests/test_@PACKAGE@.py": TEST,
}
