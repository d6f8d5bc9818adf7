"""NVIDIA's compiler accepts every kernel without a warning, and all fits into registers."""

import functools
import itertools
import re

import pytest

from tinyfcn.backend.cuda import nvrtc
from tinyfcn.backend.cuda.kernels import PRODUCTS, declared, folder, instances

KERNELS = declared()
FILES = sorted({kernel.file for kernel in KERNELS.values()})
ON_TENSOR_CORES = sorted({kernel.file for kernel in KERNELS.values() if kernel.types == PRODUCTS})
# Left to `tinyfcn kernels resources`: doubles, which are for checks, but for one architecture; and
# of an old one what has fewer bits.
LEFT = {
    "sm_75": ("<double>", "<half>", "<Bf16>", "<Fp16>"),
    "sm_90": "<double>", "sm_120": "<double>",
}  # fmt: skip


@functools.cache
def compiled(file, architecture):
    names = instances(KERNELS, file)
    wanted = [name for name in names if not name.endswith(LEFT.get(architecture, "no type"))]
    usages = nvrtc.compile_file(folder() / file, wanted, architecture)
    assert {usage.kernel for usage in usages} == {*wanted}
    return usages


@pytest.mark.parametrize("file, architecture", [
    *((file, "sm_75") for file in FILES if file != "conv2d_tensor.cu"),
    *itertools.product(["conv2d.cu", *ON_TENSOR_CORES], ["sm_120"]),
    *itertools.product(FILES, ["sm_90", "sm_80"]),  # the last is read below, by the same process
])  # fmt: skip
def test_every_kernel_compiles_without_warnings_and_spills(file, architecture):
    usages = compiled(file, architecture)
    for usage in usages:
        assert usage.spills == 0, usage
        assert usage.shared <= 48 * 1024, usage
        assert 0 < usage.registers <= 255, usage


@pytest.mark.parametrize(
    "file, name, products",
    [("gemm.cu", "gemm_4", 1), ("conv1x1.cu", "conv1x1", 1), ("conv2d.cu", "conv2d", 1),
     ("conv2d.cu", "conv2d_input_grad", 1), ("conv2d.cu", "conv2d_weight_grad", 1),
     ("conv2d.cu", "conv2d_grads", 2)],
)  # fmt: skip
def test_products_read_shared_memory_by_128_bits(file, name, products):
    code = {usage.kernel: usage.ptx for usage in compiled(file, "sm_80")}
    for T, load, of in (("float", "ld.shared.v4.f32", 4), ("double", "ld.shared.v2.f64", 2)):
        loads = re.findall(r"ld\.shared[.\w]*\.f\d+", code[f"{name}<{T}>"])
        # 16 terms are unrolled, and each needs 8 + 4 elements. Sums of a bias are read one by one.
        assert [one for one in loads if ".v" in one] == [load] * (products * 16 * 12 // of)
        assert products == 2 or loads.count(load) == len(loads)


def test_larger_tiles_read_shared_memory_by_128_bits():
    code = {usage.kernel: usage.ptx for usage in compiled("gemm.cu", "sm_80")}
    loads = re.findall(r"ld\.shared[.\w]*\.f\d+", code["gemm_5"])
    assert loads == ["ld.shared.v4.f32"] * (8 * 16 // 4)  # 8 terms, 8 + 8 elements


@pytest.mark.parametrize(
    "file, name",
    [("gemm.cu", "gemm_7"), *(("conv2d_tensor.cu", f"conv2d_tensor{which}")
                              for which in ("", "_input_grad", "_weight_grad"))],
)  # fmt: skip
@pytest.mark.parametrize("product, shape, of, terms, loads", [
    ("Tf32", "m16n8k8.row.col.f32.tf32.tf32.f32", 16 * 8 * 8, 16, ["f32"] * 64),
    ("Bf16", "m16n8k16.row.col.f32.bf16.bf16.f32", 16 * 8 * 16, 16, ["v2.f32"] * 32),
    ("Fp16", "m16n8k16.row.col.f32.f16.f16.f32", 16 * 8 * 16, 32, ["u32"] * 64),
])  # fmt: skip
def test_tensor_cores_multiply_in_the_inner_loop(product, shape, of, terms, loads, file, name):
    (usage,) = (u for u in compiled(file, "sm_80") if u.kernel == f"{name}<{product}>")
    (loop,) = (body for body in loops(usage.ptx) if "mma.sync" in body)
    # 128 x 128 products a term of a block of 4 warps; a lane reads a quarter of 8 + 8 lines.
    for code in (loop, usage.ptx):
        assert re.findall(r"mma\.sync\.aligned\.(\S+)", code) == [shape] * (
            128 * 128 * terms // 4 // of
        )
        assert re.findall(r"ld\.shared\.(\S*)", code) == loads
    assert usage.stack == 0
    # What cannot be copied past registers is loaded before eight products, and stored behind them.
    order = itertools.groupby(re.findall(r"ld\.global\.nc|mma\.sync|st\.shared", loop))
    runs = ["ld.global.nc", "mma.sync", "st.shared"] * 8 if terms == 32 else ["mma.sync"]
    assert [key for key, _ in order] == runs


def loops(code):
    """The bodies of the loops of a kernel that have no loop inside."""
    lines = code.splitlines()
    labels = {line.rstrip(":"): i for i, line in enumerate(lines) if re.match(r"\$L\w+:", line)}
    jumps = [(i, re.search(r"\bbra\S* +\t?(\$L\w+)", line)) for i, line in enumerate(lines)]
    spans = [(labels[jump[1]], i) for i, jump in jumps if jump and labels[jump[1]] < i]
    return [
        "\n".join(lines[begin:end])
        for begin, end in spans
        if not any(begin <= b and e <= end and (b, e) != (begin, end) for b, e in spans)
    ]


def test_asynchronous_copies_are_waited_for_by_group():
    code = {usage.kernel: usage.ptx for usage in compiled("gemm.cu", "sm_80")}["gemm_6"]
    # Of each panel, a thread of 256 copies 2 vectors, or 8 elements.
    assert code.count("cp.async.cg.shared.global") == 2 * 2
    assert code.count("cp.async.ca.shared.global") == 2 * 8
    assert re.findall(r"cp\.async\.(?:commit|wait)_group[^;]*", code) == [
        "cp.async.wait_group 1", "cp.async.commit_group",
    ]  # fmt: skip
    older = {usage.kernel: usage.ptx for usage in compiled("gemm.cu", "sm_75")}["gemm_6"]
    assert "cp.async" not in older


@pytest.mark.parametrize(
    "file, name",
    [("activation.cu", "relu"), ("activation.cu", "relu_grad"), ("batch_norm.cu", "batch_norm"),
     ("batch_norm.cu", "batch_norm_grad"), ("max_pool.cu", "max_pool2d"),
     ("local_response_norm.cu", "local_response_norm_grad"),
     ("batch_norm.cu", "batch_norm_parts"), ("batch_norm.cu", "batch_norm_grad_whole"),
     ("dropout.cu", "dropout"), ("optimizer.cu", "sgd_update"), ("optimizer.cu", "adam_update")],
)  # fmt: skip
def test_memory_bound_kernels_read_by_128_bits(file, name):
    code = {usage.kernel: usage.ptx for usage in compiled(file, "sm_80")}
    half = r"v4\.[bu]16" if name.endswith(("parts", "whole")) else r"v4\.[bu]32"  # or by 64
    for T, load in (("half", half), ("float", r"v4\.[fbu]32"), ("double", r"v2\.[fbu]64")):
        if T in KERNELS[name].types:
            assert re.search(rf"ld(\.global)?(\.nc)?\.{load}", code[f"{name}<{T}>"])


def test_a_float16_is_rounded_to_the_nearest():
    code = {usage.kernel: usage.ptx for usage in compiled("dropout.cu", "sm_80")}["dropout<half>"]
    assert {*re.findall(r"cvt\S*f16\S*", code)} == {"cvt.f32.f16", "cvt.rn.f16.f32"}


@pytest.mark.parametrize("file", ["dropout.cu", "max_pool.cu", "resample.cu", "sums.cu"])
def test_indices_that_fit_are_divided_in_32_bits(file):
    """The compiler looks, and has a second division for those that do not."""
    for usage in compiled(file, "sm_80"):
        large, small = (re.findall(rf"\b(?:div|rem)\.{T}", usage.ptx) for T in ("s64", "[su]32"))
        assert len(small) >= len(large)
    assert any(re.search(r"\bdiv\.s64", usage.ptx) for usage in compiled(file, "sm_80"))


def test_what_the_lesson_says_of_occupancy_is_what_is_compiled():
    lesson = (folder() / "README.md").read_text("utf-8")
    usages = [*compiled("activation.cu", "sm_80"), *compiled("gemm.cu", "sm_80")]
    of = {usage.kernel.removesuffix("<float>"): usage for usage in usages}
    relu, fifth, sixth, last = (of[name] for name in ("relu", "gemm_5", "gemm_6", "gemm_7<Tf32>"))
    assert re.findall(r"^.* registers +\d+ bytes .*$", lesson, re.MULTILINE) == [
        str(relu),
        str(last),
    ]
    lesson, most, each = " ".join(lesson.split()), 64, -(-last.registers // 8) * 8
    assert {nvrtc.ROOM[name].warps for name in ("sm_80", "sm_90")} == {most}
    assert (relu.blocks * relu.threads, 8 * last.blocks * last.threads) == (32 * most, 32 * most)
    assert (fifth.blocks, sixth.blocks, last.blocks) == (1, 2, 2)
    code = of["gemm_4"].ptx
    loads, products = (len(re.findall(word, code)) for word in (r"ld\.shared", r"fma\.rn"))
    for words in (
        f"of the {most} that", f"Its {4 * nvrtc.REGISTERS:,} registers", f"has all {most},",
        f"takes {each} registers", f"a block {each * last.threads:,}: two have room, 8 warps",
        f"{fifth.registers} registers of `gemm_5` let one block in, its {sixth.registers} let two",
        f"{loads} loads for {products} of them", f"{products / (products + loads):.0%} is the most",
    ):  # fmt: skip
        assert words in lesson, words


def test_blocks_have_room_by_warps_registers_and_shared_memory():
    def blocks(architecture, threads, registers, shared=0):
        return nvrtc.Usage("k", architecture, threads, registers, shared, 0, 0, "").blocks

    assert blocks("sm_80", 256, 32) == 8  # all 64 warps
    assert blocks("sm_80", 32, 16) == 32  # as many blocks as there may be
    assert blocks("sm_80", 256, 33) == 6  # 40 registers: 12 warps in a quarter, 48 in all
    assert blocks("sm_80", 128, 205) == 2  # 208: 2 in a quarter, 8 in all
    assert blocks("sm_80", 256, 128, 80 << 10) == 2  # 2 x 81 of 164 KiB
    assert blocks("sm_80", 128, 32, 48 << 10) == 3 and blocks("sm_90", 128, 32, 48 << 10) == 4
    assert blocks("sm_75", 128, 32, 32 << 10) == 2 and blocks("sm_75", 256, 32) == 4
    assert blocks("sm_120", 1024, 42) == 1 and blocks("sm_0", 32, 32) == 0


def test_warnings_errors_and_spills_are_found(tmp_path):
    source = tmp_path / "bad.cu"
    source.write_text("__global__ void bad(float* x) {\n    int unused;\n    x[0] = 1;\n}\n")
    with pytest.raises(
        nvrtc.NvrtcError, match=r"(?s)bad\.cu for sm_80.*bad\.cu\(2\).*never referenced"
    ):
        nvrtc.compile_file(source, ["bad"], "sm_80")
    source.write_text("__global__ void bad(float* x) { x[0] = INFINITY; }\n")
    with pytest.raises(nvrtc.NvrtcError, match="INFINITY"):
        nvrtc.compile_file(source, ["bad"], "sm_80")
    sums = "".join(f"v{i} = v{i} * a + x[{i} * n];" for i in range(64))
    source.write_text(
        "__global__ void __launch_bounds__(1024, 2) bad(float* x, float a, int n) {\n"
        + "".join(f"float v{i} = x[{i}];" for i in range(64))
        + f"for (int k = 0; k < n; ++k, x += n) {{ {sums} }}\n"
        + "".join(f"x[{i}] = v{i};" for i in range(64))
        + "}\n"
    )
    (usage,) = nvrtc.compile_file(source, ["bad"], "sm_80")
    assert usage.kernel == "bad" and usage.spills > 0 and usage.registers == 32


def test_the_table_has_registers_shared_memory_and_stack(tmp_path):
    source = tmp_path / "tile.cu"
    source.write_text(
        "template <typename T> __global__ void tile(T* x) {\n"
        "    __shared__ T t[64];\n    t[threadIdx.x] = x[threadIdx.x];\n    __syncthreads();\n"
        "    x[threadIdx.x] = t[63 - threadIdx.x];\n}\n"
    )
    usages = nvrtc.compile_file(source, ["tile<float>", "tile<double>"], "sm_75")
    assert {(u.kernel, u.shared, u.stack) for u in usages} == {
        ("tile<float>", 256, 0), ("tile<double>", 512, 0)
    }  # fmt: skip
    assert all(u.registers >= 4 for u in usages)


def test_where_nvrtc_is_missing_it_is_said_how_to_install_it(monkeypatch):
    monkeypatch.setattr(nvrtc.metadata, "distributions", lambda name: [])
    monkeypatch.setattr(nvrtc.ctypes, "CDLL", lambda name: (_ for _ in ()).throw(OSError(name)))
    with pytest.raises(nvrtc.NvrtcError, match="pip install nvidia-cuda-nvrtc"):
        nvrtc.compile_all(["sm_80"])
