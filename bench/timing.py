"""How times are taken: rounds interleaved, everybody warmed in the same way, workers at rest before the next one."""

from __future__ import annotations

import functools
import gc
import os
import pathlib
import platform
import time

import numpy as np

WARM = 0.02  # seconds of untimed calls: the first ones after a rest find threads asleep and clocks low
REST = 0.01


def settle():
    """Rest until the workers of whoever had the turn are asleep.

    A fixed rest would be too short or too long: OpenBLAS lets its workers spin for 0.1 s, ONNX Runtime and OpenMP for
    10 to 20 ms, others not at all; what they use of the processor tells.
    """
    for _ in range(50):
        used = time.process_time()
        time.sleep(REST)
        if time.process_time() - used < REST / 10:
            return


def move_to(processor, process=0):
    """Move a process (0: this one) to the processor of a number, modulo those allowed; then the system is free again.

    Processors differ while something else runs on one of them, or on the other half of its core. A process tends to
    stay where it is: two that are compared would each have a processor of its own for seconds.
    """
    if hasattr(os, "sched_setaffinity"):
        allowed = os.sched_getaffinity(process)
        os.sched_setaffinity(process, {sorted(allowed)[processor % len(allowed)]})
        os.sched_setaffinity(process, allowed)


def turn(call, ready=None):
    """Seconds of one call: the mean of as many as were needed to warm up."""
    if ready:
        ready()
    calls, until = 0, time.perf_counter() + WARM
    while time.perf_counter() < until:
        call()
        calls += 1
    begun = time.perf_counter()
    for _ in range(calls):
        call()
    elapsed = (time.perf_counter() - begun) / calls
    settle()
    return elapsed


def interleave(turns, rounds):
    """Times ``{name: [seconds per round]}`` of functions that take a turn and return its seconds."""
    gc.collect()
    gc.freeze()  # so that no collection walks over what all the libraries imported
    for take in turns.values():
        take()
    times = {name: [] for name in turns}
    for _ in range(rounds):
        for name, take in turns.items():
            times[name].append(take())
    gc.unfreeze()
    return times


def processor():
    """Return the processor's name, where the system tells."""
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


@functools.cache
def peak(threads):
    """GFLOP/s of multiply-adds in registers, the best of some tries in this run."""
    from fastmlp._kernels import level, load

    work = load(level, "peak").fma_work
    settle()
    best = 0.0
    for _ in range(10):
        begun = time.perf_counter()
        operations = work(1_000_000, threads)
        best = max(best, operations / (time.perf_counter() - begun) / 1e9)
    return best


def row(kind, network, times, *, operations=None, threads=None, of="fastmlp"):
    """One row of the table, from the times of `interleave`.

    Parameters
    ----------
    kind, network : str
        What was measured, and on what.
    times : dict
        Seconds per round of each peer, `of` among them.
    operations : int, optional
        Floating-point operations of a call; `threads` says which peak they are measured by.
    of : str
        Whose ratio it is: how many times longer the fastest of the others takes, median of the rounds.
    """
    medians = {peer: float(np.median(t)) for peer, t in times.items()}
    fastest = min((peer for peer in times if peer != of), key=medians.get)
    together = min(len(times[fastest]), len(times[of]))
    ratios = np.array(times[fastest][:together]) / np.array(times[of][:together])
    low, middle, high = np.percentile(ratios, [25, 50, 75]).tolist()
    result = {"kind": kind, "network": network, "seconds": medians}
    result |= {"fastest_peer": fastest, "ratio": middle, "quartiles": [low, high]}
    if operations:
        result["operations"] = operations
        result["gflops"] = {peer: operations / t / 1e9 for peer, t in medians.items()}
        result["percent_of_peak"] = {peer: 100 * g / peak(threads) for peer, g in result["gflops"].items()}
    return result
