"""The rows as a table in Markdown, and as a plot."""

from __future__ import annotations

from networks import NETWORKS, flops

PEERS = "fastmlp", "NumPy", "torch 1", "torch", "torch.compile", "JAX", "scikit-learn", "ONNX Runtime"


def duration(seconds):
    """Three digits and a unit."""
    for unit, size in (("s", 1), ("ms", 1e-3), ("us", 1e-6)):
        if seconds >= size:
            return f"{seconds / size:#.3g}".rstrip(".") + f" {unit}"
    return f"{seconds * 1e9:.0f} ns"


def ratio(row):
    """Median, and quartiles in brackets."""
    return f"{row['ratio']:#.3g} ({row['quartiles'][0]:#.3g} to {row['quartiles'][1]:#.3g})"


def lines(head, body):
    """A table in Markdown."""
    return ["| " + " | ".join(cells) + " |" for cells in (head, ["---"] * len(head), *body)]


def peers_table(rows):
    """Everybody's times; how many times longer the fastest peer takes; and how near the limit fastmlp is."""
    peers = [peer for peer in PEERS if any(peer in row["seconds"] for row in rows)]
    with_peak = any("percent_of_peak" in row for row in rows)
    head = ["", "network", *peers, "fastest peer", "its time / fastmlp's", "GFLOP/s", *["% of peak"] * with_peak]
    body = []
    for row in rows:
        times = [duration(row["seconds"][peer]) if peer in row["seconds"] else "" for peer in peers]
        cells = [row["kind"], row["network"], *times, row["fastest_peer"], ratio(row)]
        for key in ("gflops", *["percent_of_peak"] * with_peak):
            cells.append(f"{row[key]['fastmlp']:.3g}" if key in row else "")
        body.append(cells)
    notes = [f"{row['kind']}: {row['note']}." for row in rows if "note" in row]
    return lines(head, body) + [""] * bool(notes) + notes


def activations_table(rows):
    """fastmlp alone."""
    head = ["network", "hidden layers", "step", "step with ReLU", "ratio"]
    body = []
    for row in rows:
        times = [duration(row["seconds"][hidden]) for hidden in (row["fastest_peer"], "relu")]
        body.append([row["network"], row["fastest_peer"], *times, ratio(row)])
    return lines(head, body)


def glance_table(rows):
    """How many times longer the fastest peer takes, and who that is: kinds by networks."""
    kinds = [kind for kind in ("train", "predict", "predict 1") if any(row["kind"] == kind for row in rows)]
    names = [name for name in NETWORKS if any(row["network"] == name and row["kind"] in kinds for row in rows)]
    cells = {(r["kind"], r["network"]): f"{r['ratio']:#.3g} {r['fastest_peer']}" for r in rows}
    sizes = ["-".join(map(str, NETWORKS[name].sizes)) + f", {NETWORKS[name].batch}" for name in names]
    head = ["", *(f"{name} {size}" for name, size in zip(names, sizes, strict=True))]
    return lines(head, [[kind, *(cells.get((kind, name), "") for name in names)] for kind in kinds])


def markdown(result):
    """The run as the README shows it."""
    activations = [row for row in result["rows"] if row["kind"] == "activations"]
    others = [row for row in result["rows"] if row["kind"] != "activations"]
    parts = [" · ".join(f"{key}: {value}" for key, value in result["environment"].items()), ""]
    if any(row["kind"] in ("train", "predict", "predict 1") for row in others):
        parts += [*glance_table(others), ""]
    parts += peers_table(others) if others else []
    parts += ([""] if others else []) + activations_table(activations) if activations else []
    return "\n".join(parts) + "\n"


def plot(rows, path):
    """Draw how many times as fast as the fastest peer fastmlp is, over the size of the network."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator

    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    kinds = {"train": "training step", "predict": "prediction of a batch", "predict 1": "prediction of one row"}
    for (kind, label), marker in zip(kinds.items(), "os^", strict=True):
        found = sorted((flops(NETWORKS[row["network"]]), row) for row in rows if row["kind"] == kind)
        if not found:
            continue
        middles = [row["ratio"] for _, row in found]
        below = [row["ratio"] - row["quartiles"][0] for _, row in found]
        above = [row["quartiles"][1] - row["ratio"] for _, row in found]
        axes.errorbar([size for size, _ in found], middles, (below, above), marker=marker, capsize=3, label=label)
    axes.axhline(1, color="0.4", linewidth=1)
    axes.set(xscale="log", yscale="log", xlabel="FLOP of a training step", ylabel="times as fast as the fastest peer")
    for name in {row["network"] for row in rows} & set(NETWORKS):
        axes.text(flops(NETWORKS[name]), 1.02, name, ha="center", transform=axes.get_xaxis_transform())
    axes.yaxis.set_minor_locator(LogLocator(subs=(2, 5)))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter("{x:g}")
    if axes.lines:
        axes.legend()
    figure.savefig(path)
