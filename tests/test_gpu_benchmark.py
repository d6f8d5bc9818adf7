"""The benchmark of a GPU, on an engine that is none: what it measures, says and writes."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tinyfcn import cli
from tinyfcn.backend.cuda.emulator import Emulator
from tinyfcn.backend.cuda.timing import Gpu
from tinyfcn.benchmark import gpu, work
from tinyfcn.benchmark.measure import Side
from tinyfcn.benchmark.work import Work
from tinyfcn.cli import benchmark
from tinyfcn.kernel_lab.cases import sizes

TINY = {"n": 1, "c": 4, "h": 8, "w": 6, "out": 6, "kernel": 3, "stride": 2, "groups": 2}
LINES = [
    Work("convolutions", "tiny", work.conv, TINY, quick=True),
    Work("networks", "a network", work.train, {}),
]


class Timed(Emulator):
    """A small GPU, which takes a millisecond for everything, and two for what PyTorch does."""

    def timed(self, work: Callable[[], object], repeats: int) -> list[float]:
        return [2e-3 if isinstance(work(), str | list) else 1e-3] * repeats

    def gpu(self) -> Gpu:
        return Gpu("A GPU", "90", 1, 1.0, 0.1)


class Done(gpu.Worker):
    """A process that has measured."""

    def __init__(self, side: Side, seconds: list[float]) -> None:
        self.side, self.seconds = side, seconds


NETWORK, PYTORCH = gpu.network, gpu.pytorch


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Tiny sizes, few kernels, no PyTorch, an empty folder."""
    monkeypatch.setattr(benchmark, "CupyEngine", Timed)
    monkeypatch.setattr(gpu, "WORK", LINES)
    monkeypatch.setattr(gpu, "NETWORKS", ("a network",))
    monkeypatch.setattr(gpu, "SIDES", (16, 8))
    monkeypatch.setattr(gpu, "COPIED", 10)
    monkeypatch.setattr(gpu, "CASES", {n: gpu.CASES[n] for n in ("relu", "sgd_update", "gemm_1")})
    monkeypatch.setattr(gpu, "for_a_gpu", lambda case: tuple(sizes(case).values()))
    monkeypatch.setattr(
        gpu, "network", lambda line, torch: gpu.Figures(0.25, theirs={"torch": 0.5})
    )
    monkeypatch.setattr(gpu, "pytorch", lambda: None)
    monkeypatch.chdir(tmp_path)


def table(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """What a run prints, which the file holds too."""
    assert cli.main(["benchmark", "--backend", "cupy", *words]) == 0
    said = capsys.readouterr().out
    shown, _, end = said.rpartition("\n\n")
    assert end.startswith("benchmark-gpu.txt has this table: ")
    written = Path("benchmark-gpu.txt").read_text("utf-8")
    assert written.startswith("tinyfcn benchmark\n" + shown.rstrip())
    assert '"commit"' in written
    return shown


def test_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    shown = table(capsys)
    assert shown.startswith("A GPU, compute capability 9.0")
    assert "cuDNN: no PyTorch finds the GPU" in shown
    assert "\n4 of 4 kernels of float32 and float16 compute what NumPy does\n" in shown
    groups = re.findall(r"^\w.*$", shown.split("NumPy does")[1], re.MULTILINE)
    assert groups == ["matrix products", "convolutions", "memory", "networks"]
    # 2 · 16³ operations in a millisecond, of 10⁹ a second; cuBLAS takes as long
    (line,) = (line for line in shown.splitlines() if line.startswith("  gemm_1 16x16x16 "))
    assert " ".join(line.split()[2:]) == "1.000 0 GFLOP/s 1% cuBLAS 1.000 (1.00)"
    for name in (
        "gemm_6 8x8x8",
        "tiny, forward",
        "tiny, input",
        "tiny, weights",
        "tiny, input and weights",
    ):
        assert f"  {name} " in shown
    # relu reads and writes 2 · 8 · 16 · 24 floats
    assert re.search(r"^  relu +1\.000 +0 GB/s +49%$", shown, re.MULTILINE)
    assert re.search(r"^  a network +250\.000  torch 500\.000 \(0\.50\)$", shown, re.MULTILINE)
    assert "  gemm_1   " not in shown  # it is among the products


def test_some_of_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert "  relu " not in table(capsys, "--quick")
    shown = table(capsys, "--only", "SGD", "tiny")
    assert re.findall(r"^  (\w+)", shown, re.MULTILINE) == [*["tiny"] * 4, "sgd_update"]
    with pytest.raises(SystemExit):
        cli.main(["benchmark", "--backend", "cupy", "--only", "nothing"])
    assert "nothing that a GPU is measured by is called nothing" in capsys.readouterr().err


def test_what_fails_or_comes_too_late_is_named(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise MemoryError("out of\nmemory")

    monkeypatch.setattr(gpu, "copied", fails)
    assert re.search(r"a copy of 256 MiB +left out: out of memory$", table(capsys), re.MULTILINE)
    monkeypatch.setattr(gpu, "LIMIT", -1)
    shown = table(capsys, "--only", "memory")
    assert "left out, for lack of time: a copy of 256 MiB, relu, sgd_" in shown


def test_at_ctrl_c_what_is_known_is_written(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(gpu, "kernel", stop)
    with pytest.raises(KeyboardInterrupt):
        gpu.run(Timed(), ["copy", "relu"], False, Path())
    assert "a copy of 256 MiB" in Path("benchmark-gpu.txt").read_text("utf-8")


def test_a_wrong_kernel_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "verdicts", lambda results, _: [(results[0].ndim == 4, "")])
    assert gpu.right(Timed()) == (
        "2 of 4 kernels of float32 and float16 compute what NumPy does; "
        "WRONG: sgd_update of float32, gemm_1 of float32"
    )


def test_beside_cudnn(monkeypatch: pytest.MonkeyPatch) -> None:
    """All that is asked of PyTorch, with the arguments of its documentation."""
    asked: dict[str, Any] = {}
    cudnn = SimpleNamespace(allow_tf32=None)

    def answer(name: str) -> Callable[..., str]:
        def call(*arguments: Any) -> str:
            asked[name, cudnn.allow_tf32] = [getattr(a, "shape", a) for a in arguments]
            return "by PyTorch"

        return call

    torch = SimpleNamespace(
        randn=lambda shape, device: np.empty(shape), backends=SimpleNamespace(cudnn=cudnn),
        nn=SimpleNamespace(
            functional=SimpleNamespace(conv2d=answer("conv2d")),
            grad=SimpleNamespace(
                conv2d_input=answer("conv2d_input"), conv2d_weight=answer("conv2d_weight")
            ),
        ),
    )  # fmt: skip
    engine = Timed()
    backend = gpu.CudaBackend(engine)
    for which in gpu.PASSES:
        found = gpu.convolution(backend, engine.gpu(), torch, LINES[0], which)
        assert found.theirs == {"cuDNN": 2e-3, "TF32": 2e-3}
        products = 2 if which == "conv2d_grads" else 1
        assert found.done == products * 2 * 6 * 2 * 9 * 4 * 3 / 1e9  # OC, C / G, K², OH, OW
    x, weight, gy, rest = (1, 4, 8, 6), (6, 2, 3, 3), (1, 6, 4, 3), [(2, 2), (1, 1), (1, 1), 2]
    for tf32 in (False, True):
        assert asked["conv2d", tf32] == [x, weight, None, *rest]
        assert asked["conv2d_input", tf32] == [x, weight, gy, *rest]
        assert asked["conv2d_weight", tf32] == [x, weight, gy, *rest]


def test_networks_are_measured_as_on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each in a process of its own, beside two ways of PyTorch."""
    asked: list[Any] = []

    def measure(line: Work, ours: Any, peers: Any, seconds: float, least: int) -> Any:
        asked.extend([line.name, ours.backend, [side.name for ways in peers for side in ways]])
        sides = [ours, *(side for ways in peers for side in ways)]
        times = zip(sides, (0.3, 0.5, 0.2), strict=False)
        return [Done(side, [time]) for side, time in times], []

    monkeypatch.setattr(gpu, "measure", measure)
    assert NETWORK(LINES[1], None) == gpu.Figures(0.3, theirs={})
    assert NETWORK(LINES[1], "torch") == gpu.Figures(0.3, theirs={"torch channels_last": 0.2})
    ways = ["torch eager", "torch channels_last"]
    assert asked == ["a network", "cupy", [], "a network", "cupy", ways]


@pytest.mark.parametrize("finds", [None, False, True])
def test_pytorch_counts_where_it_finds_the_gpu(monkeypatch: pytest.MonkeyPatch, finds: Any) -> None:
    torch = SimpleNamespace(
        cuda=SimpleNamespace(is_available=lambda: finds),
        backends=SimpleNamespace(cudnn=SimpleNamespace(benchmark=False)),
    )
    monkeypatch.setattr(gpu.importlib.util, "find_spec", lambda name: finds is not None)
    monkeypatch.setattr(gpu.importlib, "import_module", lambda name: torch)
    assert PYTORCH() is (torch if finds else None)
    assert torch.backends.cudnn.benchmark == (finds is not None)
