"""Makes ``optimizers.json``: where numbers are after 1, 2, 10, 30 and 60 steps in float64, by rules that are not ours.

    pip install torch && python tests/golden/optimizers.py            # compares the file with what torch gives now
    pip install torch && python tests/golden/optimizers.py --write    # writes it

The rule is torch.optim's where it has one; Lion's is the paper's and "nadam of Keras" Keras's, both written out below,
number by number. Some gradients are near 1e-6 and 1e-8, where the place of epsilon shows, and one is always 0. The file
was made with torch 2.13.0.
"""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Any, NamedTuple

FILE = Path(__file__).with_suffix(".json")
STEPS = 60
KEPT = (1, 2, 10, 30, 60)  # steps after which numbers are kept
SCALES = (1.0, 1e-2, 1e-4, 3e-6, 1e-6, 1e-6, 1e-8, 0.0)  # of gradients
START = (-1.5, -1.0, -0.5, -0.25, 0.25, 0.5, 1.0, 2.0)
RATE = 0.01


class Case(NamedTuple):
    """One optimizer: ours and its settings, and where the golden values come from."""

    ours: str
    settings: dict[str, Any]
    torch: str | None
    torch_settings: dict[str, Any]


CASES = {
    "sgd": Case("SGD", {}, "SGD", {}),
    "momentum": Case("SGD", {"momentum": 0.9}, "SGD", {"momentum": 0.9}),
    "nesterov": Case("SGD", {"momentum": 0.9, "nesterov": True}, "SGD", {"momentum": 0.9, "nesterov": True}),
    "rmsprop": Case("RMSprop", {"rho": 0.99}, "RMSprop", {}),
    "rmsprop, centered": Case("RMSprop", {"centered": True}, "RMSprop", {"alpha": 0.9, "centered": True}),
    "rmsprop, momentum": Case("RMSprop", {"momentum": 0.8}, "RMSprop", {"alpha": 0.9, "momentum": 0.8}),
    "rmsprop, both": Case(
        "RMSprop",
        {"momentum": 0.8, "centered": True},
        "RMSprop",
        {"alpha": 0.9, "momentum": 0.8, "centered": True},
    ),
    "adagrad": Case("Adagrad", {}, "Adagrad", {}),
    "adagrad from 0.1": Case(
        "Adagrad",
        {"initial_accumulator_value": 0.1, "epsilon": 1e-3},
        "Adagrad",
        {"initial_accumulator_value": 0.1, "eps": 1e-3},
    ),
    "adadelta": Case("Adadelta", {"rho": 0.9}, "Adadelta", {}),
    "adam": Case("Adam", {}, "Adam", {}),
    "adam, other betas": Case("Adam", {"beta_1": 0.5, "beta_2": 0.8}, "Adam", {"betas": (0.5, 0.8)}),
    "amsgrad": Case("Adam", {"amsgrad": True, "beta_2": 0.9}, "Adam", {"amsgrad": True, "betas": (0.9, 0.9)}),
    "adamw": Case("AdamW", {}, "AdamW", {}),
    "adamw, amsgrad": Case(
        "AdamW", {"amsgrad": True, "weight_decay": 0.1}, "AdamW", {"amsgrad": True, "weight_decay": 0.1}
    ),
    "adamax": Case("Adamax", {}, "Adamax", {}),
    "nadam": Case("Nadam", {}, "NAdam", {}),
    "nadam of Keras": Case("Nadam", {"momentum_decay": 1.0}, None, {}),
    "radam": Case("RAdam", {}, "RAdam", {}),
    "radam, always damped": Case("RAdam", {"beta_2": 0.6}, "RAdam", {"betas": (0.9, 0.6)}),
    "lion": Case("Lion", {}, None, {}),
}


def gradient(step: int) -> list[float]:
    """Return the gradients of a step, counted from 1: the same everywhere, without a generator."""
    return [scale * ((37 * step + 23 * i * i + 11 * i) % 64 - 28) / 32 for i, scale in enumerate(SCALES)]


def by_torch(case: Case) -> list[list[float]]:
    """Return the numbers after the steps that are kept, as torch has them."""
    import torch

    torch.set_default_dtype(torch.float64)  # NAdam keeps a product in it
    parameter = torch.tensor(START, dtype=torch.float64, requires_grad=True)
    optimizer = getattr(torch.optim, case.torch)([parameter], lr=RATE, **case.torch_settings)
    kept = []
    for step in range(1, STEPS + 1):
        parameter.grad = torch.tensor(gradient(step), dtype=torch.float64)
        optimizer.step()
        if step in KEPT:
            kept.append(parameter.detach().tolist())
    return kept


def lion(gradients: list[float], w: float) -> list[float]:
    """Return one number after each step: Algorithm 2 of Chen and others, arXiv:2302.06675, without decay."""
    m, found = 0.0, []
    for g in gradients:
        c = 0.9 * m + (1 - 0.9) * g
        w = w - RATE * ((c > 0) - (c < 0))
        m = 0.99 * m + (1 - 0.99) * g
        found.append(w)
    return found


def nadam_of_keras(gradients: list[float], w: float) -> list[float]:
    """Return one number after each step by the rule of keras.optimizers.Nadam (Keras 3), with an epsilon of 1e-8."""
    m, v, u_product, found = 0.0, 0.0, 1.0, []
    for t, g in enumerate(gradients, start=1):
        u_t = 0.9 * (1.0 - 0.5 * 0.96**t)
        u_t_1 = 0.9 * (1.0 - 0.5 * 0.96 ** (t + 1))
        u_product *= u_t
        m = m + (g - m) * (1 - 0.9)
        v = v + (g * g - v) * (1 - 0.999)
        m_hat = u_t_1 * m / (1 - u_product * u_t_1) + (1 - u_t) * g / (1 - u_product)
        v_hat = v / (1 - 0.999**t)
        w = w - m_hat * RATE / (math.sqrt(v_hat) + 1e-8)
        found.append(w)
    return found


RULES = {"lion": lion, "nadam of Keras": nadam_of_keras}


def made(name: str) -> list[list[float]]:
    """Return the golden values of one case, made anew."""
    case = CASES[name]
    if case.torch is not None:
        return by_torch(case)
    steps = [gradient(step) for step in range(1, STEPS + 1)]
    columns = [RULES[name]([row[i] for row in steps], w) for i, w in enumerate(START)]
    return [[column[step - 1] for column in columns] for step in KEPT]


def main() -> None:
    """Write the file, or compare it with what is made now."""
    found = {name: made(name) for name in CASES}
    if "--write" in sys.argv[1:]:
        lines = [
            f"{json.dumps(name)}: [\n" + ",\n".join(json.dumps(row) for row in rows) + "\n]"
            for name, rows in found.items()
        ]
        FILE.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
        return
    stored = json.loads(FILE.read_text(encoding="utf-8"))
    for name, rows in found.items():
        now, then = ([number for row in part for number in row] for part in (rows, stored[name]))
        print(f"{name}: {max(abs(a - b) for a, b in zip(now, then, strict=True)):.1e}")


if __name__ == "__main__":
    main()
