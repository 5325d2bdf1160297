"""One run, one table: fastmlp against what else is installed.

    python bench/compare.py [--rounds 30] [--threads N] [--networks tiny small] [--only train predict-1]
                            [--json FILE] [--markdown FILE] [--plot FILE]

Rounds are interleaved, each turn is warmed by untimed calls, and the next one waits until workers are asleep; answers
are compared before a time counts; the fastest peer is picked by its median, and the ratio is the median of the ratios
of each round, with its quartiles: above 1, fastmlp is faster. Times of one run only are comparable; all rows are kept.
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import platform
import sys
from importlib.metadata import PackageNotFoundError, version

from networks import NETWORKS, WIDTHS
from rows_fit import fit_rows
from rows_gemm import gemm_rows
from rows_import import import_rows
from rows_steps import activation_rows, full_batch_rows, network_rows
from table import markdown, plot
from timing import peak, processor

import fastmlp as fm

OF_NETWORKS = "first call", "train", "predict", "predict 1"
KINDS = *OF_NETWORKS, "full batch tanh", "fit digits", "gemm", "activations", "import"
HANDICAPS = "OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"  # tuned for another machine, they slow NumPy down


def rows(arguments):
    """The rows that were asked for, one after the other."""
    kinds, rounds, threads = arguments.only, arguments.rounds, arguments.threads
    for name in arguments.networks if set(kinds) & set(OF_NETWORKS) else ():
        yield from network_rows(name, kinds, rounds, threads)
    if "full batch tanh" in kinds:
        yield from full_batch_rows(rounds, threads)
    if "fit digits" in kinds:
        yield from fit_rows(rounds, threads)
    if "gemm" in kinds:
        yield from gemm_rows(rounds, threads)
    if "activations" in kinds:
        yield from activation_rows(arguments.widths, rounds, threads)
    if "import" in kinds:
        yield from import_rows(rounds)


def environment(rounds, threads):
    """What the times depend on."""
    found = {"processor": processor(), "instruction set": fm.config()["instruction_set"], "threads": threads}
    for count in sorted({1, threads}):
        found[f"peak GFLOP/s on {count}"] = round(peak(count))
    if hasattr(os, "getloadavg"):
        found["load before"] = round(os.getloadavg()[0], 2)  # threads that wait for each other need idle processors
    found |= {"rounds": rounds, "Python": platform.python_version(), "fastmlp": fm.__version__}
    for package in ("numpy", "scikit-learn", "torch", "jax", "onnxruntime"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def parse():
    """What to run, and where to write it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--threads", type=int, default=fm.get_num_threads(), help="all that fastmlp would use")
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS), choices=list(NETWORKS))
    parser.add_argument("--widths", nargs="+", type=int, default=WIDTHS, help="of the networks of `activations`")
    names = [kind.replace(" ", "-") for kind in KINDS]
    parser.add_argument("--only", nargs="+", default=names, choices=names, metavar="KIND", help=", ".join(names))
    parser.add_argument("--json", type=pathlib.Path)
    parser.add_argument("--markdown", type=pathlib.Path)
    parser.add_argument("--plot", type=pathlib.Path, help="ratios over the size of the network, by matplotlib")
    arguments = parser.parse_args()
    arguments.only = [name.replace("-", " ") for name in arguments.only]
    return arguments


def main():
    arguments = parse()
    if any(name in os.environ for name in HANDICAPS):
        fair = {name: value for name, value in os.environ.items() if name not in HANDICAPS}
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], fair)  # they were read at import
    result = {"environment": environment(arguments.rounds, arguments.threads), "rows": []}
    for row in rows(arguments):
        result["rows"].append(row)
        print(f"{row['kind']:18} {row['network']:28} {row['ratio']:#8.3g} {row['fastest_peer']}", file=sys.stderr)
    table = markdown(result)
    print(table, end="")
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=1))
    if arguments.markdown:
        arguments.markdown.write_text(table)
    if arguments.plot:
        plot(result["rows"], arguments.plot)


if __name__ == "__main__":
    main()
