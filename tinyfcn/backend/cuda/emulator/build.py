"""From a .cu file to a shared library, with g++; kept in a cache folder.

A library is the .cu file between a header and a table of its kernels, and the runtime. Each is
compiled alone, and each object is named by the hash of everything that goes into it. What is
compiled is code that will run here: it is kept where no other user can write, and ends with a hash
of itself, so that a damaged file is not loaded but compiled anew.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import hashlib
import os
import platform
import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tinyfcn.backend.cuda.emulator.errors import BuildError

HERE = Path(__file__).parent
COMPILER = "g++"
FLAGS = [
    "-xc++", "-std=c++17", "-fPIC", "-fvisibility=hidden", "-fno-exceptions", "-fno-rtti",
    "-fno-gnu-unique",  # shared memory of a template is not shared with another library
    "-ffp-contract=off",  # the same results whatever the processor
    "-fwrapv",  # an int that overflows is wrong here too, as it is on a GPU
    "-U_FORTIFY_SOURCE",  # which takes a change of stacks for an attack
    "-Wall", "-Wextra", "-Wno-unknown-pragmas",
    "-Wno-unused-parameter",  # all kernels of convolution take the same sizes
]  # fmt: skip
LONGEST = 900  # seconds that one file may take
DYNAMIC_SHARED = 48 * 1024  # bytes: MOST_DYNAMIC of runtime.h


# What addr2line needs; of a library of one file, DWARF 5 would call that file <stdin>.
LINES = ["-gdwarf-4", "-g1"]
# How kernels are compiled, and how the runtime is.
MODES = {
    "fast": (["-O2", *LINES], ["-O2"]),
    "check": (
        ["-O1", *LINES, "-DTINYFCN_CHECK", "-fsanitize=thread,bounds,alignment",
         "--param=tsan-instrument-func-entry-exit=0",
         "-fno-tree-sra"],  # a vector is read as one, as it is written
        ["-O2", *LINES, "-DTINYFCN_CHECK"],
    ),
    "debug": (["-O0", "-g3"], ["-O1", "-g"]),
}  # fmt: skip

# extern __shared__ float tile[];
_EXTERN_SHARED = re.compile(r"\bextern\s+__shared__\s+([^;\[]*?)\b(\w+)\s*\[\s*\]\s*;")
_ALIGNMENT = re.compile(r"(__align__|alignas)\s*\(.*?\)")


def cache_folder() -> Path:
    """$TINYFCN_CACHE, else the user's cache folder, else a new temporary one of this process.

    Raises:
        BuildError: if the named folder cannot be written to, or another user can write to it.
    """
    named = os.environ.get("TINYFCN_CACHE")
    folder = None
    with contextlib.suppress(OSError, RuntimeError):  # RuntimeError: a user without a home
        users = os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()
        folder = Path(named) if named else Path(users, "tinyfcn")
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    if folder and folder.is_dir() and os.access(folder, os.W_OK):
        return _ours_alone(folder.resolve())
    if named:
        raise BuildError(f"emulator: cannot write kernels to {named}; set TINYFCN_CACHE anew")
    return _temporary_folder()


@functools.cache
def _temporary_folder() -> Path:
    """A new folder that only this user can enter; removed when the process ends."""
    folder = tempfile.mkdtemp(prefix="tinyfcn-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)


def _ours_alone(path: Path) -> Path:
    """The path itself; BuildError if what lies there could be another user's work."""
    state = path.lstat()
    above = any(folder.stat().st_mode & 0o1002 == 0o002 for folder in path.parents)  # not sticky
    if above or state.st_mode & 0o022 or state.st_uid not in (0, os.getuid()):
        raise BuildError(
            f"emulator: another user owns {path}, or can write to it or above it: chmod go-w, or "
            "set TINYFCN_CACHE to a folder of your own"
        )
    return path


def _usable(target: Path) -> bool:
    """Whether a compiled file is there and whole, and nobody else can have written it."""
    with contextlib.suppress(OSError, BuildError):
        if target.is_file() and not target.is_symlink():
            data = _ours_alone(target).read_bytes()
            return hashlib.sha256(data[:-32]).digest() == data[-32:]
    return False


@functools.cache
def compiler_version() -> str:
    """The first line of ``g++ --version``."""
    return _compiler("--version", "--version").stdout.partition("\n")[0]


def library(source: Path, instances: Sequence[str], mode: str = "fast") -> Path:
    """The shared library that runs ``instances``, ["relu<float>", …], of ``source``.

    Raises:
        BuildError: if there is no compiler, or with its words if it rejects the file.
    """
    kernel_flags, runtime_flags = MODES[mode]
    runtime = _object(
        HERE / "runtime.cpp", (HERE / "runtime.cpp").read_text("utf-8"), runtime_flags
    )
    text = _wrapped(source, instances, str(source) if mode == "debug" else source.name)
    kernels = _object(source, text, kernel_flags)
    target = kernels.with_name(f"{kernels.stem}-{runtime.stem}.so")
    if not _usable(target):
        _run(["-shared", str(kernels), str(runtime)], target)
    return target


def _wrapped(source: Path, instances: Sequence[str], name: str) -> str:
    """The C++ file that is compiled for a .cu file."""
    text = source.read_text("utf-8")
    arrays = dict.fromkeys(_EXTERN_SHARED.findall(text))
    dynamic = "".join(
        f"alignas(16) thread_local {kind}{array}[{DYNAMIC_SHARED} / sizeof({element})];\n"
        for kind, array in arrays
        for element in (_ALIGNMENT.sub("", kind),)
    )
    addresses = "".join(f"(char*){array}, " for _, array in arrays)
    table = "".join(f"    INSTANCE({instance}),\n" for instance in instances)
    return f"""#include "dialect.h"
#line 1 "{name}"
{text}
#line 1 "table"
{dynamic}
char* dynamic_shared(int number) {{
    char* const arrays[] = {{{addresses}nullptr}};
    return arrays[number];
}}
const emulator::Instance instances[] = {{
{table}    {{nullptr, nullptr, nullptr}},
}};
"""


def _object(source: Path, text: str, flags: list[str]) -> Path:
    """The object file of what a source becomes; what the compiler warns of is beside, as .log."""
    headers = [*sorted(HERE.glob("*.h")), *sorted(source.parent.glob("*.cuh"))]
    compiler = [compiler_version(), platform.machine(), *FLAGS, *flags]
    parts = [text, *compiler, *(h.read_text("utf-8") for h in headers)]
    digest = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]
    target = cache_folder() / f"{source.stem}-{digest}.o"
    if not _usable(target):
        include = [f"-I{HERE}", f"-I{source.parent}"]
        said = _run([*FLAGS, *flags, *include, "-c", "-"], target, text)
        target.with_suffix(".log").write_text(said, "utf-8")
    return target


def _run(arguments: list[str], target: Path, text: str = "") -> str:
    """Runs the compiler; the target is there whole or not at all."""
    with tempfile.TemporaryDirectory(dir=target.parent) as temporary:
        made = Path(temporary) / target.name
        answer = _compiler(target.stem.split("-")[0], *arguments, "-o", str(made), text=text)
        data = made.read_bytes()
        made.write_bytes(data + hashlib.sha256(data).digest())
        made.chmod(0o700)
        os.replace(made, target)
    return answer.stderr


def _compiler(what: str, *arguments: str, text: str = "") -> subprocess.CompletedProcess[str]:
    """Runs g++; BuildError if it is not there, does not start, does not end or rejects ``what``."""
    try:
        answer = subprocess.run(
            [COMPILER, *arguments], input=text, capture_output=True, encoding="utf-8",
            errors="replace", timeout=LONGEST, env={**os.environ, "LC_ALL": "C"},
        )  # fmt: skip
    except FileNotFoundError:
        raise BuildError(
            "the emulator compiles kernels with g++, which is not installed (on Debian and "
            "Ubuntu: apt-get install g++)"
        ) from None
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BuildError(f"the emulator compiles kernels with g++, but: {error}") from error
    if answer.returncode:
        raise BuildError(f"g++ does not accept {what}:\n{answer.stderr}")
    return answer
