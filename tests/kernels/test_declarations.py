"""What Python declares of the kernels is what stands in the .cu files."""

import pytest

from tinyfcn.backend.cuda.emulator import Emulator, build
from tinyfcn.backend.cuda.kernels import KERNELS, folder
from tinyfcn.backend.cuda.launcher import instances

FILES = sorted({kernel.file for kernel in KERNELS.values()})
TYPES = {
    "i64": "long long int", "u64": "long long unsigned int",
    "u32": "unsigned int", "u8": "unsigned char",
}  # fmt: skip


@pytest.fixture(scope="module")
def emulator():
    """All kernels, compiled side by side."""
    emulator = Emulator()
    emulator.build_all()
    return emulator


def declared(kernel, T):
    """The C++ type of an instance: "void(const float*, int)"."""
    names = {**TYPES, "T": T}
    types = []
    for kind in kernel.types:
        plain = kind.removeprefix("const ").rstrip("*")
        const = "const " if kind.startswith("const ") and kind.endswith("*") else ""
        types.append(const + names.get(plain, plain) + "*" * kind.count("*"))
    return f"void({', '.join(types)})"


@pytest.mark.parametrize("name", KERNELS)
def test_the_declared_signature_is_the_type_of_each_instance(emulator, name):
    kernel = KERNELS[name]
    signatures = emulator.library(kernel.file).signatures
    found = {key: value for key, value in signatures.items() if key.split("<")[0] == name}
    if kernel.templated:
        assert found == {f"{name}<{T}>": declared(kernel, T) for T in ("float", "double")}
    else:
        assert found == {name: declared(kernel, "")}


@pytest.mark.parametrize("mode", ["fast", "check"])
@pytest.mark.parametrize("file", FILES)
def test_the_cpu_compiler_has_no_warning(emulator, file, mode):
    assert build.warnings(folder() / file, instances(KERNELS, file), mode) == ""
