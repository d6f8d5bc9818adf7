"""What was measured: a table on screen, JSON and a bar chart on disk."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tinyfcn.files import Outputs, atomic_write, write_bytes

MARK = "tinyfcn benchmark"
# The figures of one piece of work, as ``measure.figures`` makes them.
Figures = Mapping[str, Any]


def head(group: str, peers: bool) -> str:
    """The head of the table for a group of work, and for peers next to our side."""
    line = f"{group:26}{'ms':>8}{'GFLOP/s':>9}{'sgemm':>7}{'MB':>7}"
    return line + (f"  | {'best of peer':27}{'ms':>8}{'MB':>7}{'time':>7}{'memory':>8}" * peers)


def row(figures: Figures) -> str:
    """The columns of ``head`` after the name, a line for each peer; a figure that does not exist
    stays empty."""

    def cell(value: float | None, width: int, form: str) -> str:
        return f"{'' if value is None else format(value, form):>{width}}"

    def ms(side: Figures) -> str:
        return cell(1000 * side["seconds"], 8, ".2f" if side["seconds"] < 0.01 else ".1f")

    def mb(side: Figures) -> str:
        return cell(None if side["memory"] is None else side["memory"] / 1e6, 7, ".0f")

    line = ms(figures) + cell(figures.get("gflops"), 9, ".0f")
    line += cell(figures.get("share_of_sgemm"), 7, ".0%") + mb(figures)
    peers = [
        f"  | {peer['side']:27}" + ms(peer) + mb(peer)
        + cell(peer["time_ratio"], 7, ".2f") + cell(peer.get("memory_ratio"), 8, ".2f")
        for peer in figures["against"].values()
    ]  # fmt: skip
    return line + f"\n{'':26}{'':31}".join(peers)


def per_pixel(results: Sequence[Figures]) -> str | None:
    """How inference scales from 256² to 1024² pixels, where both were measured."""
    seconds = {figures["name"]: figures["seconds"] for figures in results}
    small, large = (seconds.get(f"infer fcn8s {n}x{n}") for n in (256, 1024))
    if small is None or large is None:
        return None
    return f"inference, time per pixel at 1024x1024 over that at 256x256: {large / 16 / small:.2f}"


def draw(results: Sequence[Figures], title: str, path: Any) -> None:
    """A bar chart: ratios to the peers where there are some, else shares of sgemm.

    Ratios are drawn from 1 outwards on a logarithmic axis: half as long is as far as twice.

    Raises:
        ImportError: if matplotlib is missing.
    """
    from matplotlib import colormaps
    from matplotlib.figure import Figure

    bars: dict[str, dict[str, float]] = {}  # by what they show, and by the work
    for figures in results:
        for peer, theirs in figures["against"].items():
            for key, what in ("time_ratio", "time"), ("memory_ratio", "peak memory"):
                bars.setdefault(f"{what}, {peer}", {})[figures["name"]] = theirs.get(key, np.nan)
    start, label = 1.0, "tinyfcn's / the peer's: left of 1 is faster, or smaller"
    if not bars:
        shares = {f["name"]: f["share_of_sgemm"] for f in results if "share_of_sgemm" in f}
        bars, start = {"convolutions": shares}, 0.0
        label = "GFLOP/s of the convolutions, as a share of a matrix product's"
    shown = list(dict.fromkeys(name for values in bars.values() for name in values))

    figure = Figure(figsize=(8, 1.4 + (0.1 + 0.1 * len(bars)) * len(shown)), layout="constrained")
    axes = figure.add_subplot()
    if start:
        axes.set_xscale("log", base=2)
        axes.xaxis.set_major_formatter("{x:g}")
        axes.minorticks_off()
        axes.margins(x=0.12)
    thick = 0.8 / len(bars)
    for i, (name, ratios) in enumerate(bars.items()):
        values = np.array([ratios.get(work, np.nan) for work in shown])
        places = np.arange(len(shown)) + (i - (len(bars) - 1) / 2) * thick
        colour = colormaps["tab20"](i % 20)  # dark and light in turn
        drawn = axes.barh(places, values - start, thick, start, label=name, color=colour)
        axes.bar_label(drawn, [f"{value:.2f}" for value in values], padding=3, fontsize=7)
    axes.axvline(1, color="#444444", linewidth=0.8)
    axes.set_yticks(range(len(shown)), shown)
    axes.set_ylim(len(shown) - 0.4, -0.6)
    axes.tick_params(labelsize=8)
    axes.set_xlabel(label, fontsize=9)
    axes.spines[["top", "right"]].set_visible(False)
    figure.suptitle(textwrap.fill(title, 90), fontsize=9)
    if start:
        figure.legend(loc="outside lower right", ncols=2, fontsize=8, frameon=False)
    figure.savefig(path, dpi=150, format="png", metadata={"Software": MARK})


def save(folder: Path, report: Mapping[str, Any]) -> str:
    """Write benchmark.json, and benchmark.png where matplotlib is installed; says what is where."""
    folder.mkdir(parents=True, exist_ok=True)
    (path, chart), note = Outputs([], MARK).free(folder, "benchmark", ".json", ".png")
    write_bytes(path, f"{json.dumps({'software': MARK, **report}, indent=1)}\n".encode())
    try:
        with atomic_write(chart) as file:
            draw(report["results"], report["machine"], file)
    except ImportError:
        beside = "; no chart without matplotlib: pip install 'tinyfcn[plot]'"
    else:
        beside = f", {chart} shows the table as bars"
    return f"{path} holds every repetition{beside}{note}"
