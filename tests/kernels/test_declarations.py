"""What is read of the kernels is what stands in the .cu files, however that is written."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from tinyfcn.backend.cuda.emulator import Emulator, build
from tinyfcn.backend.cuda.kernels import constant, declared, folder, instances

KERNELS = declared()
FILES = sorted({kernel.file for kernel in KERNELS.values()})
TYPES = {"i64": "long long int", "u64": "long long unsigned int", "u32": "unsigned int"}


@pytest.fixture(scope="module")
def emulator():
    """All kernels, compiled side by side."""
    emulator = Emulator()
    emulator.library(FILES[0])  # and with it the runtime that all share
    with ThreadPoolExecutor() as pool:
        list(pool.map(emulator.library, FILES))
    return emulator


def types(kernel, T):
    """The C++ type of an instance: "void(const float*, int)"."""
    names = {**TYPES, "T": T, "wide<T>": "float" if T == "half" else T}
    names["stored<T>"] = "half" if T == "Fp16" else "float"
    found = []
    for parameter in kernel.parameters:
        element = parameter.type.rstrip("*")
        const = "const " if parameter.const else ""
        stars = parameter.type.removeprefix(element).replace("**", "* const*")
        found.append(f"{const}{names.get(element, element)}{stars}")
    return f"void({', '.join(found)})"


@pytest.mark.parametrize("name", KERNELS)
def test_what_is_read_is_the_type_of_each_instance(emulator, name):
    kernel = KERNELS[name]
    signatures = emulator.library(kernel.file).signatures
    found = {key: value for key, value in signatures.items() if key.split("<")[0] == name}
    if kernel.types:
        assert found == {f"{name}<{T}>": types(kernel, T) for T in kernel.types}
    else:
        assert found == {name: types(kernel, "")}


@pytest.mark.parametrize("mode", ["fast", "check"])
@pytest.mark.parametrize("file", FILES)
def test_the_cpu_compiler_has_no_warning(emulator, file, mode):
    made = build.library(folder() / file, instances(KERNELS, file), mode)
    said = made.with_name("-".join(made.stem.split("-")[:2]) + ".log")  # of the .cu file alone
    assert said.read_text() == ""


def test_every_kernel_and_every_file_is_read():
    texts = {path.name: path.read_text() for path in folder().glob("*.cu")}
    assert sorted(texts) == FILES
    for file, text in texts.items():
        assert text.count("__global__") == sum(k.file == file for k in KERNELS.values())


def test_sources_are_ascii():
    """CuPy writes what it compiles in the encoding of the locale, which may have nothing else."""
    paths = [*folder().glob("*.cu*"), *build.HERE.glob("*.h"), *build.HERE.glob("*.cpp")]
    assert len(paths) > 30
    assert [path.name for path in paths if not path.read_bytes().isascii()] == []


def test_a_copy_may_hold_any_comment_whatever_the_locale(tmp_path):
    """The locale is that of a new process; Python's UTF-8 mode, which hides it, is off."""
    (tmp_path / "common.cuh").write_text("// Σ\n", "utf-8")
    (tmp_path / "odd.cu").write_text("// Σ\n__global__ void odd(float* x) { x[0] = 1; }\n", "utf-8")
    code = (
        "import sys, numpy as np, pathlib; from tinyfcn.backend.cuda.emulator import Emulator;"
        "x = np.zeros(1, 'f4'); e = Emulator(folder=pathlib.Path(sys.argv[1]));"
        "e.run('odd.cu', 'odd', (1, 1, 1), (1, 1, 1), (x,)); assert x[0] == 1"
    )
    plain = {**os.environ, "LC_ALL": "C", "PYTHONCOERCECLOCALE": "0"}
    command = [sys.executable, "-X", "utf8=0", "-c", code, str(tmp_path)]
    subprocess.run(command, env=plain, check=True)


ODD = r"""
#include <math.h>
#include "sizes.cuh"
#define COUNT i64 count
#define SQUARE(x) ((x) * (x))
// __global__ void commented(int count) {}
/* template <typename T>
   __global__ void commented_too(T* x) {} */
__global__ void ahead(const float*, int);
struct Pair { int a, b; };
template <typename T>
__device__ T add(T a, T b) { return a + b; }

template<class Real>
__global__
void __launch_bounds__(128, 2)
    spread ( const   Real*__restrict__ x, Real const *y,
             Real * const z /* written, not read */, SIZES,  // H W
             unsigned long long seed, const Real scale, COUNT )
{
    printf("// no comment: __global__\n");
}
template <typename T> __global__ void before(T* x) { x[0] = SQUARE(x[0]); }
template <typename Stored>
__global__ void stored(const Stored* x, wide<Stored>* __restrict__ y, wide< Stored > by) {}
__launch_bounds__(64) __global__ void ahead(const float* x, const int count) {}
__global__ void nothing(void) {}
__global__ void empty() {}
"""


def test_odd_ways_to_write_a_declaration(tmp_path):
    (tmp_path / "sizes.cuh").write_text("#define SIZES \\\n    int H, /* rows */ \\\n    int W\n")
    (tmp_path / "odd.cu").write_text(ODD)
    kernels = declared(tmp_path)
    assert [str(kernel) for kernel in kernels.values()] == [
        "spread(const T* x, const T* y, T* z, int H, int W, u64 seed, T scale, i64 count)",
        "before(T* x)",
        "stored(const T* x, wide<T>* y, wide<T> by)",
        "ahead(const float* x, int count)",
        "nothing()",
        "empty()",
    ]
    assert instances(kernels, "odd.cu") == [
        "spread<float>", "spread<double>", "before<float>", "before<double>",
        "stored<half>", "stored<float>", "stored<double>", "ahead", "nothing", "empty",
    ]  # fmt: skip


def test_what_cannot_be_read_is_an_error_with_file_and_line(tmp_path):
    (tmp_path / "two.cu").write_text(
        "/* one\n   two */\ntemplate <typename T, int N>\n__global__ void two(T* x) {}\n"
    )
    with pytest.raises(ValueError, match=r"two\.cu:4: expected a kernel .*, got 'template <typena"):
        declared(tmp_path)


def test_two_kernels_of_one_name_are_an_error_with_both_files(tmp_path):
    (tmp_path / "a.cu").write_text("__global__ void same(int n) {}")
    (tmp_path / "b.cu").write_text("__global__ void same(float* x) {}")
    with pytest.raises(ValueError, match=r"called same: a\.cu has same\(int n\), b\.cu has same"):
        declared(tmp_path)


def test_constants_are_read_too(tmp_path, monkeypatch):
    (tmp_path / "common.cuh").write_text("// constexpr int SIDE = 4;\nconstexpr int  SIDE=16 ;\n")
    monkeypatch.setenv("TINYFCN_KERNELS", str(tmp_path))
    assert constant("common.cuh", "SIDE") == 16
    with pytest.raises(ValueError, match=r"common\.cuh has no line: constexpr int TILE = a number"):
        constant("common.cuh", "TILE")
