"""The pages of runs in a real browser: whole, quiet, and readable on a phone as on a desk."""

from __future__ import annotations

import html
from pathlib import Path

import numpy as np
import pytest
from chromium import Browser

from tinyfcn import cli
from tinyfcn.data import write_voc_tree
from tinyfcn.metrics import SCORES, scores
from tinyfcn.page import page
from tinyfcn.training.evaluation import Evaluation
from tinyfcn.training.results import curves, evaluation, settings

WIDTHS = (390, 1280)
# Of each frame: what is wider than it, pictures that are not there, what was fetched, the smallest
# letters, also of those in plots, and the narrowest cell.
SEEN = """[...document.querySelectorAll("iframe")].map(frame => {
  const d = frame.contentDocument, all = (what, f) => [...d.querySelectorAll(what)].map(f);
  const size = element => parseFloat(getComputedStyle(element).fontSize);
  return {
    wider: d.documentElement.scrollWidth - d.documentElement.clientWidth,
    missing: [...d.images].filter(image => !image.naturalWidth).length,
    pictures: d.images.length,
    fetched: frame.contentWindow.performance.getEntriesByType("resource").map(one => one.name),
    letters: Math.min(...all("td, th, figcaption, h3", size)),
    plotted: Math.min(99, ...all(".plots img", e => 20 * e.clientWidth / e.naturalWidth)),
    cell: Math.min(...all("td", e => e.clientWidth)),
  } })"""


def hostile(classes: list[str], *sizes: tuple[int, int]) -> str:
    """A report with names and pictures of this kind."""
    counts = np.random.default_rng(0).integers(0, 9, [len(classes)] * 2) * 1000
    worst = {
        f"folder/picture <{i}> {'x' * 60}": (
            np.zeros((*size, 3), np.uint8), *np.zeros((2, *size), np.uint8)
        )
        for i, size in enumerate(sizes)
    }  # fmt: skip
    images = {name: [0.25, 0.125, *[0.5] * len(classes)] for name in worst}
    log = [
        {"epoch": n, "train_loss": 3 / n, **dict.fromkeys(SCORES, 1 - 1 / n)} for n in range(1, 9)
    ]
    found = Evaluation(scores(counts), images, [], worst)  # type: ignore[arg-type]
    told = settings({"data_root": "/a/very/" + "long/" * 60, "command": ["a"] * 99})
    return page("run <1>", curves(log), evaluation(found, classes), told)


def test_all_pages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, browser: Browser) -> None:
    monkeypatch.chdir(tmp_path)
    write_voc_tree("data", train=4, val=3, size=32, diameter=(10.0, 20.0))
    Path("data/classes.txt").write_text(
        "background\n" + "".join(f"{'ä' * 40}{i}\n" for i in range(9))
    )
    for command in (
        "train data --out run --width 0.02 --batch-size 4 --epochs 1 --workers 0",
        "evaluate run/best.npz --out scores",
        "check data --out .",
    ):
        assert not cli.main(command.split())
    pages = {
        path: Path(path).read_text()
        for path in ("run/report.html", "scores/report.html", "check.html")
    }
    pages["60 classes"] = hostile([f"Straßenverkehrsschild{i}" for i in range(60)], (30, 90))
    pages["one class"] = hostile(["狐"], (90, 3), (3, 90), (1, 1))
    frames = [
        f'<iframe width={width} height=800 srcdoc="{html.escape(text)}"></iframe>'
        for text in pages.values() for width in WIDTHS
    ]  # fmt: skip
    path = tmp_path / "all.html"
    path.write_text(f"<!DOCTYPE html><meta charset=utf-8>{''.join(frames)}", "utf-8")
    browser.open(path.as_uri())
    seen = browser.run(SEEN)
    assert len(seen) == len(frames)
    for number, one in enumerate(seen):
        where = [*pages][number // 2], WIDTHS[number % 2], one
        assert (one["wider"], one["missing"], one["fetched"]) == (0, 0, []), where
        assert one["pictures"] > 4 and one["letters"] >= 13 and one["plotted"] > 10, where
        assert one["cell"] > 24, where
