"""Load mutated files: only ValueError and its kin may come out, and memory must stay small.

    python fuzz/load.py                    until Ctrl-C, or until something is found
    python fuzz/load.py --seconds 30       as CI does: the same inputs each time, as far as the clock allows
    python fuzz/load.py FILE...            some inputs again, such as one that was found

With atheris (``pip install atheris``) mutations follow what they reach in the code; without it they are random, and the
script says so. Mutations are of files that were just saved: networks of all kinds of layers, optimizers and dtypes, and
objects of this script's. Most are made inside of the archive (values of the header, numbers, dtypes, names), and its
checksums are right again, so that they get past the container. What is loaded must be the same network, byte for byte,
once it is saved and loaded again. An input that breaks a rule is written to ``crash-*`` in this folder, or where
``--artifacts`` says.
"""

from __future__ import annotations

import argparse
import copy
import hashlib
import importlib
import io
import json
import pkgutil
import random
import resource
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

try:
    import atheris
except ImportError:
    atheris = None

if atheris is None:
    import fastmlp as fm
else:
    with atheris.instrument_imports(include=["fastmlp"], enable_loader_override=False):
        import fastmlp as fm

        for module in pkgutil.walk_packages(fm.__path__, "fastmlp."):  # also what is imported when it is asked for
            if not module.name.startswith(("fastmlp._kernels", "fastmlp.__main__")):
                importlib.import_module(module.name)

from fastmlp import serialization
from fastmlp.layers import Activation, BatchNorm, Dense, Dropout, LayerNorm, Residual

HEADER = "fastmlp.json"
MEGABYTES = 300  # that this process may take at most, Python, NumPy and the corpus included
SLOW = 20  # seconds of a processor, where each line is counted too

Arrays = dict[str, np.ndarray]


# -- the corpus ------------------------------------------------------------------------------------------------------


@fm.registry.activations.register("bend")
class Bend(fm.activations.Activation):
    """An activation of somebody's own, with all that a configuration can hold."""

    def __init__(self, beta: Any = 1.0, options: Any = None) -> None:
        self.beta = beta
        self.options = options

    def forward(self, z: np.ndarray) -> np.ndarray:
        return z / (1 + self.beta * np.abs(z))


@fm.registry.layers.register("shift")
class Shift(fm.layers.Layer):
    """A layer in NumPy."""

    def build(self, input_dim: int) -> int:
        self.add_parameter("shift", (input_dim,))
        self.add_buffer("calls", (1,))
        return input_dim

    def forward(self, x: np.ndarray, *, training: bool, rng: np.random.Generator) -> Any:
        return x + self.parameters["shift"], lambda dy: (dy, {"shift": dy.sum(axis=0)})


@fm.registry.optimizers.register("slow")
class Slow(fm.optimizers.Optimizer):
    """An optimizer in NumPy, whose state has a shape and a dtype of its own."""

    def init_state(self, param: np.ndarray) -> dict[str, np.ndarray]:
        return {"mean": np.zeros_like(param), "steps": np.zeros(2, np.int64)}

    def update(self, param: Any, grad: Any, state: Any, learning_rate: float, step: int) -> None:
        param -= learning_rate * grad


def networks() -> list[fm.Sequential]:
    """Return networks of all kinds, small ones."""
    labels = "sparse_categorical_crossentropy"
    bend = Bend(fm.learned(0.5, per="unit"), {"a": (1, [2.5, None]), 3: np.arange(3.0)})
    recorded = fm.activations.recorded(lambda z, beta=1.5: np.tanh(beta * z) + z)
    stacks: list[tuple[list[Any], Any, Any]] = [
        ([Dense(4, "relu"), Dense(3, "softmax")], "adam", labels),
        ([Dense(4), BatchNorm(), Activation("tanh"), Dropout(0.5), Dense(1)], fm.optimizers.SGD(0.1, 0.9, True), "mse"),
        ([Dense(4, "prelu", name="first"), LayerNorm(), Dense(2)], "rmsprop", "mse"),
        ([Residual([Dense(3, recorded), Dense(3)]), Dense(1, "sigmoid")], "adam", "binary_crossentropy"),
        ([Dense(2, bend), Shift(name="shift"), Dense(1)], Slow(0.1), "mae"),
        ([Dense(2, kernel_regularizer=fm.regularizers.L2(0.1)), Dense(1)], "sgd", "mse"),
    ]
    found = []
    for number, (layers, optimizer, loss) in enumerate(stacks):
        net = fm.Sequential(layers, input_dim=3, dtype=("float32", "float64")[number % 2], seed=number)
        net.compile(optimizer, loss, ["accuracy"] if loss != "mae" else ())
        rng = np.random.default_rng(number)
        y = rng.integers(0, 2, 8) if loss == labels else rng.random((8, net.layers[-1].units))
        net.train_on_batch(rng.normal(size=(8, 3)), y)
        net.metadata["classes"] = ["a", "b"]
        found.append(net)
    return [*found, fm.Sequential([Dense(2, "gelu"), Dense(1)], seed=2**64 - 1)]


def corpus() -> list[bytes]:
    """Return files of all networks, one of them packed, and one as it was before there were checksums."""
    files = [serialization.to_bytes(net.engine) for net in networks()]
    arrays = unpacked(files[1])
    header = json.loads(arrays[HEADER].tobytes())
    header["format"] = 1
    plain = {name: array for name, array in arrays.items() if name != "checksums"}
    plain[HEADER] = np.frombuffer(json.dumps(header).encode(), np.uint8)
    return [*files, packed(arrays, compressed=True), packed(plain, sums=False)]


# -- archives --------------------------------------------------------------------------------------------------------


def unpacked(data: bytes) -> Arrays:
    """Return the arrays of an archive."""
    with np.load(io.BytesIO(data), allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


def packed(arrays: Arrays, *, sums: bool = True, compressed: bool = False) -> bytes:
    """Return an archive, its checksums made anew."""
    arrays = dict(arrays)
    if sums:
        arrays.pop("checksums", None)
        rows = b"".join(serialization.checksum(name, arrays[name]) for name in sorted(arrays))
        arrays["checksums"] = np.frombuffer(rows, np.uint8).reshape(len(arrays), -1)
    file = io.BytesIO()
    (np.savez_compressed if compressed else np.savez)(file, **arrays)
    return file.getvalue()


# -- mutations -------------------------------------------------------------------------------------------------------

VALUES: list[Any] = [
    *(None, True, False, 0, 1, -1, 2, 3, 255, 2**31, 2**63 - 1, 2**64, 10**30, 0.5, -0.0, 1e-320, 1e308, 1e999),
    *(float("nan"), "", "x", "0", "dense", "adam", "relu", "float64", "<f8", "<U9", "unit", "os:system", "\x1b[2J\n"),
    *([], {}, [[]], [0], [None] * 5, {"kind": "tuple", "items": []}, {"kind": "dict", "items": [[1, 2]]}),
    {"kind": "array", "dtype": "<f4", "values": [1.0, 2.0]},
    {"kind": "learned", "value": 0.5, "per": "layer"},
]


def places(value: Any) -> list[tuple[Any, Any]]:
    """Return every (container, key) of a tree."""
    found, waiting = [], [value]
    while waiting:
        part = waiting.pop()
        if isinstance(part, (dict, list)):
            keys = list(part) if isinstance(part, dict) else range(len(part))
            found += [(part, key) for key in keys]
            waiting += part.values() if isinstance(part, dict) else part
    return found


def mutate_header(header: Any, rng: random.Random) -> None:
    """Change a value somewhere in a header: to another kind, another size, another place."""
    spots = places(header)
    if not spots:
        return
    container, key = rng.choice(spots)
    value = container[key]
    how = rng.randrange(8)
    if how == 0:
        other, other_key = rng.choice(spots)
        container[key] = copy.deepcopy(other[other_key])
    elif how == 1:
        del container[key]
    elif how == 2 and isinstance(container, list):
        container[key:key] = [copy.deepcopy(value)] * rng.choice((1, 2, 50))
    elif how == 2:
        container[str(rng.choice(VALUES))] = value
    elif how == 3 and isinstance(value, (int, float)):
        container[key] = value * rng.choice((-1, 0.5, 2, 10, 1e9)) + rng.choice((0, 1, -1))
    elif how == 4 and isinstance(value, str):
        at = rng.randrange(len(value) + 1)
        container[key] = (
            value[:at] + rng.choice(("\x00", "é", ":", "..", "9" * 20, "\ud800")) + value[at + rng.randrange(2) :]
        )
    elif how == 5:
        for _ in range(rng.choice((1, 3, 120))):
            value = [value]
        container[key] = value
    else:
        container[key] = copy.deepcopy(rng.choice(VALUES))


def mutate_arrays(arrays: Arrays, rng: random.Random) -> None:
    """Change the numbers, dtype, shape, name or presence of an array."""
    name = rng.choice(list(arrays))
    array = arrays[name]
    how = rng.randrange(8)
    if how == 0:
        del arrays[name]
    elif how == 1:
        arrays[name + rng.choice(("x", "/", "\n", "é", ".npy"))] = arrays.pop(name)
    elif how == 2:
        arrays[name] = arrays[rng.choice(list(arrays))]
    elif how == 3:
        arrays[name] = array.astype(rng.choice(("f2", "f4", "f8", ">f4", "i8", "u1", "?", "c8", "S3", "U2", "M8[s]")))
    elif how == 4:
        arrays[name] = array.reshape(rng.choice(((-1,), (1, -1), (-1, 1), array.shape[::-1])))
    elif how == 5:
        arrays[name] = np.resize(array, rng.choice(((0,), (1,), (array.size + 1,), (0, 10**9), (70_000,))))
    elif array.size and array.dtype.kind == "f":
        array = array.copy()
        array.flat[rng.randrange(array.size)] = rng.choice((np.nan, np.inf, -np.inf, -1.0, -0.0, 3e38, 1e-320))
        arrays[name] = array
    else:
        arrays[name] = np.asfortranarray(array)


def mutate_container(data: bytes, rng: random.Random) -> bytes:
    """Change the directory, or what stands around the archive."""
    if len(data) < 64:
        return rng.randbytes(rng.randrange(64))
    changed = bytearray(data)
    how = rng.randrange(6)
    directory = data.rfind(b"PK\x01\x02", 0, rng.randrange(1, len(data) + 1))
    if how == 0:
        return rng.randbytes(rng.randrange(1, 40)) + data
    if how == 1:
        return data + rng.randbytes(rng.randrange(1, 40))
    if how == 2:
        return data[: rng.randrange(len(data))]
    if how == 3 and directory >= 0:
        field, size = rng.choice(((8, 2), (10, 2), (16, 4), (20, 4), (24, 4), (28, 2), (30, 2), (32, 2), (42, 4)))
        number = rng.choice((0, 1, 8, 63, 64, 65_535, 2**31, 2**32 - 1, rng.randrange(2**32))) % 2 ** (8 * size)
        changed[directory + field : directory + field + size] = number.to_bytes(size, "little")
    elif how == 4:
        at = len(data) - rng.randrange(1, 23)
        changed[at] = rng.randrange(256)
    else:
        at = rng.randrange(len(data))
        changed[at : at + rng.randrange(9)] = rng.randbytes(rng.randrange(9))
    return bytes(changed)


def mutate(data: bytes, rng: random.Random) -> bytes:
    """Change a file: most often inside, where checksums are then right again."""
    if rng.random() < 0.2:
        return mutate_container(data, rng)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            arrays = unpacked(data)
            header = json.loads(arrays[HEADER].tobytes())
            for _ in range(rng.choice((1, 1, 1, 2, 4))):
                if rng.random() < 0.7:
                    mutate_header(header, rng)
                else:
                    mutate_arrays(arrays, rng)
            arrays[HEADER] = np.frombuffer(json.dumps(header).encode(), np.uint8)
            return packed(arrays, sums=rng.random() < 0.95, compressed=rng.random() < 0.1)
    except Exception:  # no archive any more
        return mutate_container(data, rng)


# -- the rule --------------------------------------------------------------------------------------------------------


class Broken(Exception):
    """An input breaks a rule."""


def megabytes() -> float:
    """Return the most memory that this process has taken."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 if sys.platform != "darwin" else 1024**2)


counts = {"inputs": 0, "loaded": 0}


def check(data: bytes) -> None:
    """Load a file; whatever breaks a rule comes out as an exception."""
    before, begun = megabytes(), time.process_time()
    counts["inputs"] += 1
    try:
        net = serialization.from_bytes(data, fm.Sequential)
    except (ValueError, fm.PluginError) as error:
        message = str(error)
        if len(message) > 5000 or not all(line.isprintable() for line in message.split("\n")):
            raise Broken(f"a message that is no line of text: {message[:300]!r}") from error
    else:
        counts["loaded"] += 1
        again = serialization.to_bytes(net.engine)
        if serialization.to_bytes(serialization.from_bytes(again, fm.Sequential).engine) != again:
            raise Broken("it is another network once it is saved and loaded")
    if megabytes() > max(before, MEGABYTES):
        raise Broken(f"{megabytes():.0f} MB, {before:.0f} before")
    if time.process_time() - begun > SLOW:
        raise Broken(f"it took {time.process_time() - begun:.0f} s")


# -- how it runs -----------------------------------------------------------------------------------------------------


def run_guided(arguments: argparse.Namespace) -> None:
    """Let atheris choose what to mutate, by the code that it reaches."""
    folder = Path(arguments.corpus)
    folder.mkdir(parents=True, exist_ok=True)
    for file in corpus():
        (folder / hashlib.sha256(file).hexdigest()[:16]).write_bytes(file)

    def mutator(data: bytes, most: int, seed: int) -> bytes:
        changed = mutate(bytes(data), random.Random(seed))
        return changed if len(changed) <= most else bytes(data)

    options = [
        f"-seed={arguments.seed}",
        "-max_len=200000",
        "-len_control=0",
        "-rss_limit_mb=0",
        f"-timeout={10 * SLOW}",
    ]
    options += [f"-artifact_prefix={arguments.artifacts}/", "-print_final_stats=1"]
    options += [f"-max_total_time={arguments.seconds}"] if arguments.seconds else []
    atheris.Setup([sys.argv[0], *options, str(folder)], check, custom_mutator=mutator)
    atheris.Fuzz()


def run_at_random(arguments: argparse.Namespace) -> None:
    """Mutate files of the corpus, and what came of them, whatever they reach."""
    print("atheris is not installed: mutations are random, not guided by what they reach", file=sys.stderr)
    rng = random.Random(arguments.seed)
    files = corpus()
    end = time.monotonic() + (arguments.seconds or float("inf"))
    while time.monotonic() < end:
        data = mutate(rng.choice(files), rng)
        try:
            check(data)
        except Exception:
            found = Path(arguments.artifacts) / f"crash-{hashlib.sha256(data).hexdigest()[:16]}"
            found.write_bytes(data)
            print(f"written to {found}", file=sys.stderr)
            raise
        if rng.random() < 0.01:
            files[rng.randrange(len(files))] = data


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("files", nargs="*", help="inputs to try once, instead of mutating")
    parser.add_argument("--seconds", type=int, default=0, help="for how long (default: until Ctrl-C)")
    parser.add_argument("--seed", type=int, default=1, help="of the mutations")
    parser.add_argument("--corpus", default="fuzz-corpus", help="folder for inputs that reach something new")
    parser.add_argument("--artifacts", default=".", help="folder for an input that breaks a rule")
    arguments = parser.parse_args()
    if arguments.files:
        for name in arguments.files:
            check(Path(name).read_bytes())
        return
    try:
        run: Callable[[argparse.Namespace], None] = run_at_random if atheris is None else run_guided
        run(arguments)
    finally:
        print(f"{counts['inputs']} inputs, {counts['loaded']} loaded, at most {megabytes():.0f} MB", file=sys.stderr)


if __name__ == "__main__":
    main()
