"""Fork processes that have run OpenMP's threads, by fastmlp and by others, and see what fastmlp does in the children.

    python build_support/forks.py [--seconds 60] [--only torch]

By hand, with whatever is installed of torch, scikit-learn and joblib: each is imported before fastmlp or after it, and
its OpenMP loops run in the parent; children are made by `os.fork`, by each start method of `multiprocessing`, by each
backend of joblib, by children themselves, and while another thread trains. In some cases fastmlp is imported in the
child alone. A child must give the bits of the parent within some seconds; the exit code is the number of cases that
fail. Nothing here is a part of the package.
"""

import argparse
import itertools
import json
import os
import subprocess
import sys
import threading
import time
import warnings
from importlib.util import find_spec

OTHERS = ("none", "torch", "sklearn")
ORDERS = ("before", "after", "only the child has fastmlp")
CHILDREN = ("os.fork", "fork", "spawn", "forkserver", "nested fork", "pool", "loky", "multiprocessing", "threading")
BUSY = "fork beside a training"  # one case more


def others_run(other):
    """Run a loop of another library on several threads of OpenMP."""
    if other == "torch":
        import torch

        torch.set_num_threads(4)
        a = torch.ones(1000, 1000)
        (a @ a).exp().sum().item()
    elif other == "sklearn":
        import numpy as np
        from sklearn.metrics import pairwise_distances_argmin

        x = np.random.default_rng(0).normal(size=(3000, 8))
        pairwise_distances_argmin(x, x)


def work(seed=0):
    """Train a network that is large enough for a team, and return what it predicts, as bytes in hexadecimal."""
    import numpy as np

    import fastmlp as fm

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fm.set_num_threads(4)
        rng = np.random.default_rng(seed)
        x, y = rng.normal(size=(300, 200)).astype("f4"), rng.integers(0, 5, 300)
        layers = [fm.layers.Dense(600, "relu"), fm.layers.BatchNorm(), fm.layers.Dense(5, "softmax")]
        net = fm.Sequential(layers, input_dim=200, seed=0)
        net.compile("adam", "sparse_categorical_crossentropy")
        net.fit(x, y, epochs=2, batch_size=100, verbose=0)
        return net.predict(x[:50]).tobytes().hex()


def send(connection, how="work"):
    """Send what `work` gives; from a child of this child, if it is asked for."""
    if how == "nested":
        connection.send(by_process("fork", "work"))
    else:
        connection.send(work())
    connection.close()


def by_process(method, how="work"):
    """Return what a child gives that `multiprocessing` starts."""
    import multiprocessing

    context = multiprocessing.get_context(method)
    here, there = context.Pipe()
    process = context.Process(target=send, args=(there, how))
    process.start()
    there.close()
    result = here.recv()
    process.join()
    return result


def by_fork():
    """Return what a child gives that is nothing but a copy."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.write(writing, work().encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as file:
        result = file.read()
    os.waitpid(pid, 0)
    return result


def children_give(child):
    """Return what children of one kind give."""
    if child == "os.fork":
        return [by_fork()]
    if child in ("fork", "spawn", "forkserver"):
        return [by_process(child)]
    if child == "nested fork":
        return [by_process("fork", "nested")]
    if child == "pool":
        import multiprocessing

        with multiprocessing.get_context("fork").Pool(3) as pool:
            return pool.map(work, [0] * 6)
    import joblib

    return joblib.Parallel(n_jobs=3, backend=child)(joblib.delayed(work)(0) for _ in range(6))


def beside_a_training():
    """Fork while another thread trains a network, and use that network, and another, in the child."""
    import numpy as np

    import fastmlp as fm

    x = np.random.default_rng(0).normal(size=(2000, 64)).astype("f4")
    net = fm.Sequential([fm.layers.Dense(256, "relu"), fm.layers.Dense(1)], input_dim=64, seed=0)
    net.compile("adam", "mse")
    thread = threading.Thread(target=lambda: net.fit(x, x[:, 0], epochs=10**9), daemon=True)
    thread.start()
    time.sleep(0.3)
    found = []
    for _ in range(20):
        reading, writing = os.pipe()
        pid = os.fork()
        if pid == 0:
            warnings.simplefilter("ignore")
            try:
                said = "answered" if np.isfinite(net.predict(x[:5])).all() else "not finite"
                net.train_on_batch(x[:5], x[:5, 0])
            except RuntimeError as error:
                said = "told" if "fork" in str(error) else str(error)
            os.write(writing, f"{said} {work() == work()}".encode())
            os._exit(0)
        os.close(writing)
        with os.fdopen(reading) as file:
            found.append(file.read())
        os.waitpid(pid, 0)
    net.stop_training = True
    thread.join()
    return found


def run_case(other, order, child):
    """Run one case in this process, and print what came of it as JSON."""
    if child == BUSY:
        print(json.dumps(sorted(set(beside_a_training()))))
        return
    if order == "before":
        others_run(other)
        right = work()
    elif order == "after":
        right = work()
        others_run(other)
    else:
        others_run(other)
        right = None
    found = children_give(child)
    right = right or work()
    print(json.dumps(["right" if right.startswith(one) and one else "WRONG" for one in found]))


def cases():
    """Return the cases that can be run here."""
    present = [other for other in OTHERS if other == "none" or find_spec(other)]
    absent = sorted({*OTHERS, "joblib"} - {*present, *(["joblib"] if find_spec("joblib") else [])})
    print("not installed:", ", ".join(absent) or "nothing")
    children = [child for child in CHILDREN if find_spec("joblib") or child not in CHILDREN[-3:]]
    return [*itertools.product(present, ORDERS, children), ("none", "before", BUSY)]


def main():
    """Run all cases, each in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=60, help="after which a case is taken to hang")
    parser.add_argument("--only", default="", help="cases that name this")
    parser.add_argument("--case", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.case:
        run_case(*options.case)
        return 0
    failed = 0
    for case in cases():
        if options.only not in ", ".join(case):
            continue
        begun = time.monotonic()
        command = [sys.executable, os.path.abspath(__file__), "--case", *case]
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=options.seconds, check=False, start_new_session=True
            )
            found = json.loads(done.stdout) if done.returncode == 0 else [done.stderr.strip()[-300:] or done.returncode]
        except subprocess.TimeoutExpired:
            found = ["HANGS"]
        fine = all(one in ("right", "answered True", "told True") for one in found)
        failed += not fine
        print(f"{'' if fine else 'FAILED '}{', '.join(case)}: {found} ({time.monotonic() - begun:.1f} s)", flush=True)
    print(f"{failed} cases failed")
    return failed


if __name__ == "__main__":
    sys.exit(main())
