"""The benchmark measures what it says, at sizes that take no time."""

from __future__ import annotations

import ast
import inspect
import json
import os
import re
import sys
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from tinyfcn import backend, models
from tinyfcn.backend.cpu import memory
from tinyfcn.backend.errors import BackendError
from tinyfcn.benchmark import measure, peers, report, with_onnx, with_tinyfcn, work
from tinyfcn.benchmark.measure import Side, Worker
from tinyfcn.benchmark.work import WORK, Step, Work
from tinyfcn.cli import benchmark
from tinyfcn.cli.errors import UsageError

ROOT = Path(__file__).resolve().parents[1]

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
    "copy": {"size": 16},
}


TWO = [
    Work("tiny ones", f"tiny {kind}", getattr(work, kind), TINY[kind]) for kind in ("conv", "relu")
]


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two tiny pieces of work, in processes that find tinyfcn."""
    monkeypatch.setattr(benchmark, "WORK", TWO)
    monkeypatch.setattr(benchmark, "SGEMM", Work("", "", work.sgemm, TINY["sgemm"]))
    monkeypatch.setattr(benchmark, "COPY", Work("", "", work.copy, TINY["copy"]))
    monkeypatch.setattr(measure, "TURN", 0.01)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    for name in benchmark.SLOWING:
        monkeypatch.delenv(name, raising=False)


def prepared(kind: str, **arguments: Any) -> Step:
    step: Step = getattr(work, kind)(with_tinyfcn, **arguments)
    return step


@pytest.mark.parametrize("kind", TINY)
def test_every_kind_of_work_can_be_repeated(kind: str) -> None:
    step = prepared(kind, **TINY[kind])
    assert with_tinyfcn.count_flops(step) == with_tinyfcn.count_flops(step)
    assert not vars(backend.active())  # nobody counts any more


def test_every_kind_of_work_is_on_a_line() -> None:
    for line in WORK:
        inspect.signature(line.kind).bind(with_tinyfcn, **line.arguments)
    assert {line.kind.__name__ for line in WORK} | {"sgemm", "copy"} == set(TINY)
    assert len({line.name for line in WORK}) == len(WORK)


@pytest.mark.parametrize("options", [work.UNET, work.SEGNET, work.DEEPLAB], ids=str)
def test_other_networks_learn_too(options: dict[str, Any]) -> None:
    h, w = (188, 204) if "margin" in options else (33, 47)
    step = prepared("train", n=1, h=h, w=w, width=1 / 64, **options)
    assert with_tinyfcn.count_flops(step) > 0


def test_pytorchs_networks_have_the_same_layers() -> None:
    torch = pytest.importorskip("torch")
    from tinyfcn.benchmark import models_with_torch

    for name in "fcn8s", "unet", "segnet", "deeplabv3_resnet50":
        options = {"aux_loss": False} if name.startswith("deep") else {}
        ours = getattr(models, name)(num_classes=5, **options)
        with torch.device("meta"):
            theirs = getattr(models_with_torch, name)(num_classes=5)
        shapes = (sorted(tuple(p.shape) for p in m.parameters()) for m in (ours, theirs))
        assert next(shapes) == next(shapes)


def test_convolutions_are_counted_by_their_shapes() -> None:
    def count(kind: str, **arguments: Any) -> int:
        return with_tinyfcn.count_flops(prepared(kind, **arguments))

    square = {"n": 2, "h": 9, "w": 7, "kernel": 3}
    once = 2 * 2 * (9 * 7) * 6 * 4 * (3 * 3)
    assert count("conv", c=4, out=6, **square) == 3 * once  # forward, gradients of input and weight
    assert count("conv", c=4, out=6, dilation=2, **square) == 3 * once
    assert count("conv", c=4, out=6, groups=2, **square) == 3 * once // 2
    assert count("conv", c=4, out=6, stride=2, **square) == 3 * 2 * 2 * (5 * 4) * 6 * 4 * 9
    assert count("conv", c=3, out=8, **square) == 2 * once  # an image needs no gradient
    assert count("relu", **IMAGE) == 0

    # FCN-8s of 1/64 width on 32 × 32 pixels, layer by layer: pixels · C · OC · KH · KW.
    backbone = 1024 * (3 + 1) * 9 + 256 * (2 + 4) * 9 + 64 * (8 + 16 + 16) * 9
    backbone += 16 * (32 + 64 + 64) * 9 + 4 * 3 * 64 * 9
    head = 8 * 64 * 49 + 64 * 64 + 64 * 21
    skips = 4 * 8 * 21 + 16 * 4 * 21
    upsampling = 21 * (1 * 16 + 4 * 16 + 16 * 256)  # each class by itself
    expected = 2 * (backbone + head + skips + upsampling)
    assert count("infer", n=1, h=32, w=32, width=1 / 64) == expected


def test_libraries_give_what_the_work_takes_of_them() -> None:
    """PyTorch's side is read, not run: it is not there."""

    def tree(name: str) -> ast.Module:
        return ast.parse((ROOT / "tinyfcn" / "benchmark" / name).read_text(encoding="utf-8"))

    taken = {
        node.attr
        for node in ast.walk(tree("work.py"))
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "lib"
    }
    assert {"F", "nn", "optim", "normal", "models", "ready"} <= taken
    given: set[str] = set()
    for node in tree("with_torch.py").body:
        if isinstance(node, ast.Assign):
            given |= {name.id for name in ast.walk(node.targets[0]) if isinstance(name, ast.Name)}
        elif isinstance(node, ast.Import | ast.ImportFrom):
            given |= {alias.asname or alias.name for alias in node.names}
        elif isinstance(node, ast.FunctionDef):
            given.add(node.name)
    worker = {"setup", "synchronize", "count_flops"}
    assert (taken - {"matrix_product", "copy"}) | worker <= given
    assert all(hasattr(with_tinyfcn, name) for name in taken | worker)
    inferring = {"models", "normal", "ready", "inference"}
    assert all(hasattr(with_onnx, name) for name in inferring | worker)


def test_a_table_json_and_a_chart(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    benchmark.main(
        ["--quick", "--only", "TINY", "--seconds", "0.02", "--out", str(tmp_path / "out")]
    )
    said = capsys.readouterr().out
    assert f"NumPy {np.__version__}" in said
    assert " kernel" in said
    assert re.search(
        r": \d+ GFLOP/s on 1 thread, \d+ on \d+; a copy reads and writes .* GB/s", said
    )
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
    picture = (tmp_path / "out" / "benchmark.png").read_bytes()
    assert picture.startswith(b"\x89PNG") and b"tinyfcn benchmark" in picture[:4096]


def test_memory_is_that_of_the_process_that_works() -> None:
    ballast = np.ones(25_000_000)  # 200 MB, of this process
    million = 1_000_000
    small, large = (
        measure.measure(Work("", "", work.sgd, {"size": size}), Side(), (), 0.0, 1)[0][0].memory
        for size in (100, 5 * million)
    )
    assert small is not None and large is not None
    assert small < ballast.nbytes
    assert 60 * million <= large - small < 90 * million  # weights, gradients, velocities


class Fake:
    """A worker whose repetitions take as long as its way says."""

    turns: ClassVar[list[str]] = []
    open: ClassVar[set[str]] = set()
    median = Worker.median

    def __init__(self, side: Side, work: Work, network: str | None) -> None:
        assert network is None
        if side.way == "broken":
            raise BackendError("torch broken in python: no C++ compiler\nand much more")
        self.side, self.flops = side, None
        self.seconds: list[float] = []
        self.memory = 100_000_000 * len(side.name)
        self.open.add(side.way)

    def ask(self, message: Any) -> None:
        """Warm up, which takes no time."""

    def turn(self, seconds: float) -> None:
        self.turns.append(self.side.way)
        self.seconds.append(float(self.side.way))

    def close(self) -> None:
        self.open.discard(self.side.way)


def test_the_best_ways_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "Worker", Fake)
    monkeypatch.setattr(Fake, "turns", [])
    torch = [Side("torch", way) for way in ("0.4", "0.3", "broken", "0.5", "0.2")]
    ours, other = Side(way="0.1"), [Side("openvino", "0.7")]
    workers, failed = measure.measure(TWO[1], ours, [torch, other], 1.5, 4)
    assert failed == ["torch broken in python: no C++ compiler"]
    final = ["0.1", "0.2", "0.3", "0.7"]  # the slowest three repetitions, the fastest 15
    assert Fake.turns == ["0.4", "0.3", "0.5", "0.2", "0.7", *final * 15]
    assert not Fake.open
    figures = measure.figures(TWO[1], workers, 20.0)  # type: ignore[arg-type]
    theirs = figures["against"]
    assert [peer["side"] for peer in theirs.values()] == ["torch 0.2", "openvino 0.7"]
    assert theirs["torch"]["time_ratio"] == 0.5
    assert theirs["openvino"]["memory_ratio"] == len("tinyfcn 0.1") / len("openvino 0.7")
    first, second = report.row(figures).splitlines()
    assert first.split()[:2] == ["100.0", "1100"]
    assert second.split() == ["|", "openvino", "0.7", "700.0", "1200", "0.14", "0.92"]
    assert first.index("|") + 26 == second.index("|")  # the name of the work stands before it


def test_peers_have_all_their_ways() -> None:
    sides = peers.ways("torch", Side(), "python", quick=False)
    kinds = ("eager", "channels_last", "compiled")
    assert [side.way for side in sides] == [w for kind in kinds for w in (kind, f"{kind}+malloc")]
    for side in sides:
        assert side.environment is not None
        added = {k: v for k, v in side.environment.items() if k not in os.environ}
        # As memory.keep() sets it, for a process by its environment.
        expected = {
            "MALLOC_MMAP_THRESHOLD_": str(memory.LARGEST),
            "MALLOC_TRIM_THRESHOLD_": str(memory.NEVER),
        }
        assert added == (expected if side.way.endswith("+malloc") else {})
        assert {*expected} < {*memory.SETTLED}
    assert peers.ways("torch", Side(), "python", quick=True) == sides[:4]
    ours = Side(backend="numpy", environment={"TINYFCN_CONV": "tiles"})
    assert peers.ways("one-thread", ours, "python", quick=False) == [
        Side("one-thread", backend="numpy", environment=ours.environment, threads=1)
    ]


def test_our_onnx_file_is_run_where_it_can_be() -> None:
    ways = peers.ways("onnxruntime", Side(), sys.executable, quick=False)
    infer = Work("tiny ones", "tiny infer", work.infer, TINY["infer"])
    (_, theirs), failed = measure.measure(infer, Side(), [ways], 0.0, 2)
    assert theirs.about.keys() == {"onnxruntime", "threads"}
    assert theirs.side.name == "onnxruntime"
    assert len(theirs.seconds) >= 2
    assert not failed
    workers, failed = measure.measure(TWO[1], Side(), [ways], 0.0, 1)
    assert len(workers) == 1  # there is no file of other work
    assert not failed


def test_ratios_are_ours_over_theirs(tmp_path: Path) -> None:
    ours, theirs, unknown = (
        Fake(side, TWO[0], None) for side in (Side(), Side("torch"), Side("other"))
    )
    ours.seconds, ours.memory, ours.flops = [0.1, 0.2, 0.9], 300_000_000, 10**9
    theirs.seconds, theirs.memory = [0.5, 0.4], 400_000_000
    unknown.seconds, unknown.memory = [1.0], None
    figures = measure.figures(TWO[0], [ours, theirs, unknown], 20.0)  # type: ignore[list-item]
    assert figures["against"]["torch"]["time_ratio"] == pytest.approx(0.2 / 0.45)
    assert figures["against"]["torch"]["memory_ratio"] == 0.75
    line, _ = report.row(figures).splitlines()
    assert line.split() == [
        "200.0",
        "5",
        "25%",
        "300",
        "|",
        "torch",
        "450.0",
        "400",
        "0.44",
        "0.75",
    ]
    assert len(report.head("networks", peers=True)) == len(f"  {'':24}") + len(line)
    report.draw(
        [figures, {**figures, "name": "alone", "against": {}}], "two", tmp_path / "chart.png"
    )
    assert (tmp_path / "chart.png").exists()


def test_scaling_compares_pixels() -> None:
    small = {"name": "infer fcn8s 256x256", "seconds": 1.0}
    large = {"name": "infer fcn8s 1024x1024", "seconds": 17.6}
    assert report.per_pixel([small, large]).endswith(" 1.10")
    assert report.per_pixel([small]) is None


def test_a_slow_kernel_is_called_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    environments = []

    def best(work: Work, side: Side, seconds: float) -> Any:
        environments.append(side.environment)
        about = {"cpu": "a CPU", "threads": side.threads or 2, "numpy": "2", "blas": "a kernel"}
        return about, 2.0 / (side.threads or 2)

    monkeypatch.setattr(benchmark, "best", best)
    machine, peak = benchmark.introduce(Side(), 0.01)
    said = capsys.readouterr().out
    assert said.startswith("a CPU, 2 threads, NumPy 2, a kernel\n")
    assert machine in said
    assert peak == 2 * 16**3 / 1e9
    assert "WARNING" not in said
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Nehalem")
    benchmark.introduce(Side(), 0.01)
    assert "WARNING: OPENBLAS_CORETYPE=Nehalem is set; without it " in capsys.readouterr().out
    *others, free = environments
    assert others == [None] * 6
    assert "OPENBLAS_CORETYPE" not in free
    assert "PYTHONPATH" in free


def test_options_reach_our_side(monkeypatch: pytest.MonkeyPatch) -> None:
    class Seen(Exception):
        pass

    def introduce(ours: Any, seconds: float) -> None:
        raise Seen(ours.backend, ours.environment["TINYFCN_CONV"])

    monkeypatch.setattr(benchmark, "introduce", introduce)
    with pytest.raises(Seen, match=r"'numpy', 'winograd4'"):
        benchmark.main(["--conv", "winograd4"])


def test_what_cannot_be_done_is_said_clearly(tmp_path: Path) -> None:
    for peer in "torch", "openvino":
        (tmp_path / f"{peer}.py").write_text("raise ImportError")
    without_peers = tmp_path / "python"
    without_peers.write_text(f"#!/bin/sh\nPYTHONPATH='{tmp_path}' exec '{sys.executable}' \"$@\"\n")
    without_peers.chmod(0o755)
    for arguments, words in (
        (["--only", "unheard-of"], "--only: nothing is called unheard-of; --list tells the names"),
        (["--only", "rleu"], r"--only: nothing is called rleu; did you mean relu\?"),
        (["--only", "tinny", "relu."], r"called tinny or relu\.; did you mean tiny relu\?"),
        (["--backend", "abacus"], "backend: expected one of numpy, .*, got 'abacus'"),
        (
            ["--against", "torch,openvino", "--against-python", without_peers],
            r"python has no torch\. .*\n--against openvino: .*python has no openvino\. ",
        ),
        (
            ["--against", "torch", "--against-python", tmp_path / "none"],
            "No such file.*none",
        ),
    ):
        with pytest.raises((UsageError, BackendError, OSError), match=words):
            benchmark.main([str(argument) for argument in arguments])
