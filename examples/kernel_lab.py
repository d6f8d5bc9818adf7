"""The CUDA kernels one by one: run, check, profile and debug them, with or without a GPU.

python examples/kernel_lab.py list                every kernel, its file and what it does
python examples/kernel_lab.py run gemm_4          run it, and compare with NumPy in float64
python examples/kernel_lab.py check gemm_4        watch every access: bounds, races, barriers, …
python examples/kernel_lab.py profile gemm_4      what the accesses of each line would cost
python examples/kernel_lab.py profile --all       the same for GEMM, convolution and pooling
python examples/kernel_lab.py resources           registers, shared memory and spills, by NVRTC
python examples/kernel_lab.py debug gemm_4        how to stop gdb in one thread of it

The emulator needs g++ and no GPU. --kernels FOLDER takes the .cu files of a copy, to change them.
kernels/README.md is the lesson; kernel_cases.py has what each kernel is given to do.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import kernel_cases
from kernel_work import exact, verdicts, work

from tinyfcn.backend.cuda import nvrtc
from tinyfcn.backend.cuda.cupy_engine import CupyEngine
from tinyfcn.backend.cuda.device import DeviceError
from tinyfcn.backend.cuda.emulator import Cost, Emulator, KernelError, from_environment
from tinyfcn.backend.cuda.kernels import declared
from tinyfcn.training.errors import UsageError, plain_errors

FINAL = [
    "gemm_4", "conv1x1", "conv2d", "conv2d_input_grad", "conv2d_weight_grad", "conv2d_direct",
    "conv2d_direct_input_grad", "max_pool2d", "any_foreign", "scatter_plane", "gather_plane",
]  # fmt: skip
SEEDS = 1, 2  # orders of threads and blocks
DEAR = 1.3  # times the least sectors: more than arrays that begin inside a sector explain
WAYS = 2  # of a bank conflict


# ---- what is asked for ----


def case_of(name: str) -> kernel_cases.Case:
    if name not in kernel_cases.CASES:
        close = [known for known in kernel_cases.CASES if name.split("_")[0] in known]
        raise UsageError(
            f"no kernel is called {name!r}; "
            + (f"there are {', '.join(close)}" if close else "the command list tells the names")
        )
    return kernel_cases.CASES[name]


def size_of(case: kernel_cases.Case, wanted: Sequence[int] | None) -> tuple[int, ...]:
    size = tuple(wanted or case.size)
    if len(size) != len(case.size) or min(size) < 1:
        default, given = (" ".join(map(str, numbers)) for numbers in (case.size, size))
        raise UsageError(
            f"--size: expected {case.letters}, each at least 1, such as {default}; got {given}"
        )
    return size


def larger(case: kernel_cases.Case) -> tuple[int, ...]:
    """The size of a case with one more along every axis: no multiple of a block."""
    return tuple(
        n if letter in ("KERNEL", "STRIDE") else n + 1
        for letter, n in zip(case.letters.split(), case.size, strict=True)
    )


# ---- the commands ----


def list_kernels(options: argparse.Namespace) -> int:
    for name, kernel in declared().items():
        print(f"{name:28} {kernel.file:24} {kernel_cases.CASES[name].does}")
        print(f"    {', '.join(map(str, kernel.parameters))}")
    return 0


def run(options: argparse.Namespace) -> int:
    name, case = options.kernel, case_of(options.kernel)
    size = size_of(case, options.size)
    engine = engine_of(options)
    if options.backend == "cupy":
        work(engine, name, size, options.dtype)  # compiles
    recorder, results = work(engine, name, size, options.dtype)
    print(f"{name} of {engine.kernels[name].file}, {options.dtype}, {_named(case, size)}")
    for function, grid, block, seconds in recorder.launches:
        print(f"  {function:32} grid {_axes(grid):10} block {_axes(block):8} "
              f"{1000 * seconds:8.2f} ms on {_place(engine)}")  # fmt: skip
    status = 0
    for result, (right, verdict) in zip(results, verdicts(results, exact(name, size)), strict=True):
        print(f"  result {result.shape}: {verdict}")
        status |= not right
    return status


def check(options: argparse.Namespace) -> int:
    name, case = options.kernel, case_of(options.kernel)
    given = size_of(case, options.size)
    for size in [given] if options.size else [given, larger(case)]:
        wanted = exact(name, size)
        for seed in SEEDS:
            engine = Emulator("check", seed=seed, folder=options.kernels)
            _, results = work(engine, name, size, options.dtype)  # raises what it finds
            wrong = [verdict for right, verdict in verdicts(results, wanted) if not right]
            found = f"no fault, but {wrong[0]}" if wrong else "no fault, and the result is right"
            print(f"{name}, {options.dtype}, {_named(case, size)}, seed {seed}: {found}")
            if wrong:
                return 1
    return 0


def profile(options: argparse.Namespace) -> int:
    if bool(options.kernel) == options.all:
        raise UsageError("profile: expected the name of a kernel, or --all for the final versions")
    if options.all and options.size:
        raise UsageError("--size: is that of one kernel, not of --all")
    print("sectors of 32 bytes (global) or turns (shared) that a request of a warp takes, and the "
          "least;\n! marks more than they need be")  # fmt: skip
    for name in FINAL if options.all else [options.kernel]:
        size = size_of(case_of(name), options.size)
        engine = Emulator("check", profile=True, folder=options.kernels)
        recorder, _ = work(engine, name, size, options.dtype)
        function = recorder.of(name)[0].function
        print(f"\n{function}, {_named(case_of(name), size)}")
        for cost in sorted(engine.profile(), key=lambda cost: (cost.memory, cost.file, cost.line)):
            if cost.kernel == function:
                print(row(cost, engine.folder))
    return 0


def row(cost: Cost, folder: Path) -> str:
    """A line of the table, with the line of the kernel."""
    source = (folder / cost.file).read_text(encoding="utf-8").splitlines()
    text = source[cost.line - 1].strip() if cost.line else ""
    limit = DEAR if cost.memory == "global" else WAYS
    place = f"{cost.file}:{cost.line}"
    return (
        f"{place:19} {cost.memory:6} {cost.access:7} {cost.requests:7} x "
        f"{cost.cost / cost.requests:5.2f} / {cost.least / cost.requests:5.2f} "
        f"{'!' if cost.factor > limit else ' '} {text[:40]}"
    )


def resources(options: argparse.Namespace) -> int:
    try:
        nvrtc.library()
    except nvrtc.CompilerMissing as error:
        raise UsageError(str(error)) from error
    return nvrtc.main(options.arch)


def debug(options: argparse.Namespace) -> int:
    name = options.kernel
    size = size_of(case_of(name), options.size)
    engine = Emulator("debug", folder=options.kernels)
    recorder, _ = work(engine, name, size, options.dtype)  # builds the library
    launch = recorder.of(name)[0]
    thread = [min(i, n - 1) for i, n in zip(options.thread, launch.block, strict=False)]
    block = [min(i, n - 1) for i, n in zip(options.block, launch.grid, strict=False)]
    here = " && ".join(
        f"{what}Idx.{axis} == {index}"
        for what, indices in (("block", block), ("thread", thread))
        for axis, index in zip("xy", indices, strict=True)
    )
    file = engine.kernels[name].file
    place = f"{file}:{first_line(engine.folder / file, name)}"
    command = ["gdb", "-q", "-iex", "set debuginfod enabled off",
               "-iex", "set breakpoint pending on",
               "-ex", f"break {place} if {here}", "-ex", "run", "--args",
               sys.executable, *_again(options)]  # fmt: skip
    print(f"{launch.function}: grid {_axes(launch.grid)}, block {_axes(launch.block)}; stops in "
          f"thread {tuple(thread)} of block {tuple(block)}")  # fmt: skip
    if thread + block != options.thread + options.block:
        print("(the nearest that there is)")
    print(f"TINYFCN_EMULATOR=debug {shlex.join(command)}", flush=True)
    if not options.gdb:
        return 0
    if not shutil.which("gdb"):
        raise UsageError("--gdb: gdb is not installed (on Debian and Ubuntu: apt-get install gdb)")
    environment = {**os.environ, "TINYFCN_EMULATOR": "debug"}
    return subprocess.run(command, env=environment, check=False).returncode


def first_line(file: Path, name: str) -> int:
    """The line behind the head of a kernel."""
    text = file.read_text(encoding="utf-8")
    found = re.search(rf"\b{name}\([^{{]*\{{\n", text)
    assert found, f"{name} is not in {file}"
    return text[: found.end()].count("\n") + 1


def _again(options: argparse.Namespace) -> list[str]:
    """The command that runs the same kernel on the same input."""
    words = [os.path.relpath(__file__), "run", options.kernel, "--dtype", options.dtype]
    if options.size:
        words += ["--size", *map(str, options.size)]
    return words + (["--kernels", str(options.kernels)] if options.kernels else [])


# ---- the program ----


def engine_of(options: argparse.Namespace) -> Any:
    if options.backend == "emulator":
        return from_environment(options.kernels)
    if options.kernels:
        raise UsageError("--kernels: only the emulator runs a copy")
    return CupyEngine()


def _named(case: kernel_cases.Case, size: Sequence[int]) -> str:
    return f"{case.letters} = {' '.join(map(str, size))}"


def _axes(sizes: Sequence[int]) -> str:
    """As short as can be: 2 x 4 for (2, 4, 1)."""
    last = max((i for i, n in enumerate(sizes) if n != 1), default=0)
    return " x ".join(map(str, sizes[: last + 1]))


def _place(engine: Any) -> str:
    return "the GPU" if engine.name == "cupy" else "the CPU"


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, does: Any, text: str, kernel: str | None = None) -> Any:
        new = commands.add_parser(name, help=text, description=text)
        new.set_defaults(does=does)
        add = new.add_argument
        if kernel is not None:
            add("kernel", nargs=kernel or None, metavar="KERNEL", help="a name that list tells")
            add("--size", type=int, nargs="+", metavar="N", help="of the input; run tells what of")
            add("--dtype", choices=["float32", "float64"], default="float32")
            add("--kernels", type=folder, metavar="FOLDER", help="of .cu files, instead of ours")
        return add

    command("list", list_kernels, "every kernel, its file, what it does, its parameters")
    add = command("run", run, "run a kernel and compare with NumPy in float64", "")
    add("--backend", choices=["emulator", "cupy"], default="emulator")
    command("check", check, "watch every access in two orders of threads", "")
    add = command("profile", profile, "what the accesses of each line would cost on a GPU", "?")
    add("--all", action="store_true", help="the final versions of GEMM, convolution and pooling")
    add = command("resources", resources, "registers, shared memory and spills, by NVRTC")
    add("--arch", nargs="+", default=[*nvrtc.ARCHITECTURES], metavar="sm_80")
    add = command("debug", debug, "how to stop gdb in one thread of a kernel", "")
    add("--thread", type=int, nargs=2, default=[3, 2], metavar=("X", "Y"))
    add("--block", type=int, nargs=2, default=[1, 0], metavar=("X", "Y"))
    add("--gdb", action="store_true", help="run gdb")
    return parser.parse_args(arguments)


def folder(name: str) -> Path:
    path = Path(name).resolve()
    if not (path / "common.cuh").is_file():
        raise argparse.ArgumentTypeError(f"{name} has no common.cuh: expected a copy of kernels/")
    return path


@contextlib.contextmanager
def findings() -> Iterator[None]:
    """What a kernel did wrong is what was asked for: a sentence, and exit status 1."""
    try:
        yield
    except KernelError as error:
        sys.exit(f"{error.kind}: {error}")
    except DeviceError as error:
        raise UsageError(str(error)) from error


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse(arguments)
    with findings():
        status: int = options.does(options)
    return status


if __name__ == "__main__":
    with plain_errors():
        sys.exit(main())
