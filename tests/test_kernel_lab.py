"""The kernel lab: every command on a small kernel, and what the kernels' texts promise of it."""

from __future__ import annotations

import math
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tinyfcn import cli
from tinyfcn.backend.cuda import nvrtc
from tinyfcn.backend.cuda.emulator import Emulator
from tinyfcn.backend.cuda.kernels import declared, folder
from tinyfcn.backend.cuda.timing import Gpu
from tinyfcn.cli import kernels
from tinyfcn.cli.kernels import FINAL, _speed, parse, size_of
from tinyfcn.kernel_lab.cases import CASES, for_a_gpu, larger, multiply_adds
from tinyfcn.kernel_lab.work import Launch, takes_half

KERNELS = declared()
ROOT = Path(__file__).resolve().parents[1]
COMMAND = "tinyfcn kernels"
LESSON = "".join(
    (ROOT / "kernels" / name).read_text(encoding="utf-8") for name in ("README.md", "PROFILE.md")
)
SHELL = "\n".join(re.findall(r"^```sh\n(.*?)^```$", LESSON, re.MULTILINE | re.DOTALL))
COMMANDS = [line for line in SHELL.splitlines() if line.startswith(COMMAND)]
COMMANDS += re.findall(rf"`({COMMAND} [^`]*)`", LESSON)
COMMANDS += [
    line
    for source in sorted(folder().glob("*.cu"))
    for line in re.findall(r"^// Run: +(.*)$", source.read_text(encoding="utf-8"), re.MULTILINE)
]

Call = Callable[..., tuple[int, str]]


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    """Run a command in this process; gives its exit status and all that it said."""
    monkeypatch.delenv("TINYFCN_EMULATOR", raising=False)

    def run(*words: object) -> tuple[int, str]:
        status: object = 0
        try:
            status = cli.main(["kernels", *map(str, words)])
        except SystemExit as stop:
            status = stop.code
        said = capsys.readouterr()
        if isinstance(status, str):  # sys.exit prints it, and the status is 1
            return 1, said.out + status
        assert isinstance(status, int)
        return status, said.out + said.err

    return run


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the kernels, to spoil."""
    return Path(shutil.copytree(folder(), tmp_path / "kernels"))


def replace(file: Path, old: str, new: str, of: str) -> None:
    """Change the first ``old`` behind the head of the kernel ``of``."""
    before, head, after = file.read_text("utf-8").partition(f"{of}(")
    assert old in after
    file.write_text(before + head + after.replace(old, new, 1), "utf-8")


# ---- the commands ----


def test_list(call: Call) -> None:
    status, said = call("list")
    assert status == 0
    for file in folder().glob("*.cu"):
        (part,) = re.findall(rf"^{file.name}: .*?(?=^\w+\.cu: |\Z)", said, re.DOTALL | re.MULTILINE)
        declarations = part.split("\n\n")[2]
        kernels = [kernel for kernel in KERNELS.values() if kernel.file == file.name]
        assert declarations.splitlines() == [f"  {kernel}" for kernel in kernels]
    assert "relu_grad    gy where y > 0, else 0\n" in said  # the table at the head of a file


@pytest.mark.parametrize("name", CASES)
def test_every_kernel_runs_and_is_right(call: Call, name: str) -> None:
    status, said = call("run", name)
    assert status == 0, said
    assert re.search(rf"^  {name}\b.* grid .* block .* ms on the CPU$", said, re.MULTILINE)
    assert "right, largest error" in said and "WRONG" not in said


@pytest.mark.parametrize("name", CASES)
def test_every_case_works_in_the_larger_size(call: Call, name: str) -> None:
    only = {parameter.type for parameter in KERNELS[name].parameters} >= {"float*"}
    dtype = "float32" if only else "float64"
    status, said = call("run", name, "--dtype", dtype, "--size", *larger(CASES[name]))
    assert status == 0, said


@pytest.mark.parametrize("name", [name for name in CASES if takes_half(KERNELS[name])])
def test_kernels_of_halves_run_and_are_right(call: Call, name: str) -> None:
    status, said = call("run", name, "--dtype", "float16")
    assert status == 0, said
    assert re.search(rf"^  {name}<(half|Fp16)> ", said, re.MULTILINE)


def test_run_of_another_size_and_dtype(call: Call) -> None:
    status, said = call("run", "gemm_2", "--size", 5, 7, 3, "--dtype", "float64")
    assert status == 0
    assert "gemm_2 of gemm.cu, float64, M N K = 5 7 3" in said
    assert "gemm_2<double>" in said and "result (5, 7): right" in said


class Timed(Emulator):
    """A small GPU, which takes a millisecond for everything."""

    def timed(self, work: Callable[[], object], repeats: int) -> list[float]:
        work()
        return [1e-3] * repeats

    def gpu(self) -> Gpu:
        return Gpu("A GPU", "90", 1, 1.0, 0.1)


@pytest.mark.parametrize(
    ("name", "size", "dtype", "speed"),
    [
        ("gemm_1", (50, 100, 40), "float32", "1.000 ms on the GPU, 0 GFLOP/s, 40% of its peak"),
        ("gemm_1", (50, 100, 40), "float64", "1.000 ms on the GPU, 0 GFLOP/s"),
        ("conv2d", (1, 4, 8, 8, 50, 3, 2), "float32", "0 GFLOP/s, 6% of its peak"),
        ("depthwise_weight_grad", (5, 4, 8, 9, 3, 1), "float32", "0 GFLOP/s, 3% of its peak"),
        ("relu", (1, 8, 25, 50), "float32", "1.000 ms on the GPU, 0 GB/s, 80% of its peak"),
    ],
)
def test_on_a_gpu_speed_is_told(
    call: Call, monkeypatch: pytest.MonkeyPatch, name: str, size: Any, dtype: str, speed: str
) -> None:
    """Shares by hand: of gemm_1 2 · 50 · 100 · 40 of 10⁶, of relu 80,000 bytes of 10⁵."""
    monkeypatch.setattr(kernels, "CupyEngine", Timed)
    words = ("run", name, "--backend", "cupy", "--dtype", dtype)
    status, said = call(*words, "--size", *size)
    assert status == 0, said
    assert said.startswith("A GPU, compute capability 9.0, 1 multiprocessors")
    (line,) = (line for line in said.splitlines() if line.startswith(f"  {name}"))
    assert line.endswith(speed)
    assert "result" in said and "WRONG" not in said


def test_sizes_for_a_gpu() -> None:
    for name, case in CASES.items():
        size = for_a_gpu(case)
        assert size_of(name, size) == size and math.prod(size) >= 2**24, name
    assert for_a_gpu(CASES["gemm_4"]) == (2048, 2048, 2048)
    assert for_a_gpu(CASES["conv2d"]) == (8, 64, 64, 64, 64, 3, 1)
    assert multiply_adds("gemm_4", (3, 4, 5)) == 60
    assert multiply_adds("conv2d", (2, 3, 5, 5, 7, 3, 2)) == 2 * 3 * 7 * 9 * 9
    assert multiply_adds("depthwise_weight_grad", (2, 3, 5, 5, 1, 1)) == 2 * 3 * 25
    assert multiply_adds("im2col", (1, 1, 1, 1, 1, 1, 1)) == 0


def test_a_wrong_answer_is_called_wrong(call: Call, copy: Path) -> None:
    replace(copy / "activation.cu", "Stored(0)", "Stored(1)", of="relu")
    status, said = call("run", "relu", "--kernels", copy)
    assert status == 1
    assert "result (2, 8, 16, 24): WRONG, largest error 1," in said
    status, said = call("check", "relu", "--kernels", copy)
    assert status == 1
    assert "seed 1: no fault, but WRONG" in said


def test_check(call: Call) -> None:
    status, said = call("check", "gemm_2", "--size", 17, 15, 18)
    assert status == 0
    assert said.count("no fault, and the result is right") == 2
    assert "M N K = 17 15 18, seed 1" in said and "seed 2" in said


def test_check_takes_two_sizes_if_none_is_given(call: Call) -> None:
    _, said = call("check", "conv1x1")
    assert "N C H W OC KERNEL STRIDE = 1 16 16 32 64 1 1, seed 2" in said
    assert "N C H W OC KERNEL STRIDE = 2 17 17 33 65 1 1, seed 2" in said


def test_check_names_the_lines_of_a_race(call: Call, copy: Path) -> None:
    replace(copy / "gemm.cu", "right[k][x];\n        __syncthreads();", "right[k][x];", of="gemm_2")
    status, said = call("check", "gemm_2", "--kernels", copy)
    assert status == 1
    found = re.match(r"race: gemm_2<float> \(gemm\.cu:(\d+)\).* at line (\d+) \(race\)", said)
    assert found, said
    lines = (copy / "gemm.cu").read_text("utf-8").splitlines()
    texts = {lines[int(number) - 1].strip()[:13] for number in found.groups()}
    assert texts & {"left[y][x] = ", "right[y][x] ="} and "for (int k = " in texts


def test_profile(call: Call) -> None:
    status, said = call("profile", "gemm_3", "--size", 64, 64, 16)
    assert status == 0
    assert re.search(r"gemm\.cu:\d+ +shared writes .* 2\.00 /  1\.00   left\[x\]\[row\] =", said)
    assert "!" not in said.split("gemm_3<float>")[1]


def test_profile_shows_what_a_change_costs(call: Call, copy: Path) -> None:
    replace(copy / "gemm.cu", "[TILE + 1]", "[TILE]", of="gemm_3")
    _, said = call("profile", "gemm_3", "--size", 64, 64, 16, "--kernels", copy)
    assert re.search(r"shared writes .* 16\.00 /  1\.00 ! left\[x\]\[row\] =", said)


def test_no_bank_conflict_of_the_final_versions_is_above_two_ways(call: Call) -> None:
    status, said = call("profile", "--all")
    assert status == 0
    assert said.count("\n\n") == len(FINAL)
    rows = re.findall(r"shared \w+ +\d+ x +([\d.]+) / +([\d.]+)", said)
    assert len(rows) > 20
    assert all(float(turns) <= 2 * float(least) for turns, least in rows)
    # The lesson quotes every line that is marked, and has the reason.
    for text in re.findall(r"^\S+:\d+ .* ! (.*)$", said, re.MULTILINE):
        assert f"`{text}" in LESSON


@pytest.mark.parametrize(
    "function, capability, share",
    [("gemm_6", "75", "100%"), ("gemm_4<float>", "90", "100%"), ("gemm_4<double>", "90", ""),
     ("gemm_7<Tf32>", "90", "12%"), ("gemm_7<Bf16>", "80", "6%"), ("gemm_7<Bf16>", "120", "")],
)  # fmt: skip
def test_the_share_of_the_peak_is_that_of_the_type(
    function: str, capability: str, share: str
) -> None:
    gpu = Gpu("a GPU", capability, 1, gflops=1000.0, gbytes=0.0)
    launch = Launch(function, (1, 1, 1), (1, 1, 1), 2e-3, 0)
    said = _speed(launch, gpu, function.split("<")[0], (100, 100, 10**5))
    assert said == ", 1,000 GFLOP/s" + (f", {share} of its peak" if share else "")


def test_resources(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    try:
        nvrtc.library()
    except nvrtc.NvrtcError as missing:
        pytest.skip(str(missing))
    one_file = {name: kernel for name, kernel in KERNELS.items() if kernel.file == "sums.cu"}
    monkeypatch.setattr(nvrtc, "declared", lambda: one_file)  # all take their time
    status, said = call("resources", "--arch", "sm_80")
    assert status == 0
    assert re.search(r"sum_pixels<float> +sm_80 +\d+ registers +2048 bytes shared", said)


def test_without_its_compiler_there_are_no_resources(
    call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing() -> None:
        raise nvrtc.NvrtcError("NVRTC is missing")

    monkeypatch.setattr(nvrtc, "library", missing)
    assert call("resources") == (2, "error: NVRTC is missing\n")


def test_debug_prints_the_command(call: Call) -> None:
    status, said = call("debug", "gemm_2")
    assert status == 0
    assert "stops in thread (3, 2) of block (1, 0)" in said
    command = shlex.split(said.splitlines()[-1])
    assert command[0] == "TINYFCN_EMULATOR=debug" and command[1] == "gdb"
    (line,) = re.findall(
        r"break gemm\.cu:(\d+) if blockIdx\.x == 1 && blockIdx\.y == 0 && "
        r"threadIdx\.x == 3 && threadIdx\.y == 2",
        said,
    )
    text = (folder() / "gemm.cu").read_text("utf-8").splitlines()
    assert "left[SIDE][SIDE]" in text[int(line) - 1]
    assert "stops in thread (3, 0) of block (1, 0)" in call("debug", "relu")[1]


@pytest.mark.skipif(not shutil.which("gdb"), reason="gdb is not installed")
def test_gdb_stops_in_the_thread() -> None:
    done = subprocess.run(
        [sys.executable, "-m", *COMMAND.split(), "debug", "gemm_2", "--gdb"],
        cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if "ptrace" in done.stderr:
        pytest.skip(f"gdb may not trace processes here: {done.stderr.splitlines()[-1]}")
    assert re.search(r"hit Breakpoint 1.*gemm_2<float>", done.stdout, re.DOTALL), done.stderr


@pytest.mark.parametrize(
    "words, sentence",
    [
        ("run gemmm_4", "error: no kernel is called 'gemmm_4'; did you mean gemm_4?"),
        ("check nothing", "error: no kernel is called 'nothing'; the command list tells the names"),
        ("profile no", "error: no kernel is called 'no'"),
        ("rnu relu", "error: kernels: unknown command rnu; did you mean run?"),
        ("run relu --dytpe float64", "error: unknown option --dytpe; did you mean --dtype?"),
        ("run gemm_1 --dtype float16", "error: gemm_1: takes no arrays of float16"),
        ("profile", "error: profile: expected the name of a kernel, or --all"),
        ("debug no", "error: no kernel is called 'no'"),
        ("run relu --size 3 3", "error: --size: expected N C H W, each at least 1, such as 2 8"),
        (
            "run max_pool2d --size 1 1 1 1",
            "with size 1 1 1 1: max_pool2d: the window spans 2 pixels",
        ),
        (
            "run relu --kernels . --backend cupy",
            "error: no folder of kernels with common.cuh: looked for .",
        ),
    ],
)
def test_one_sentence_says_what_is_wrong(call: Call, words: str, sentence: str) -> None:
    status, said = call(*words.split())
    assert status == 2
    assert sentence in said


def test_what_does_not_compile_is_an_error(call: Call, copy: Path) -> None:
    replace(copy / "activation.cu", "e > 0", "e > nothing", of="relu")
    status, said = call("run", "relu", "--kernels", copy)
    assert status == 2
    assert "'nothing' was not declared" in said


# ---- what is promised ----


@pytest.mark.parametrize("line", COMMANDS)
def test_every_command_names_what_exists(line: str, copy: Path) -> None:
    line = line.replace("/tmp/kernels", str(copy)).replace("KERNEL", "relu")
    words = shlex.split(line, comments=True)
    options = parse(words[len(COMMAND.split()) :])
    if getattr(options, "kernel", None):
        size_of(options.kernel, options.size)


def test_every_change_of_the_lesson_changes_something(copy: Path) -> None:
    if not shutil.which("sed"):
        pytest.skip("the lesson uses sed")
    edits = [line for line in SHELL.splitlines() if line.startswith("sed ")]
    assert len(edits) >= 4
    for edit in edits:
        before = {path.name: path.read_text("utf-8") for path in copy.iterdir()}
        subprocess.run(shlex.split(edit.replace("/tmp/kernels", str(copy))), check=True)
        changed = [p for p in copy.iterdir() if before[p.name] != p.read_text("utf-8")]
        assert len(changed) == 1, edit
