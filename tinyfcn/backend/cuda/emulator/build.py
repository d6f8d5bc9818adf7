"""From a .cu file to a shared library, with g++; kept in a cache folder."""

from __future__ import annotations

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
    "-std=c++17", "-fPIC", "-fvisibility=hidden", "-fno-exceptions", "-fno-rtti",
    "-fno-gnu-unique",  # shared memory of a template is not shared with another library
    "-ffp-contract=off",  # the same results whatever the processor
    "-Wall", "-Wextra", "-Wno-unknown-pragmas",
]  # fmt: skip
MODES = {"fast": ["-O2"]}
DYNAMIC_SHARED = 48 * 1024  # bytes; more, a GPU only gives on request

# extern __shared__ float tile[];
_EXTERN_SHARED = re.compile(r"extern\s+__shared__\s+([^;\[]*?)\b(\w+)\s*\[\s*\]\s*;")


def cache_folder() -> Path:
    """$TINYFCN_CACHE, else the user's cache folder, else a temporary one."""
    if "TINYFCN_CACHE" in os.environ:
        candidates = [Path(os.environ["TINYFCN_CACHE"])]
    else:
        users = os.environ.get("XDG_CACHE_HOME")
        candidates = [Path(users) if users else Path("~/.cache").expanduser()]
        candidates = [candidates[0] / "tinyfcn"]
    candidates.append(Path(tempfile.gettempdir()) / f"tinyfcn-{os.getuid()}")
    for folder in candidates:
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError:
            continue
        if os.access(folder, os.W_OK):
            return folder
    raise BuildError(f"no folder for compiled kernels: cannot write to {candidates[-1]}")


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
        BuildError: if there is no compiler, or with its words if it refuses the file.
    """
    runtime = _compile(
        (HERE / "runtime.cpp").read_text(), "runtime", MODES[mode], sorted(HERE.glob("*.h")), HERE
    )
    headers = sorted(HERE.glob("*.h")) + sorted(source.parent.glob("*.cuh"))
    text = source.read_text()
    dynamic = "".join(
        f"alignas(16) thread_local unsigned char {name}[{DYNAMIC_SHARED}];\n"
        if "unsigned char" in kind
        else f"thread_local {kind}{name}[{DYNAMIC_SHARED} / sizeof({kind})];\n"
        for kind, name in dict.fromkeys(_EXTERN_SHARED.findall(text))
    )
    table = "".join(f"    INSTANCE({name}),\n" for name in instances)
    wrapper = (
        f'#include "dialect.h"\n#line 1 "{source.name}"\n{text}\n#line 1 "instances"\n{dynamic}'
        f'extern "C" const emulator::Instance instances[] = {{\n{table}    {{0, 0, 0}},\n}};\n'
    )
    return _compile(wrapper, source.stem, MODES[mode], headers, source.parent, runtime)


def _compile(
    text: str, name: str, flags: list[str], headers: list[Path], folder: Path,
    runtime: Path | None = None,
) -> Path:  # fmt: skip
    """An object file, or with ``runtime`` a library, named by the hash of all that goes into it."""
    parts = [text, compiler_version(), *FLAGS, *flags, *(h.read_text() for h in headers)]
    digest = hashlib.sha256("\0".join([*parts, str(runtime)]).encode()).hexdigest()[:20]
    target = cache_folder() / f"{name}-{digest}{'.so' if runtime else '.o'}"
    if target.exists():
        return target
    with tempfile.TemporaryDirectory(dir=target.parent) as temporary:
        code, made = Path(temporary) / f"{name}.cpp", Path(temporary) / target.name
        code.write_text(text)
        command = [COMPILER, *FLAGS, *flags, f"-I{HERE}", f"-I{folder}", str(code), "-o", str(made)]
        command += ["-shared", "-x", "none", str(runtime)] if runtime else ["-c"]
        english = {**os.environ, "LC_ALL": "C"}
        answer = subprocess.run(command, capture_output=True, text=True, env=english)
        if answer.returncode:
            raise BuildError(f"g++ does not accept {name}:\n{answer.stderr}")
        target.with_suffix(".log").write_text(answer.stderr)
        os.replace(made, target)
    return target
