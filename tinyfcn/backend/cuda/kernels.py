"""The kernels: where their .cu files are, and the declarations and constants that stand in these.

A kernel's parameters stand once, in its .cu file. What a launch is checked against is read from
there, by a parser that knows as much of C++ as the declaration of a kernel takes.
"""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

_STRING = r'"(?:\\.|[^"\\\n])*"'
# Comments; a string is matched too, as 1, so that what looks like a comment in it is none.
_COMMENT = re.compile(rf"({_STRING})|//[^\n]*|/\*.*?\*/", re.DOTALL)
_DIRECTIVE = re.compile(r"^[ \t]*#(?:\\\n|[^\n])*", re.MULTILINE)
_MACRO = re.compile(r"^[ \t]*#[ \t]*define[ \t]+(\w+)[ \t]+(.+)", re.MULTILINE)
_HEAD = re.compile(r"[^;{}]*\b__global__\b[^;{}]*\{")  # of a kernel with a body
_KERNEL = re.compile(
    r"(?:\btemplate\s*<\s*(?:typename|class)\s+(?P<T>\w+)\s*>\s*)?"
    r"(?:\b(?:__global__|void|__launch_bounds__\s*\([^()]*\))\s*)+"
    r"\b(?P<name>\w+)\s*\((?P<parameters>[^()]*)\)\s*\{"
)
_CONSTANT = r"\bconstexpr\s+int\s+{}\s*=\s*(\d+)\s*;"
_QUALIFIERS = ("const", "__restrict__")
# The types of common.cuh by what else C++ calls them.
_NAMES = {"long long": "i64", "unsigned long long": "u64", "unsigned int": "u32", "unsigned": "u32"}


class Parameter(NamedTuple):
    """Of a kernel: ``const T* x``."""

    type: str  # without const: "T*", "wide<T>", "stored<T>*", "i64"
    name: str
    const: bool

    def __str__(self) -> str:
        return f"{'const ' if self.const else ''}{self.type} {self.name}"


# How the products of a kernel round their operands, where its template has a type called Product.
PRODUCTS = "Tf32", "Bf16", "Fp16"
# What the arrays of others are of: where the type is called Stored, and where it is not.
STORED = "half", "float", "double"
FLOATING = STORED[1:]


class Kernel(NamedTuple):
    """A ``__global__`` function, or a template of one: over the type T of its arrays, with wide<T>
    that of what it computes, or over ``PRODUCTS``."""

    file: str
    name: str
    parameters: tuple[Parameter, ...]
    types: tuple[str, ...]  # of the template
    body: int  # the line of the file in which it begins

    @property
    def instances(self) -> list[str]:
        """What is compiled: ["relu<float>", "relu<double>"]."""
        return [f"{self.name}<{T}>" for T in self.types] or [self.name]

    def __str__(self) -> str:
        return f"{self.name}({', '.join(map(str, self.parameters))})"


def folder(named: str | None = None) -> Path:
    """The folder of the .cu files.

    The one that is named, else $TINYFCN_KERNELS where it is set, so that a changed copy can be
    tried; else ``kernels/``, which is beside the package in a checkout and inside it when
    installed.

    Raises:
        FileNotFoundError: if there is no common.cuh in it.
    """
    variable = os.environ.get("TINYFCN_KERNELS")
    named = named or variable
    package = Path(__file__).resolve().parents[2]
    candidates = [Path(named)] if named else [package / "kernels", package.parent / "kernels"]
    for candidate in candidates:
        if (candidate / "common.cuh").is_file():
            return candidate
    raise FileNotFoundError(
        f"no folder of kernels with common.cuh: looked for {' and '.join(map(str, candidates))}"
        + (", as TINYFCN_KERNELS says" if named and named == variable else "")
    )


def declared(source: Path | None = None) -> dict[str, Kernel]:
    """The kernels by name, of all .cu files of a folder, ``folder()`` by default.

    Raises:
        ValueError: naming file and line of what cannot be read, or both files of a name.
    """
    paths = sorted((source or folder()).glob("*.cu*"))
    return dict(_declared(tuple((path, path.stat().st_mtime_ns) for path in paths)))


@functools.lru_cache(16)
def _declared(found: tuple[tuple[Path, int], ...]) -> dict[str, Kernel]:
    """The same for files that were last changed at a time."""
    kernels: dict[str, Kernel] = {}
    for path in (path for path, _ in found if path.suffix == ".cu"):
        for kernel in _read(path):
            first = kernels.setdefault(kernel.name, kernel)
            if first is not kernel:
                both = f"{first.file} has {first}, {kernel.file} has {kernel}"
                raise ValueError(f"two kernels are called {kernel.name}: {both}")
    return kernels


def instances(kernels: Mapping[str, Kernel], file: str) -> list[str]:
    """What is compiled of a file: ["relu<float>", "relu<double>", …]."""
    return [name for k in kernels.values() if k.file == file for name in k.instances]


def constant(file: str, name: str) -> int:
    """The number that ``constexpr int name = …;`` gives in a file of ``folder()``.

    Raises:
        ValueError: if it does not stand there.
    """
    path = folder() / file
    found = re.search(_CONSTANT.format(name), _without_comments(path))
    if not found:
        raise ValueError(f"{path} has no line: constexpr int {name} = a number;")
    return int(found[1])


def _read(path: Path) -> Iterator[Kernel]:
    macros = _macros(path)
    code = _DIRECTIVE.sub(lambda d: "\n" * d[0].count("\n"), _without_comments(path))
    code = re.sub(_STRING, '""', code)
    for head in _HEAD.finditer(code):
        found = _KERNEL.fullmatch(head[0].lstrip())
        if not found:
            line = code[: code.index("__global__", head.start())].count("\n") + 1
            raise ValueError(
                f"{path}:{line}: expected a kernel such as template <typename T> __global__ void "
                f"name(const T* x, int count), got {' '.join(head[0].split())[:80]!r}"
            )
        listed = re.sub(r"\w+", lambda name: macros.get(name[0], name[0]), found["parameters"])
        parts = [part for part in listed.split(",") if part.split() not in ([], ["void"])]
        parameters = tuple(_parameter(part, found["T"]) for part in parts)
        body = code[: head.end()].count("\n") + 2
        types = {None: (), "Product": PRODUCTS, "Stored": STORED}.get(found["T"], FLOATING)
        yield Kernel(path.name, found["name"], parameters, types, body)


def _parameter(text: str, T: str | None) -> Parameter:
    """Of "const float* __restrict__ x"."""
    element, *stars = re.sub(rf"\b(wide|stored)\s*<\s*{T}\s*>", r"\1<T>", text).split("*")
    words = [word for part in (element, *stars) for word in part.split() if word not in _QUALIFIERS]
    plain = " ".join(words[:-1])
    plain = "T" if plain == T else _NAMES.get(plain, plain)
    return Parameter(plain + "*" * len(stars), words[-1], bool(stars) and "const" in element)


def _macros(path: Path) -> dict[str, str]:
    """The macros of a file and of the headers beside it: text by name."""
    texts = map(_without_comments, (*path.parent.glob("*.cuh"), path))
    return dict(_MACRO.findall("\n".join(texts).replace("\\\n", " ")))


def _without_comments(path: Path) -> str:
    """The text of a file; what is left keeps its line."""
    return _COMMENT.sub(lambda c: c[1] or "\n" * c[0].count("\n") or " ", path.read_text("utf-8"))
