"""Rows of training steps and predictions; networks are compared before their times count."""

from __future__ import annotations

import time

import numpy as np
from networks import ACTIVATIONS, FULL_BATCH, NETWORKS, data, flops, forward_flops, of_width
from peers import FastMLP, available
from timing import interleave, row, settle, turn

FRESH = 5  # networks whose first step is timed


def first_steps(task, threads, batch):
    """Networks after one step, and the seconds that it took, ``{name: [seconds of each fresh network]}``."""
    x, y, kernels = batch
    networks, times = {}, {}
    for number in range(FRESH):
        for peer in (FastMLP, *available(threads)):
            if not peer.trains or (number and times.get(peer.name, [9])[0] > 1):
                continue  # a compiler was at work, or it can't do this: once is enough
            try:
                network = peer(task, kernels, threads)
            except NotImplementedError:
                continue
            settle()
            network.ready()
            begun = time.perf_counter()
            network.train(x, y)
            times.setdefault(peer.name, []).append(time.perf_counter() - begun)
            networks[peer.name] = network
    return networks, times


def same_weights(name, networks, batch, steps=5):
    """All networks, from the same weights, must agree after some steps."""
    x, y, _ = batch
    for net in networks.values():
        net.ready()
        for _ in range(steps - 1):  # one is done
            net.train(x, y)
    ours = networks["fastmlp"].kernels()
    for other, net in networks.items():
        for mine, theirs in zip(ours, net.kernels(), strict=True):
            worst = np.abs(mine - theirs).max()
            # Adam's first steps are signs of gradients: where one is nearly 0, rounding may turn a step of 0.001 round
            off = (np.abs(mine - theirs) > 1e-4).mean()
            if off > net.may_differ or worst > 2 * 0.001 * steps:
                raise AssertionError(f"{name}: {other} and fastmlp disagree: {worst:.2g}, {off:.2%} of the weights")


def same_predictions(name, networks, x):
    """From weights that agree; looser where they need not be equal."""
    ours = networks["fastmlp"].predict(x)
    for other, net in networks.items():
        worst = np.abs(net.predict(x) - ours).max()
        if worst > (0.02 if net.trains else 1e-4):
            raise AssertionError(f"{name}: {other} and fastmlp predict otherwise: {worst:.2g}")


def with_predictors(task, networks, threads):
    """Networks that train, and peers that only predict, from fastmlp's weights."""
    ours, found = networks["fastmlp"], dict(networks)
    for peer in available(threads):
        if not peer.trains:
            found[peer.name] = peer(task, ours.kernels(), threads, ours.biases())
    return found


def calls(networks, call):
    """Turns for `interleave`."""
    return {name: lambda net=net: turn(lambda: call(net), net.ready) for name, net in networks.items()}


def network_rows(name, kinds, rounds, threads):
    """First call, training step, prediction of the batch, prediction of one row."""
    task = NETWORKS[name]
    batch = x, y, _ = data(task)
    networks, first = first_steps(task, threads, batch)
    same_weights(name, networks, batch)
    predictors = with_predictors(task, networks, threads)
    same_predictions(name, predictors, x)
    one = x[:1].copy()
    if "first call" in kinds:
        yield row("first call", name, first)
    if "train" in kinds:
        times = interleave(calls(networks, lambda net: net.train(x, y)), rounds)
        yield row("train", name, times, operations=flops(task), threads=threads)
    for kind, rows in (("predict", x), ("predict 1", one)):
        if kind in kinds:
            times = interleave(calls(predictors, lambda net, rows=rows: net.predict(rows)), rounds)
            yield row(kind, name, times, operations=forward_flops(task, len(rows)), threads=threads)


def full_batch_rows(rounds, threads):
    """A small regression, all rows at once."""
    batch = x, y, _ = data(FULL_BATCH)
    networks, _ = first_steps(FULL_BATCH, threads, batch)
    same_weights("full batch tanh", networks, batch)
    times = interleave(calls(networks, lambda net: net.train(x, y)), rounds)
    yield row("full batch tanh", str(FULL_BATCH), times, operations=flops(FULL_BATCH), threads=threads)


def activation_rows(widths, rounds, threads):
    """Training steps with sigmoid and tanh in hidden layers against ReLU; fastmlp alone."""
    for width in widths:
        tasks = [of_width(width, hidden) for hidden in ACTIVATIONS]
        x, y, kernels = data(tasks[0])
        networks = {task.hidden: FastMLP(task, kernels, threads) for task in tasks}
        times = interleave(calls(networks, lambda net, x=x, y=y: net.train(x, y)), rounds)
        for hidden in ACTIVATIONS[1:]:
            yield row("activations", str(tasks[0]), {name: times[name] for name in ("relu", hidden)}, of="relu")
