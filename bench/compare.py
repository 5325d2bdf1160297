"""One run, one table: training steps and predictions against what else is installed.

    python bench/compare.py [--rounds 30] [--threads 2] [--networks tiny small] [--json FILE]

Rounds are interleaved, with a rest after each turn, so that nobody pays for another's spinning workers; final weights
are compared before a time counts; the fastest peer is picked by its median, and the ratio is the median of the ratios
of each round, with its quartiles. Times of one run only are comparable.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import sys
import time

import numpy as np
from networks import NETWORKS, data, flops
from peers import FastMLP, available

REST = 0.15  # OpenBLAS keeps its threads spinning for some 100 ms


def seconds(call, budget=0.005, most=2000):
    """Repetitions that fill the budget."""
    begun = time.perf_counter()
    call()
    once = max(time.perf_counter() - begun, 1e-7)
    return max(1, min(most, int(budget / once)))


def turn(call, repeats):
    """Seconds of one call, mean over a turn; the first call, which wakes threads up, is not counted."""
    call()
    begun = time.perf_counter()
    for _ in range(repeats):
        call()
    elapsed = (time.perf_counter() - begun) / repeats
    time.sleep(REST)
    return elapsed


def measure(calls, rounds):
    """Times ``{name: [seconds per round]}``, interleaved."""
    repeats = {name: seconds(call) for name, call in calls.items()}
    times = {name: [] for name in calls}
    for name, call in calls.items():
        turn(call, repeats[name])
    for _ in range(rounds):
        for name, call in calls.items():
            times[name].append(turn(call, repeats[name]))
    return times


def same_weights(name, networks, steps=5):
    """All networks, from the same weights, must agree after some steps."""
    x, y, _ = data(name)
    for net in networks.values():
        for _ in range(steps):
            net.train(x, y)
    ours = networks["fastmlp"].kernels()
    for other, net in networks.items():
        for mine, theirs in zip(ours, net.kernels(), strict=True):
            worst = np.abs(mine - theirs).max()
            # Adam's first steps are signs of gradients: where one is nearly 0, rounding may turn a step of 0.001 round
            off = (np.abs(mine - theirs) > 1e-4).mean()
            if off > net.may_differ or worst > 2 * 0.001 * steps:
                raise AssertionError(f"{name}: {other} and fastmlp disagree: {worst:.2g}, {off:.2%} of the weights")


def row(kind, name, calls, rounds):
    """One row of the table."""
    times = measure(calls, rounds)
    medians = {peer: float(np.median(t)) for peer, t in times.items()}
    rivals = {peer: t for peer, t in medians.items() if peer != "fastmlp"}
    fastest = min(rivals, key=rivals.get)
    ratios = np.array(times[fastest]) / np.array(times["fastmlp"])
    low, mid, high = np.percentile(ratios, [25, 50, 75])
    gflops = flops(name) / medians["fastmlp"] / 1e9 if kind == "train" else None
    return {
        **{"kind": kind, "network": name, "microseconds": {k: v * 1e6 for k, v in medians.items()}},
        **{"fastest_peer": fastest, "ratio": mid, "quartiles": [low, high], "gflops": gflops},
    }


def rows(name, rounds, threads):
    """Training step, prediction of the batch, prediction of one row."""
    x, y, kernels = data(name)
    networks = {}
    for peer in [FastMLP, *available()]:
        net = peer(kernels, threads)
        try:
            net.train(x, y)
        except NotImplementedError:
            continue
        networks[peer.name] = peer(kernels, threads)
    same_weights(name, networks)
    one = x[:1].copy()
    yield row("train", name, {n: lambda net=net: net.train(x, y) for n, net in networks.items()}, rounds)
    yield row("predict", name, {n: lambda net=net: net.predict(x) for n, net in networks.items()}, rounds)
    yield row("predict 1", name, {n: lambda net=net: net.predict(one) for n, net in networks.items()}, rounds)


def markdown(table):
    """The table as the README has it."""
    peers = [*dict.fromkeys(peer for r in table for peer in r["microseconds"])]
    head = ["", "network", *(f"{peer} us" for peer in peers), "ratio to the fastest peer", "GFLOP/s"]
    lines = ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
    for r in table:
        times = [f"{r['microseconds'][peer]:.1f}" if peer in r["microseconds"] else "-" for peer in peers]
        ratio = f"{r['ratio']:.2f} ({r['quartiles'][0]:.2f} to {r['quartiles'][1]:.2f}, {r['fastest_peer']})"
        gflops = f"{r['gflops']:.0f}" if r["gflops"] else ""
        lines.append("| " + " | ".join([r["kind"], r["network"], *times, ratio, gflops]) + " |")
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS), choices=list(NETWORKS))
    parser.add_argument("--json", type=pathlib.Path)
    arguments = parser.parse_args()
    table = []
    for name in arguments.networks:
        for result in rows(name, arguments.rounds, arguments.threads):
            table.append(result)
            print(f"{result['kind']:10} {name:6} {result['ratio']:.2f} x {result['fastest_peer']}", file=sys.stderr)
    print(markdown(table))
    if arguments.json:
        arguments.json.write_text(json.dumps(table, indent=1))


if __name__ == "__main__":
    main()
