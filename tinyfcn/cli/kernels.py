"""Run, check and profile the CUDA kernels one by one.

The emulator needs g++ and no GPU. --kernels FOLDER takes the .cu files of a copy, to change them.
kernels/README.md is the lesson.

tinyfcn kernels list                every kernel, its file and what it does
tinyfcn kernels run gemm_4          run it, and compare with NumPy in float64
tinyfcn kernels check gemm_4        watch every access: bounds, races, barriers, ...
tinyfcn kernels check gemm_2 --sizes 17   the same in every size up to 17
tinyfcn kernels profile gemm_4      what the accesses of each line would cost
tinyfcn kernels profile --all       the same for GEMM, convolution and pooling
tinyfcn kernels resources           registers, shared memory, spills, and blocks that have room
tinyfcn kernels roofline            how near the peak of two GPUs these may bring a product
tinyfcn kernels debug gemm_4        how to stop gdb in one thread of it
tinyfcn kernels run --help          the options
"""

from __future__ import annotations

import argparse
import linecache
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tinyfcn.backend.cuda import nvrtc
from tinyfcn.backend.cuda.cupy_engine import CupyEngine
from tinyfcn.backend.cuda.emulator import Cost, Emulator, KernelError, from_environment
from tinyfcn.backend.cuda.kernels import declared, folder
from tinyfcn.backend.cuda.timing import Gpu
from tinyfcn.cli.errors import UsageError
from tinyfcn.cli.parser import Parser, did_you_mean, integer
from tinyfcn.kernel_lab.cases import CASES, for_a_gpu, larger, multiply_adds, rounding, sizes
from tinyfcn.kernel_lab.every_size import LEAST, look, ranges, shells, within
from tinyfcn.kernel_lab.roofline import HEADINGS, ridges, table
from tinyfcn.kernel_lab.work import Launch, exact, verdicts, work
from tinyfcn.training.report import bar

FINAL = [
    "gemm_4", "gemm_5", "gemm_6", "gemm_7", "conv1x1", "conv2d", "conv2d_input_grad",
    "conv2d_weight_grad", "conv2d_tensor", "conv2d_tensor_input_grad", "conv2d_tensor_weight_grad",
    "conv2d_direct", "conv2d_direct_input_grad", "depthwise_weight_grad", "max_pool2d",
    "any_foreign", "scatter_plane", "gather_plane",
]  # fmt: skip
# Of a type of products, how many times that of float32 the peak is; 0 if it is not known. On tensor
# cores that is for compute capability 8.0 and 9.0 alone.
PEAKS = {"double": 0, "Tf32": 8, "Bf16": 16, "Fp16": 16}
SEEDS = 1, 2  # orders of threads and blocks
DEAR = 1.3  # times the least sectors: more than arrays that begin inside a sector explain
WAYS = 2  # of a bank conflict


def main(arguments: Sequence[str]) -> int | None:
    """Run a command of ``tinyfcn kernels``; returns the exit status."""
    options = parse(arguments)
    try:
        return COMMANDS[options.command](options)
    except KernelError as error:  # what was asked for
        sys.exit(f"{error.kind}: {error}")


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The options of a command, and ``command``, its name."""
    command, *rest = arguments or ["--help"]
    if command.startswith("-"):
        Parser(__doc__ or "", prog="tinyfcn kernels", usage="%(prog)s COMMAND ...").parse([command])
    if command not in COMMANDS:
        raise UsageError(f"kernels: unknown command {command}{did_you_mean(command, COMMANDS)}")
    parser = Parser(COMMANDS[command].__doc__ or "", prog=f"tinyfcn kernels {command}")
    parser.set_defaults(command=command)
    add = parser.add_argument
    if command in ("run", "check", "profile", "debug"):
        add("kernel", nargs="?" if command == "profile" else None, metavar="KERNEL", type=known,
            help="a name that list tells")  # fmt: skip
        add("--size", type=int, nargs="+", metavar="N", help="of the input; run tells what of")
        add("--dtype", choices=["float16", "float32", "float64"], default="float32")
        add("--kernels", type=folder, metavar="FOLDER", help="of .cu files, not ours")
    if command == "check":
        add("--sizes", type=integer(1), nargs="+", metavar="N",
            help="every size up to N, or up to a number for each axis")  # fmt: skip
    if command == "run":
        add("--backend", choices=["emulator", "cupy"], default="emulator")
    if command == "profile":
        add("--all", action="store_true", help="the final versions of GEMM, convolution, pooling")
    if command == "resources":
        add("--arch", nargs="+", default=[*nvrtc.ARCHITECTURES], metavar="sm_80")
    if command == "debug":
        add("--thread", type=int, nargs=2, default=[3, 2], metavar=("X", "Y"))
        add("--block", type=int, nargs=2, default=[1, 0], metavar=("X", "Y"))
        add("--gdb", action="store_true", help="run gdb")
    return parser.parse(rest)


def known(name: str) -> str:
    """The name of a kernel.

    Raises:
        UsageError: if there is none of that name; suggests the nearest.
    """
    if name not in CASES:
        near = did_you_mean(name, CASES) or "; the command list tells the names"
        raise UsageError(f"no kernel is called {name!r}{near}")
    return name


def size_of(name: str, wanted: Sequence[int] | None) -> tuple[int, ...]:
    """The size of the input of a kernel: the usual one unless another is asked for."""
    usual, axes = sizes(CASES[name]), sizes(CASES[name], window=True)
    size = tuple(wanted or usual.values())
    low = any(number < LEAST.get(axis, 1) for axis, number in zip(axes, size, strict=False))
    if low or not len(usual) <= len(size) <= len(axes):
        letters, numbers, given = (_list(words) for words in (usual, usual.values(), size))
        raise UsageError(
            f"--size: expected {letters}, each at least 1, such as {numbers}; got {given}"
        )
    return size


# ---- the commands ----


def list_kernels(options: argparse.Namespace) -> None:
    """Every kernel, its file, what it does, its parameters."""
    kernels = declared().values()
    for source in sorted(folder().glob("*.cu")):
        head = re.sub("^// ?", "", source.read_text("utf-8"), flags=re.MULTILINE)
        what, table, *_ = head.split("\n\n")
        print(f"{source.name}: {what}\n\n{table}\n")
        print(*(f"  {kernel}\n" for kernel in kernels if kernel.file == source.name), sep="")


def run(options: argparse.Namespace) -> int:
    """Run a kernel and compare with NumPy in float64."""
    name, size = options.kernel, size_of(options.kernel, options.size)
    if options.backend == "cupy":
        if options.kernels:
            raise UsageError("--kernels: only the emulator runs a copy")
        engine: Any = CupyEngine()
        size = size if options.size else for_a_gpu(CASES[name])
    else:
        engine = from_environment(options.kernels)
    recorder, results = work(engine, name, size, options.dtype)
    gpu = engine.gpu() if hasattr(engine, "gpu") else None
    if gpu:  # all is compiled
        recorder, _ = work(engine, name, size, options.dtype, repeat=True)
        print(gpu)
    print(f"{name} of {engine.kernels[name].file}, {options.dtype}, {_named(name, size)}")
    for launch in recorder.launches:
        speed = f"GPU{_speed(launch, gpu, name, size)}" if gpu else "CPU"
        print(f"  {launch.function:32} grid {_axes(launch.grid):10} block {_axes(launch.block):8} "
              f"{1000 * launch.seconds:8.{3 if gpu else 2}f} ms on the {speed}")  # fmt: skip
    status = 0
    found = verdicts(results, exact(name, size, options.dtype), rounding(name))
    for result, (right, verdict) in zip(results, found, strict=True):
        print(f"  result {result.shape}: {verdict}")
        status |= not right
    return status


def _speed(launch: Launch, gpu: Gpu, name: str, size: tuple[int, ...]) -> str:
    """Of products and convolutions the arithmetic, of other kernels the memory's."""
    own = launch.function.split("<")[0] == name
    done, unit, most = launch.bytes / 1e9, "GB/s", gpu.gbytes
    if own and (count := multiply_adds(name, size)):
        done, unit, most = 2 * count / 1e9, "GFLOP/s", gpu.gflops
        most *= PEAKS.get(launch.function.partition("<")[2].rstrip(">"), 1)
        if name == "gemm_7" or "tensor" in name:
            most *= gpu.capability in ("80", "90")
    reached = done / launch.seconds
    return f", {reached:,.0f} {unit}" + (f", {reached / most:.0%} of its peak" if most else "")


def check(options: argparse.Namespace) -> int:
    """Watch every access of a kernel in two orders of threads."""
    if options.sizes:
        return check_sizes(options)
    name, given = options.kernel, size_of(options.kernel, options.size)
    for size in [given] if options.size else [given, larger(CASES[name])]:
        wanted = exact(name, size, options.dtype)
        for seed in SEEDS:
            engine = Emulator("check", seed=seed, folder=options.kernels)
            _, results = work(engine, name, size, options.dtype)  # raises what it finds
            found = verdicts(results, wanted, rounding(name))
            wrong = [verdict for right, verdict in found if not right]
            said = f"no fault, but {wrong[0]}" if wrong else "no fault, and the result is right"
            print(f"{name}, {options.dtype}, {_named(name, size)}, seed {seed}: {said}")
            if wrong:
                return 1
    return 0


def check_sizes(options: argparse.Namespace) -> int:
    """Watch every access of a kernel in every size up to some."""
    name, begin, axes = options.kernel, time.perf_counter(), sizes(CASES[options.kernel], True)
    if options.size or len(options.sizes) > len(axes):
        raise UsageError(f"--sizes: expected N, or one for each of {_list(axes)}, and no --size")
    engine = Emulator("check", folder=options.kernels)
    numbers = ranges(name, options.sizes)
    passed = up_to = status = 0
    try:
        for n, total, shell in shells(numbers):
            count, wrong = 0, None
            with bar(unit=" sizes", total=total, desc=f"up to {n}", delay=1) as shown:
                for size in shell:
                    if wrong := look(engine, name, size, options.dtype):
                        break
                    count += wrong is not None
                    shown.update()
            if wrong:
                print(f"{name}, {options.dtype}, {_named(name, size)}: {wrong}")
                print("again:", shlex.join(_again(options, "check", size)))
                status = 1
                break
            passed, up_to = passed + count, n
    except KeyboardInterrupt:
        print("stopped")
        status = 130
    if passed:
        spans = (f"{axis} {r[0]}" + f"..{r[-1]}" * (len(r) > 1)
                 for axis, r in within(numbers, up_to).items())  # fmt: skip
        print(f"{name}, {options.dtype}, {', '.join(spans)}: no fault, and the right result in "
              f"every size ({passed} in {time.perf_counter() - begin:.0f} s)")  # fmt: skip
    elif not status:
        raise UsageError(f"--sizes: {name} has nothing to do in any of them")
    return status


def profile(options: argparse.Namespace) -> None:
    """What the accesses of each line would cost on a GPU."""
    if bool(options.kernel) == options.all or (options.all and options.size):
        raise UsageError("profile: expected the name of a kernel, or --all without --size")
    print("sectors of 32 bytes (global) or turns (shared) that a request of a warp takes, and the "
          "least;\n! marks more than they need be")  # fmt: skip
    for name in FINAL if options.all else [options.kernel]:
        size = size_of(name, options.size)
        engine = Emulator("check", profile=True, folder=options.kernels)
        recorder, _ = work(engine, name, size, options.dtype)
        function = recorder.of(name)[0].function
        print(f"\n{function}, {_named(name, size)}")
        for cost in sorted(engine.profile(), key=lambda cost: (cost.memory, cost.file, cost.line)):
            if cost.kernel == function:
                print(_row(cost, engine.folder))


def _row(cost: Cost, folder: Path) -> str:
    """A line of the table, with the line of the kernel."""
    text = linecache.getline(str(folder / cost.file), cost.line).strip()
    limit = DEAR if cost.memory == "global" else WAYS
    place = f"{cost.file}:{cost.line}"
    return (
        f"{place:19} {cost.memory:6} {cost.access:7} {cost.requests:7} x "
        f"{cost.cost / cost.requests:5.2f} / {cost.least / cost.requests:5.2f} "
        f"{'!' if cost.factor > limit else ' '} {text[:40]}"
    )


def resources(options: argparse.Namespace) -> int:
    """Registers, shared memory, spills and resident blocks of every kernel, by NVRTC."""
    usages = nvrtc.compile_all(options.arch)
    print(*usages, sep="\n")
    spilled = [usage for usage in usages if usage.spills]
    for usage in spilled:
        print(f"{usage.kernel} spills registers on {usage.architecture}", file=sys.stderr)
    return 1 if spilled else 0


def roofline(options: argparse.Namespace) -> None:
    """How near each version of the product comes to the peak of two GPUs at best."""
    print(*HEADINGS, *table(), *ridges(), sep="\n")


def debug(options: argparse.Namespace) -> int:
    """How to stop gdb in one thread of a kernel."""
    name, size = options.kernel, size_of(options.kernel, options.size)
    engine = Emulator("debug", folder=options.kernels)
    recorder, _ = work(engine, name, size, options.dtype)  # builds the library
    launch = recorder.of(name)[0]
    thread = [min(i, n - 1) for i, n in zip(options.thread, launch.block, strict=False)]
    block = [min(i, n - 1) for i, n in zip(options.block, launch.grid, strict=False)]
    where = "blockIdx.x == {} && blockIdx.y == {} && threadIdx.x == {} && threadIdx.y == {}"
    kernel = engine.kernels[name]
    stop = f"{kernel.file}:{kernel.body} if {where.format(*block, *thread)}"
    again = [sys.executable, "-m", *_again(options, "run", options.size or ())]
    command = ["gdb", "-q", "-iex", "set debuginfod enabled off",
               "-iex", "set breakpoint pending on",
               "-ex", f"break {stop}", "-ex", "run", "--args", *again]  # fmt: skip
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


def _again(options: argparse.Namespace, command: str, size: Sequence[int]) -> list[str]:
    """The words that run a command on the same kernel."""
    words = ["tinyfcn", "kernels", command, options.kernel, "--dtype", options.dtype]
    words += ["--size", *map(str, size)] if size else []
    return words + (["--kernels", str(options.kernels)] if options.kernels else [])


def _list(values: Any) -> str:
    return " ".join(map(str, values))


def _named(name: str, size: Sequence[int]) -> str:
    axes = [*sizes(CASES[name], window=True)][: len(size)]
    return f"{_list(axes)} = {_list(size)}"


def _axes(sizes: Sequence[int]) -> str:
    """As short as can be: 2 x 4 for (2, 4, 1)."""
    last = max((i for i, n in enumerate(sizes) if n != 1), default=0)
    return " x ".join(map(str, sizes[: last + 1]))


COMMANDS: dict[str, Callable[[argparse.Namespace], int | None]] = {
    "list": list_kernels, "run": run, "check": check, "profile": profile, "resources": resources,
    "roofline": roofline, "debug": debug,
}  # fmt: skip
