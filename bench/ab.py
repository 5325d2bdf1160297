"""Compare two builds of fastmlp: is the new one slower anywhere, and does it compute the same bits?

    python bench/ab.py OLD NEW [--rounds 60] [--only REGEX] [--threads N] [--allow-other-bits]
                       [--json FILE] [--markdown FILE]

OLD and NEW are each a Python that has the build installed, or something that pip installs (a wheel, a checkout) into a
temporary virtual environment. A worker process of each (`ab_worker.py`) lives for the whole run. They take turns, and a
worker answers when its threads sleep, so that the idle one uses nothing of the machine. In each round both have a turn
with the same number of calls; the new one goes first in every second round. The ratio is new time / old time of a
round: the table shows the median over the rounds, and its quartiles. Above 1, the new build is slower; a row is marked
where the median is above 1.03, or 1.05 for calls below 2 us.

Before a row is timed, both must give the same bits. Where they don't, the row says so and is not timed (it is with
`--allow-other-bits`). The exit status is 1 if bits differ or a row fails. Use an idle machine: at a load of 2 and more,
a row may be marked by chance; run it again with `--only`.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time
import venv

from table import lines
from timing import move_to, processor, row

WORKER = pathlib.Path(__file__).with_name("ab_worker.py")
HIDDEN = "PYTHONPATH", "PYTHONSAFEPATH", "PYTHONHOME"  # what would change where a worker imports from
IMPORTS = "import fastmlp", "import numpy"
REMADE = 10  # rounds after which a row is made anew, so that no luck with where its memory lies lasts
HEAD = "row", "old us", "new us", "new / old", "quartiles", ""


class Build:
    """One of the two builds: its Python, and a worker that lives as long as this object is entered."""

    def __init__(self, name, python, folder):
        self.name, self.python = name, python
        environment = {key: value for key, value in os.environ.items() if key not in HIDDEN}
        self.outside = {"cwd": folder, "env": environment}  # of any checkout

    def __enter__(self):
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        # in a session of its own, Ctrl-C reaches this process alone; the worker ends with its input
        self.worker = subprocess.Popen([self.python, WORKER], start_new_session=True, **pipes, **self.outside)
        return self

    def __exit__(self, *_):
        with contextlib.suppress(BrokenPipeError):  # it has ended before
            self.worker.stdin.close()
        self.worker.wait()

    def ask(self, do, **arguments):
        """Return the worker's answer to a request."""
        try:
            self.worker.stdin.write(json.dumps({"do": do, **arguments}) + "\n")
            self.worker.stdin.flush()
            line = self.worker.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            sys.exit(f"the worker of the {self.name} build ended with status {self.worker.wait()}")
        reply = json.loads(line)
        if "error" in reply:
            raise RuntimeError(f"the {self.name} build failed:\n{reply['error']}")
        return reply

    def take_turn(self, work, number):
        """Return the seconds of a call; two rounds, forwards and backwards, are on one processor."""
        return self.ask("turn", processor=number // 2, **work)["seconds"]

    def time_process(self, code, number):
        """Return the seconds of a fresh process that runs some code."""
        begun = time.perf_counter()
        with subprocess.Popen([self.python, "-c", code], **self.outside) as process:
            move_to(number // 2, process.pid)
        if process.returncode:
            sys.exit(f"the {self.name} build can't {code}")
        return time.perf_counter() - begun


def python_of(target, folder):
    """Return the Python that has `target` installed: itself, or that of a new virtual environment in `folder`."""
    path, command = pathlib.Path(target).absolute(), shutil.which(target)
    if command and path.suffix != ".whl":
        return pathlib.Path(command).absolute()  # not resolved: the python of a virtual environment is a link
    if not path.exists():
        sys.exit(f"{target} is neither a Python nor something to install")
    print(f"installing {target}", file=sys.stderr)
    venv.create(folder, with_pip=True)
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    subprocess.run([python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", path], check=True)
    return python


def alternate(turns, rounds):
    """Return ``{name: [seconds per round]}`` of functions of the round's number; every second goes backwards."""
    times = {name: [] for name in turns}
    for number in range(rounds):
        for name in reversed(turns) if number % 2 else turns:
            times[name].append(turns[name](number))
    return times


def compared(name, times, **more):
    """Return a row from the seconds per round of ``old`` and ``new``: medians, median ratio, quartiles, verdict."""
    found = row(name, "", times, of="old")
    limit = 1.05 if found["seconds"]["old"] < 2e-6 else 1.03
    kept = {key: found[key] for key in ("seconds", "ratio", "quartiles")}
    return {"row": name, **kept, "slower": found["ratio"] > limit, "times": times, **more}


def worker_row(name, builds, rounds, allow_other_bits):
    """Compare the answers of a row, then its times."""
    times, same = {build.name: [] for build in builds}, True
    for done in range(0, rounds, REMADE):
        try:
            made = {build.name: build.ask("make", row=name) for build in builds}
        except RuntimeError as error:
            return {"row": name, "error": str(error)}
        same = same and made["old"]["answer"] == made["new"]["answer"]
        if not (same or allow_other_bits):
            return {"row": name, "error": "OTHER BITS: the builds compute different answers"}
        work = {key: made["old"][key] for key in ("warm", "calls")}
        turns = {build.name: functools.partial(build.take_turn, work) for build in builds}
        for side, taken in alternate(turns, min(REMADE, rounds - done)).items():
            times[side] += taken
    return compared(name, times, same_bits=same)


def import_rows(names, builds, rounds):
    """Compare fresh processes that import, and each build's import with that of NumPy."""
    turns = {(code, b.name): functools.partial(b.time_process, code) for code in IMPORTS for b in builds}
    alternate(turns, 1)  # from now on files are compiled and in memory
    times = alternate(turns, rounds)
    sides = {code: {build.name: times[code, build.name] for build in builds} for code in IMPORTS}
    for name in names:
        yield compared(name, sides[name])
    for build in builds:
        pair = {code: times[code, build.name] for code in IMPORTS}
        found = row("", "", pair, of="import numpy")
        yield {"row": f"import fastmlp / import numpy, {build.name}", **{k: found[k] for k in ("ratio", "quartiles")}}


def cells(found):
    """Return a row of the table."""
    if "error" in found:
        return [found["row"], "", "", "", "", found["error"].strip().splitlines()[-1]]
    times = [f"{1e6 * found['seconds'][name]:.4g}" if "seconds" in found else "" for name in ("old", "new")]
    marks = ["SLOWER"] * found.get("slower", False) + ["OTHER BITS"] * (not found.get("same_bits", True))
    low, high = found["quartiles"]
    return [found["row"], *times, f"{found['ratio']:.3f}", f"{low:.3f} to {high:.3f}", ", ".join(marks)]


def show(cells):
    """Print a row at once: a run takes minutes."""
    print("{:36}{:>12}{:>12}{:>11}{:>18}  {}".format(*cells).rstrip(), flush=True)


def all_rows(names, builds, arguments):
    """Yield the rows of these names."""
    for name in names:
        if name not in IMPORTS:
            yield worker_row(name, builds, arguments.rounds, arguments.allow_other_bits)
    imports = [name for name in names if name in IMPORTS]
    if imports:
        yield from import_rows(imports, builds, arguments.rounds)


def run(builds, arguments):
    """Print and return what was found."""
    started = {build.name: build.ask("start", threads=arguments.threads) for build in builds}
    about = {name: reply["about"] for name, reply in started.items()}
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    result = {"processor": processor(), "load": load, "rounds": arguments.rounds, **about, "rows": []}
    print(title(result), "", sep="\n")
    names = [name for name in (*started["new"]["rows"], *IMPORTS) if re.search(arguments.only, name)]
    show(HEAD)
    for found in all_rows(names, builds, arguments):
        result["rows"].append(found)
        show(cells(found))
        if "\n" in found.get("error", ""):
            print(found["error"], file=sys.stderr)  # the table has its last line
    return result


def title(result):
    """Return what the times depend on."""
    text = [f"{result['processor']}, load {result['load']:.1f}, {result['rounds']} rounds"]
    for name in ("old", "new"):
        about = result[name]
        text.append(
            f"{name}: fastmlp {about['version']}, {about['threads']} threads, {about['instruction_set']}, "
            f"NumPy {about['numpy']}, Python {about['python']}, {about['file']}"
        )
    return "\n".join(text)


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("old", help="a Python that has the old build, or a wheel or checkout of it")
    parser.add_argument("new", help="the same of the new build")
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--only", metavar="REGEX", default="", help="rows whose names it is found in")
    parser.add_argument("--threads", type=int, help="otherwise as many as each build takes by itself")
    parser.add_argument("--allow-other-bits", action="store_true", help="time rows whose answers differ")
    parser.add_argument("--json", type=pathlib.Path, help="write rows and all times")
    parser.add_argument("--markdown", type=pathlib.Path, help="write the table")
    return parser.parse_args()


def main():
    arguments = parse()
    with tempfile.TemporaryDirectory() as folder:
        outside = pathlib.Path(folder)
        old = python_of(arguments.old, outside / "old")
        new = python_of(arguments.new, outside / "new")
        with Build("old", old, folder) as first, Build("new", new, folder) as second:
            result = run((first, second), arguments)
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=1))
    if arguments.markdown:
        table = "\n".join(lines(HEAD, [cells(found) for found in result["rows"]]))
        arguments.markdown.write_text(f"{title(result)}\n\n{table}\n")
    sys.exit(any("error" in found or not found.get("same_bits", True) for found in result["rows"]))


if __name__ == "__main__":
    main()
