"""From a .cu file to a shared library, with g++; kept in a cache folder.

A library is the .cu file between a header and a table of its kernels, and the runtime. Each is
compiled alone, and each object is named by the hash of everything that goes into it.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import re
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
DYNAMIC_SHARED = 48 * 1024  # bytes: MOST_DYNAMIC of runtime.h


# How kernels are compiled, and how the runtime is. -g1 has the lines, for addr2line, and no more.
MODES = {
    "fast": (["-O2", "-g1"], ["-O2"]),
    "check": (
        ["-O1", "-g1", "-DTINYFCN_CHECK", "-fsanitize=thread,bounds,alignment",
         "--param=tsan-instrument-func-entry-exit=0"],
        ["-O2", "-g1", "-DTINYFCN_CHECK"],
    ),
    "debug": (["-O0", "-g3"], ["-O1", "-g"]),
}  # fmt: skip

# extern __shared__ float tile[];
_EXTERN_SHARED = re.compile(r"\bextern\s+__shared__\s+([^;\[]*?)\b(\w+)\s*\[\s*\]\s*;")
_ALIGNMENT = re.compile(r"(__align__|alignas)\s*\(.*?\)")


def cache_folder() -> Path:
    """$TINYFCN_CACHE, else the user's cache folder, else a temporary one.

    Raises:
        BuildError: if none can be written.
    """
    named = os.environ.get("TINYFCN_CACHE")
    users = Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser())
    wished = Path(named or users / "tinyfcn")
    for folder in (wished, Path(tempfile.gettempdir()) / f"tinyfcn-{os.getuid()}"):
        with contextlib.suppress(OSError):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            # A library is code: what another user could have put there is not run.
            if os.access(folder, os.W_OK) and folder.stat().st_uid == os.getuid():
                return folder
    raise BuildError(f"emulator: cannot write compiled kernels to {wished}; set TINYFCN_CACHE")


@functools.cache
def compiler_version() -> str:
    """The first line of ``g++ --version``."""
    try:
        answer = subprocess.run([COMPILER, "--version"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        raise BuildError(
            "the emulator compiles kernels with g++, which is not installed (on Debian and "
            "Ubuntu: apt-get install g++)"
        ) from None
    return answer.stdout.splitlines()[0]


def library(source: Path, instances: Sequence[str], mode: str = "fast") -> Path:
    """The shared library that runs ``instances``, ["relu<float>", …], of ``source``.

    Raises:
        BuildError: if there is no compiler, or with its words if it rejects the file.
    """
    kernel_flags, runtime_flags = MODES[mode]
    runtime = _object(HERE / "runtime.cpp", (HERE / "runtime.cpp").read_text(), runtime_flags)
    text = _wrapped(source, instances, str(source) if mode == "debug" else source.name)
    kernels = _object(source, text, kernel_flags)
    target = kernels.with_name(f"{kernels.stem}-{runtime.stem}.so")
    if not target.exists():
        _run([COMPILER, "-shared", str(kernels), str(runtime)], target)
    return target


def _wrapped(source: Path, instances: Sequence[str], name: str) -> str:
    """The C++ file that is compiled for a .cu file."""
    text = source.read_text()
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
    parts = [text, compiler_version(), *FLAGS, *flags, *(h.read_text() for h in headers)]
    digest = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]
    target = cache_folder() / f"{source.stem}-{digest}.o"
    if not target.exists():
        with tempfile.TemporaryDirectory() as temporary:
            code = Path(temporary) / f"{source.stem}.cu"  # lines are reported under this name
            code.write_text(text)
            include = [f"-I{HERE}", f"-I{source.parent}"]
            said = _run([COMPILER, *FLAGS, *flags, *include, "-c", str(code)], target)
        target.with_suffix(".log").write_text(said)
    return target


def _run(command: list[str], target: Path) -> str:
    """Runs a compiler; the target is there whole or not at all."""
    with tempfile.TemporaryDirectory(dir=target.parent) as temporary:
        made = Path(temporary) / target.name
        answer = subprocess.run(
            [*command, "-o", str(made)], capture_output=True, text=True,
            env={**os.environ, "LC_ALL": "C"},
        )  # fmt: skip
        if answer.returncode:
            name = target.stem.split("-")[0]
            raise BuildError(f"g++ does not accept {name}:\n{answer.stderr}")
        os.replace(made, target)
    return answer.stderr
