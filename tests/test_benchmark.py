"""The benchmark measures what it says, at sizes that take no time."""

from __future__ import annotations

import ast
import importlib
import inspect
import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tinyfcn import backend

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = ROOT / "examples"

IMAGE = {"n": 1, "c": 4, "h": 8, "w": 6}
TINY = {
    "infer": {"n": 1, "h": 33, "w": 47, "width": 1 / 64},
    "train": {"n": 2, "h": 32, "w": 32, "width": 1 / 64, "batch_norm": True},
    "segnet_stage": {"n": 1, "c": 4, "h": 9, "w": 7},
    "conv": {**IMAGE, "out": 6, "kernel": 3, "stride": 2},
    "relu": IMAGE,
    "max_pool": IMAGE,
    "batch_norm": IMAGE,
    "cross_entropy": {"n": 1, "h": 8, "w": 6},
    "bilinear": {"n": 1, "h": 3, "w": 4, "factor": 4},
    "sgd": {"size": 100},
    "adam": {"size": 100},
    "sgemm": {"size": 16},
}


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], ModuleType]:
    """Import a module of the examples; processes that they start find tinyfcn."""
    monkeypatch.syspath_prepend(str(EXAMPLES))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    for name in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"):
        monkeypatch.delenv(name, raising=False)
    return importlib.import_module


@pytest.fixture
def program(load: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The benchmark, with two tiny pieces of work."""
    module = load("benchmark")
    work = [module.Work("tiny ones", f"tiny {k}", k, TINY[k]) for k in ("conv", "relu")]
    monkeypatch.setattr(module, "WORK", work)
    monkeypatch.setattr(module, "SGEMM", module.Work("", "", "sgemm", TINY["sgemm"]))
    monkeypatch.setattr(module, "TURN", 0.01)
    return module


@pytest.mark.parametrize("kind", TINY)
def test_every_kind_of_work_can_be_repeated(load: Callable[[str], ModuleType], kind: str) -> None:
    ours = load("benchmark_tinyfcn")
    step = ours.KINDS[kind](**TINY[kind])
    assert ours.count_flops(step) == ours.count_flops(step)
    assert not vars(backend.active())  # nobody counts any more
    assert set(TINY) == set(ours.KINDS)


def test_convolutions_are_counted_by_their_shapes(load: Callable[[str], ModuleType]) -> None:
    ours = load("benchmark_tinyfcn")

    def count(kind: str, **arguments: Any) -> int:
        flops: int = ours.count_flops(ours.KINDS[kind](**arguments))
        return flops

    square = {"n": 2, "h": 9, "w": 7, "kernel": 3}
    once = 2 * 2 * (9 * 7) * 6 * 4 * (3 * 3)
    assert count("conv", c=4, out=6, **square) == 3 * once  # forward, gradients of input and weight
    assert count("conv", c=4, out=6, dilation=2, **square) == 3 * once
    assert count("conv", c=4, out=6, groups=2, **square) == 3 * once // 2
    assert count("conv", c=4, out=6, stride=2, **square) == 3 * 2 * 2 * (5 * 4) * 6 * 4 * 9
    assert count("conv", c=3, out=8, **square) == 2 * once  # an image needs no gradient
    assert count("relu", **IMAGE) == 0

    # FCN-8s of 1/64 width on 32 × 32 pixels, layer by layer: pixels · C · OC · KH · KW.
    trunk = 1024 * (3 + 1) * 9 + 256 * (2 + 4) * 9 + 64 * (8 + 16 + 16) * 9
    trunk += 16 * (32 + 64 + 64) * 9 + 4 * 3 * 64 * 9
    head = 8 * 64 * 49 + 64 * 64 + 64 * 21
    skips = 4 * 8 * 21 + 16 * 4 * 21
    enlarging = 21 * (1 * 16 + 4 * 16 + 16 * 256)  # each class by itself
    expected = 2 * (trunk + head + skips + enlarging)
    assert count("infer", n=1, h=32, w=32, width=1 / 64) == expected


def test_both_sides_know_all_the_work(load: Callable[[str], ModuleType]) -> None:
    kinds = load("benchmark_tinyfcn").KINDS
    for work in load("benchmark").WORK:
        inspect.signature(kinds[work.kind]).bind(**work.arguments)
    # PyTorch's side is read, not run: PyTorch is not there.
    tree = ast.parse((EXAMPLES / "benchmark_torch.py").read_text(encoding="utf-8"))
    theirs = {
        node.name: [(a.arg, ast.unparse(a.annotation)) for a in node.args.args if a.annotation]
        for node in tree.body
        if isinstance(node, ast.FunctionDef)
    }
    for name, make in kinds.items():
        if name != "sgemm":
            parameters = inspect.signature(make).parameters.values()
            assert theirs[name] == [(p.name, p.annotation) for p in parameters]


def test_a_table_json_and_a_chart(
    program: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    program.main(["--quick", "--only", "TINY", "--seconds", "0.02", "--out", str(tmp_path / "out")])
    said = capsys.readouterr().out
    assert f"NumPy {np.__version__}" in said
    assert " kernel" in said
    saved = json.loads((tmp_path / "out" / "benchmark.json").read_text())
    names = [figures["name"] for figures in saved["results"]]
    assert names == ["tiny conv", "tiny relu"]
    assert all(name in said for name in names)
    conv, relu = saved["results"]
    assert conv["seconds"] == np.median(conv["all_seconds"])
    assert len(conv["all_seconds"]) >= 3
    flops = 3 * 2 * (4 * 3) * 6 * 4 * 9
    assert conv["gflops"] == pytest.approx(flops / conv["seconds"] / 1e9)
    assert conv["share_of_sgemm"] == pytest.approx(conv["gflops"] / saved["sgemm_gflops"])
    assert "gflops" not in relu
    assert (tmp_path / "out" / "benchmark.png").read_bytes().startswith(b"\x89PNG")


def test_memory_is_that_of_the_process_that_works(program: ModuleType) -> None:
    ballast = np.ones(25_000_000)  # 200 MB, of this process
    side, million = program.Side("tinyfcn"), 1_000_000
    small, large = (
        program.measure(program.Work("", "", "sgd", {"size": size}), [side], 0.0, 1)[0].memory
        for size in (100, 5 * million)
    )
    assert small < ballast.nbytes
    assert 60 * million <= large - small < 90 * million  # weights, gradients, velocities


def test_sides_take_turns(program: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    sides = [program.Side("tinyfcn"), program.Side("tinyfcn", backend="numpy")]
    turns, turn = [], program.Worker.turn

    def spy(worker: Any, seconds: float) -> Any:
        turns.append(worker.side)
        return turn(worker, seconds)

    monkeypatch.setattr(program.Worker, "turn", spy)
    workers = program.measure(program.WORK[1], sides, 0.03, 4)
    assert len(turns) >= 6
    assert all(turn is sides[i % 2] for i, turn in enumerate(turns))
    assert all(len(w.seconds) >= 4 and sum(w.seconds) >= 0.03 for w in workers)


def test_ratios_are_ours_over_theirs(load: Callable[[str], ModuleType], tmp_path: Path) -> None:
    program, report = load("benchmark"), load("benchmark_report")
    sides = [SimpleNamespace(name=name) for name in ("tinyfcn", "torch")]
    ours = SimpleNamespace(side=sides[0], seconds=[0.1, 0.2, 0.9], memory=300_000_000, flops=10**9)
    theirs = SimpleNamespace(side=sides[1], seconds=[0.5, 0.4], memory=400_000_000, flops=None)
    figures = program.result(program.WORK[0], [ours, theirs], 20.0)
    assert figures["time_ratio"] == pytest.approx(0.2 / 0.45)
    assert figures["memory_ratio"] == 0.75
    line = report.row(figures)
    assert line.split() == ["200.0", "5", "25%", "300", "|", "450.0", "400", "0.44", "0.75"]
    assert len(report.head("networks", "torch")) == len(f"  {'':24}") + len(line)
    report.draw([figures], "two sides", tmp_path / "chart.png")
    assert (tmp_path / "chart.png").exists()


def test_scaling_compares_pixels(load: Callable[[str], ModuleType]) -> None:
    per_pixel = load("benchmark_report").per_pixel
    small = {"name": "infer fcn8s 256x256", "seconds": 1.0}
    large = {"name": "infer fcn8s 1024x1024", "seconds": 17.6}
    assert per_pixel([small, large]).endswith(" 1.10")
    assert per_pixel([small]) is None


def test_a_slow_kernel_is_called_so(
    program: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    environments, measure = [], program.measure

    def spy(work: Any, sides: Any, *arguments: Any) -> Any:
        environments.append(sides[0].environment)
        return measure(work, sides, *arguments)

    monkeypatch.setattr(program, "measure", spy)
    program.introduce(program.Side("tinyfcn"), 0.01)
    assert "WARNING" not in capsys.readouterr().out
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Nehalem")
    program.introduce(program.Side("tinyfcn"), 0.01)
    assert "WARNING: OPENBLAS_CORETYPE=Nehalem is set; without it " in capsys.readouterr().out
    assert environments[:2] == [None, None]
    assert "OPENBLAS_CORETYPE" not in environments[2]
    assert "PYTHONPATH" in environments[2]


def test_options_reach_our_side(program: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    class Seen(Exception):
        pass

    def introduce(ours: Any, seconds: float) -> None:
        raise Seen(ours.backend, ours.environment["TINYFCN_CONV"])

    monkeypatch.setattr(program, "introduce", introduce)
    with pytest.raises(Seen, match=r"'numpy', 'winograd4'"):
        program.main(["--conv", "winograd4"])


def test_what_cannot_be_done_is_said_clearly(program: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "torch.py").write_text("raise ImportError")
    without_torch = tmp_path / "python"
    without_torch.write_text(f"#!/bin/sh\nPYTHONPATH='{tmp_path}' exec '{sys.executable}' \"$@\"\n")
    without_torch.chmod(0o755)
    for arguments, words in (
        (["--only", "unheard-of"], "--only: nothing is called unheard-of"),
        (["--backend", "abacus"], "expected one of numpy, cupy, emulator, got 'abacus'"),
        (["--against", "torch", "--torch-python", without_torch], "has no PyTorch"),
        (["--against", "torch", "--torch-python", tmp_path / "none"], "none: No such file"),
    ):
        with pytest.raises(program.UsageError, match=words):
            program.main([str(argument) for argument in arguments])
