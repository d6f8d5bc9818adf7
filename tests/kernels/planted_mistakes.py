"""Mistakes in the kernels, and in what launches them, that tests must catch; ``drill.py`` plants
them."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import NamedTuple

TESTS = "tests/kernels"
HOST = "tinyfcn/backend/cuda"  # the folder of what is in Python


class Mistake(NamedTuple):
    """One of them: ``text``, which stands once in ``file``, becomes ``replacement``. The file is
    one of ``kernels/`` or, in Python, of ``HOST``."""

    file: str
    text: str
    replacement: str
    kernel: str
    what: str
    tests: str = ""  # to run; by default those of the file

    @property
    def path(self) -> str:
        """From the root of the repository."""
        return f"{HOST if self.file.endswith('.py') else 'kernels'}/{self.file}"

    @property
    def test_files(self) -> list[str]:
        """What pytest is to run."""
        return [f"{TESTS}/{name}" for name in (self.tests or tests_of(self.file)).split()]


def tests_of(file: str) -> str:
    """The tests of a file: those of its name unless the table below has others."""
    return TESTS_OF.get(file, f"test_{file.split('.')[0]}.py")


TESTS_OF = {
    "channel_sums.cuh": "test_batch_norm.py test_sums.py",
    "common.cuh": "test_activation.py",
    "conv1x1.cu": "test_conv2d.py",
    "conv2d_depthwise.cu": "test_conv2d.py",
    "convolution.py": "test_conv2d.py",
    "cupy_engine.py": "../backend/cuda/test_cupy_engine.py",
    "launcher.py": "../backend/cuda/test_launcher.py",
    "pooling.py": "test_max_pool.py",
    "conv2d_direct.cu": "test_conv2d.py",
    "pipeline.cuh": "test_gemm.py",
    "ptx.cuh": "test_nvrtc.py",
    "tensor.cuh": "test_tensor.py",
    "tile.cuh": "test_gemm.py",
}
LARGE = "test_large_arrays.py"
PRODUCTS = Path(__file__).with_name("planted_in_products.py")

MISTAKES = [
    Mistake("common.cuh", "i < (i64)(count);", "i <= (i64)(count);", "FOR_EACH", "<= for <"),
    Mistake("common.cuh", "i += (i64)gridDim.x * blockDim.x", "i += blockDim.x",
        "FOR_EACH", "race: blocks do each other's elements"),
    Mistake("common.cuh", "(u64)(a | b) >> 32", "(u64)(a | b) >> 33",
        "quotient", "a number of 33 bits divided in 32", LARGE),
    Mistake("common.cuh", "i64 i = (i64)blockIdx.x", "i64 i = blockIdx.x",
        "FOR_EACH", "int overflow: the first element of a block", LARGE),
    Mistake("common.cuh", "(i64)gridDim.x * blockDim.x)", "(int)(gridDim.x * blockDim.x))",
        "FOR_EACH", "int overflow: the step", LARGE),

    Mistake("activation.cu", "v > 0 || v != v ? v : T(0)", "v > 0 ? v : T(0)", "relu", "NaN lost"),
    Mistake("activation.cu", "gx[i] = y[i] > 0 ? gy[i] : T(0)", "gx[i] = y[i] >= 0 ? gy[i] : T(0)",
        "relu_grad", ">= for >: a gradient where y is 0"),

    Mistake("channel_sums.cuh", "shared[threadIdx.x] = value;\n    __syncthreads();",
        "shared[threadIdx.x] = value;", "block_sum", "barrier before the tree removed"),
    Mistake("channel_sums.cuh", "shared[threadIdx.x + half];\n        __syncthreads();",
        "shared[threadIdx.x + half];", "block_sum", "barrier in the tree removed"),
    Mistake("channel_sums.cuh",
        "shared[threadIdx.x] += shared[threadIdx.x + half];\n        __syncthreads();",
        "{ shared[threadIdx.x] += shared[threadIdx.x + half]; __syncthreads(); }",
        "block_sum", "barrier that not all threads reach"),
    Mistake("channel_sums.cuh", "    __syncthreads();  // nobody", "    // nobody",
        "block_sum", "barrier after the tree removed"),
    Mistake("channel_sums.cuh", "const double sum = shared[0];",
        "const double sum = (float)shared[0];",
        "block_sum", "float temporary in a sum of doubles"),
    Mistake("channel_sums.cuh", "if (pixel >= pixels)", "if (pixel > pixels)",
        "PartWalk", "off by one: the first pixel of the next image"),
    Mistake("channel_sums.cuh", "offset = (image * channels + channel) * pixels + pixel;",
        "offset = (int)((image * channels + channel) * pixels + pixel);",
        "PartWalk", "int overflow", LARGE),
    Mistake("channel_sums.cuh", "to_next_image = (i64)(channels - 1) * pixels",
        "to_next_image = (i64)channels * pixels", "PartWalk", "wrong stride of images"),

    Mistake("batch_norm.cu", "return rest < PART ? (int)rest : PART;", "return PART;",
        "batch_norm_parts", "the last part taken for a whole one"),
    Mistake("batch_norm.cu", "sum_squared - rest * rest / size;", "sum_squared;",
        "batch_norm_parts", "what the rounded mean adds is not taken off"),
    Mistake("batch_norm.cu", "square += squares[t] + d * d * part_size(t, count);",
        "square += squares[t];", "batch_norm_stats", "variance between parts dropped"),
    Mistake("batch_norm.cu", "(!y || y[at.offset] > 0)", "(!y || y[at.offset] >= 0)",
        "batch_norm_grad_parts", ">= for >: a gradient where the ReLU gave 0"),
    Mistake("batch_norm.cu", "(sum_gy + xhat * sum_gy_xhat)",
        "(sum_gy - xhat * sum_gy_xhat)", "batch_norm_grad", "a sign"),
    Mistake("batch_norm.cu", "__syncthreads();\n    const Kept", "const Kept",
        "batch_norm_whole", "barrier before the parts are read removed"),
    Mistake("batch_norm.cu", "__syncthreads();\n    const T sum", "const T sum",
        "batch_norm_grad_whole", "barrier before the parts are read removed"),
    Mistake("batch_norm.cu", "kept.momentum * (var * kept.unbiased)", "kept.momentum * var",
        "channel_moments", "running variance biased"),
    Mistake("batch_norm.cu", "(T)(parts_sum(products, parts, shared) * s)",
        "(T)parts_sum(products, parts, shared)",
        "batch_norm_grad_whole", "factor dropped"),
    Mistake("batch_norm.cu", "relu && v <= 0", "relu && !(v > 0)", "batch_norm", "NaN lost"),

    Mistake("conv1x1.cu", "x + n * K * P + p0", "x + n * M * P + p0",
        "conv1x1", "wrong stride of images"),
    Mistake("conv1x1.cu", "P % Vector<T>::SIZE == 0 && aligned(y)", "aligned(y)",
        "conv1x1", "misaligned vector store"),
    Mistake("conv1x1.cu", "const i64 n = blockIdx.z;", "const int n = blockIdx.z;",
        "conv1x1", "int overflow", LARGE),

    Mistake("conv2d.cu", "x + ((i64)n * C + group * channels) * H * W", "x + (i64)n * C * H * W",
        "conv2d", "group offset dropped"),
    Mistake("conv2d.cu", "oh * SH - PH, ow * SW - PW, KH", "oh * SH + PH, ow * SW + PW, KH",
        "conv2d", "wrong sign of the padding"),
    Mistake("conv2d.cu", "KH, KW, DH, DW, terms", "KH, KW, 1, 1, terms",
        "conv2d", "dilation ignored"),
    Mistake("conv2d.cu", "    finish(sum, bias ? bias + oc0 : bias, rows - row0, relu);",
        "    finish(sum, bias ? bias + oc0 : bias, rows - row0, false);\n"
        "    finish(sum, bias ? bias + oc0 : bias, rows - row0, relu);",
        "conv2d", "bias added twice"),
    Mistake("conv2d.cu", "k + s < terms &&", "k + s <= terms &&",
        "ColumnLoader", "<= for <: a channel too many, times 0"),
    Mistake("conv2d.cu", "+ ((i64)n * C + group", "+ (n * C + group",
        "conv2d", "int overflow", LARGE),
    Mistake("conv2d.cu", "y + ((i64)(p / pixels) * OC", "y + (p / pixels * OC",
        "conv2d", "int overflow where it writes", LARGE),
    Mistake("conv2d.cu", "gy + ((i64)n * OC", "gy + (n * OC",
        "conv2d_input_grad", "int overflow", LARGE),
    Mistake("conv2d.cu", "gx + (((i64)(p / pixels) * C", "gx + ((p / pixels * C",
        "conv2d_input_grad", "int overflow where it writes", LARGE),
    Mistake("conv2d.cu", "step = 1;\n        while (step * D % S != 0) step++;", "step = S;",
        "conv2d_input_grad", "taps lost where stride and dilation share a factor"),
    Mistake("conv2d.cu", "pixels - begin < share ? pixels : begin + share", "begin + share",
        "conv2d_weight_grad", "the last share runs over the end"),
    Mistake("conv2d.cu", ".h = -(1 << 30);\n    }\n    __syncthreads();", ".h = -(1 << 30);\n    }",
        "conv2d_weight_grad", "barrier removed"),
    Mistake("conv2d.cu", "held[s] = k < terms && line < lines ? from", "held[s] = k < terms ? from",
        "TapLoader", "guard of the channels dropped"),
    Mistake("conv2d.cu", "inside = p < end &&", "inside = p <= end &&",
        "PatchLoader", "<= for <: a pixel too many, times 0"),
    Mistake("conv2d.cu", "        if (column >= columns) taps[threadIdx.x].h = -(1 << 30);\n", "",
        "conv2d_weight_grad", "taps that do not exist look into the image"),
    Mistake("conv2d.cu", "vectors = SH * SW == 1 && pixels", "vectors = pixels",
        "conv2d_input_grad", "pixels a stride apart written as a vector"),
    Mistake("conv2d.cu", "parts[s * count + i]", "parts[s + i * S]",
        "sum_parts", "swapped indices"),

    Mistake("conv2d_depthwise.cu", "end = all - begin < (u32)share ? all : begin + share",
        "end = begin + share", "depthwise_weight_grad", "the last share runs over the end"),
    Mistake("conv2d_depthwise.cu", "oc / (OC / G) * channels + blockIdx", "blockIdx",
        "depthwise_weight_grad", "group offset dropped"),
    Mistake("conv2d_depthwise.cu", "= sum[t];\n    __syncthreads();", "= sum[t];",
        "depthwise_weight_grad", "barrier before the tree removed"),
    Mistake("conv2d_depthwise.cu", "        }\n        __syncthreads();", "        }",
        "depthwise_weight_grad", "barrier in the tree removed"),
    Mistake("conv2d_depthwise.cu", "first + threadIdx.x < taps)", "first + threadIdx.x <= taps)",
        "depthwise_weight_grad", "off by one: the first tap of the next plane"),
    Mistake("conv2d_depthwise.cu", "x + ((i64)n * C + c) * H * W", "x + (int)(n * C + c) * H * W",
        "depthwise_weight_grad", "int overflow", LARGE),

    Mistake("conv2d_direct.cu", "(n * C + oc / OCG * CG)", "(n * C)",
        "conv2d_direct", "group offset dropped"),
    Mistake("conv2d_direct.cu", "const i64 n = i / ((i64)W * H * C);",
        "const int n = i / ((i64)W * H * C);", "conv2d_direct_input_grad", "int overflow", LARGE),
    Mistake("conv2d_direct.cu", "if (top % SH != 0 || !within(oh, OH))", "if (!within(oh, OH))",
        "conv2d_direct_input_grad", "stride: taps between outputs counted"),
    Mistake("conv2d_direct.cu", "gy[((n * OC + oc) * OH + oh) * OW + ow];",
        "gy[((n * OC + oc) * OH + ow) * OW + oh];",
        "conv2d_direct_weight_grad", "swapped indices"),

    Mistake("cross_entropy.cu", "if (label < 0) continue;", "",
        "cross_entropy", "label -1 not ignored"),
    Mistake("cross_entropy.cu", "c == label ? g - gy[i] : g", "c == label ? g - 1 : g",
        "cross_entropy_grad", "one-hot label not times gy"),
    Mistake("cross_entropy.cu", "log(sum) - (logits[label * pixels] - largest)",
        "log(sum) + largest - logits[label * pixels]",
        "cross_entropy", "digits lost at large logits: the order of a sum"),
    Mistake("cross_entropy.cu", "exp(x[c * pixels] - largest)", "exp(x[c * (int)pixels] - largest)",
        "cross_entropy", "int overflow: the classes of softmax", LARGE),
    Mistake("cross_entropy.cu", "gx[start + c * pixels] = c == label",
        "gx[start + (int)(c * pixels)] = c == label",
        "cross_entropy_grad", "int overflow where it writes", LARGE),
    Mistake("cross_entropy.cu", "largest = x[0];", "largest = 0;",
        "cross_entropy", "overflow: the largest logit is at least 0"),
    Mistake("cross_entropy.cu", "return image * classes * pixels",
        "return (int)image * classes * (int)pixels", "cross_entropy", "int overflow", LARGE),

    Mistake("dropout.cu", "(i / 2 + 1)", "(i / 2)", "dropout", "counter off by one"),
    Mistake("dropout.cu", ">= threshold", "> threshold", "dropout", "> for >="),
    Mistake("dropout.cu", "(image * pixels + pixel) * channels + channel", "i",
        "dropout", "numbered as elements lie in memory"),
    Mistake("dropout.cu", "image = quotient(plane, channels);",
        "image = channels == 1 ? 0 : quotient(plane, channels);",
        "dropout", "one channel taken for one image"),
    Mistake("dropout.cu", "(u32)(i % 2 ? z >> 32 : z)", "(u32)(i % 2 ? z : z >> 32)",
        "dropout", "halves of a random word swapped"),

    Mistake("im2col.cu", "const int kw = row % KW, kh = row / KW % KH;",
        "const int kw = row / KH % KW, kh = row % KH;", "im2col", "swapped indices"),
    Mistake("im2col.cu", "inside = within(h, H) && within(w, W)", "inside = within(h, H) && w < W",
        "im2col", "padding on the left not 0"),
    Mistake("im2col.cu", "const i64 row = i", "const int row = i",
        "im2col", "int overflow", LARGE),
    Mistake("im2col.cu", "const i64 c = i", "const int c = i", "col2im", "int overflow", LARGE),
    Mistake("im2col.cu", "sum += columns[", "sum = columns[", "col2im", "missing accumulate"),

    Mistake("local_response_norm.cu", "(size - 1) / 2, size / 2);", "size / 2, (size - 1) / 2);",
        "local_response_norm_grad", "window not turned round"),
    Mistake("local_response_norm.cu", "(after < left ? after : left)", "after",
        "local_response_norm", "window reaches into the next image"),
    Mistake("local_response_norm.cu", "* pixels + 1;", "* pixels;",
        "local_response_norm", "off by one: the last channel of a window"),

    Mistake("max_pool.cu", "if (v > best ||", "if (v >= best ||",
        "max_pool2d", "ties take the last maximum"),
    Mistake("max_pool.cu", "if (v > best || v != v)", "if (v > best)", "max_pool2d", "NaN lost"),
    Mistake("max_pool.cu", "T best = -Limits<T>::infinity();", "T best = 0;",
        "max_pool2d", "negative maxima lost"),
    Mistake("max_pool.cu", "-Limits<T>::infinity()", "-INFINITY",
        "max_pool2d", "a word that only g++ knows",
        "test_nvrtc.py::test_every_kernel_compiles_without_warnings_and_spills[max_pool.cu-sm_80]"),
    Mistake("max_pool.cu", "first + (-first + dilation - 1) / dilation * dilation", "0",
        "max_pool2d", "dilated window begins on another tap"),
    Mistake("max_pool.cu", "first + (-first + dilation - 1) / dilation * dilation",
        "first + dilation", "max_pool2d", "padded by more than the dilation: one tap too few"),
    Mistake("max_pool.cu", "const i64 start = plane * oh * ow;",
        "const int start = (int)plane * oh * ow;", "scatter_plane", "int overflow", LARGE),
    Mistake("max_pool.cu", "indices + (i64)blockIdx.x * oh * ow", "indices + blockIdx.x * oh * ow",
        "any_foreign", "int overflow", LARGE),
    Mistake("max_pool.cu", "found[threadIdx.x] = mine;\n    __syncthreads();",
        "found[threadIdx.x] = mine;", "any_foreign", "barrier removed"),
    Mistake("max_pool.cu", "half = THREADS / 2; half > 0;", "half = THREADS / 2; half > 1;",
        "any_foreign", "last step of the tree missing"),
    Mistake("max_pool.cu", "return last < count ? last + 1 : count;",
        "return last < count ? last : count;",
        "scatter_plane", "off by one: the last window of a pixel"),
    Mistake("max_pool.cu", "sum += x[at]", "sum = x[at]", "scatter_plane", "missing accumulate"),
    Mistake("max_pool.cu", "x[quotient(i, output_plane) * input_plane",
        "x[(int)quotient(i, output_plane) * (int)input_plane",
        "gather_plane", "int overflow", LARGE),
    Mistake("max_pool.cu",
        "&&\n                            p >= columns.from(c) && p < columns.to(c, ow);", ";",
        "any_foreign", "a foreign column not seen"),

    Mistake("optimizer.cu", "grad[i] + decay * param[i];\n        T move",
        "grad[i] - decay * param[i];\n        T move", "sgd_update", "sign of the weight decay"),
    Mistake("optimizer.cu", "nesterov ? d + momentum * v : v", "nesterov ? d + v : v",
        "sgd_update", "nesterov formula"),
    Mistake("optimizer.cu", "            velocity[i] = v;\n", "",
        "sgd_update", "velocity not written"),
    Mistake("optimizer.cu", "sqrt(v) / correction + eps);", "sqrt(v + eps) / correction);",
        "adam_update", "eps under the root"),
    Mistake("optimizer.cu", "firsts[middle] <= (int)blockIdx.x", "firsts[middle] < (int)blockIdx.x",
        "sgd_update", "first block of an array taken for one of the array before"),
    Mistake("optimizer.cu", "rest < SHARE ? rest : SHARE", "rest",
        "adam_update", "blocks change elements twice"),
    Mistake("optimizer.cu", "share2 * d * d", "(1 - beta2) * d * d",
        "adam_update", "1 - beta taken in float"),

    Mistake("resample.cu", "sum += row_weights[across + r] * part",
        "sum = row_weights[across + r] * part", "resample2d", "missing accumulate"),
    Mistake("resample.cu", "along = (i64)p * column_width - left", "along = (i64)p * column_width",
        "resample2d", "wrong start of a band"),
    Mistake("resample.cu", "x + (plane * h + r) * w", "x + (int)(plane * h + r) * w",
        "resample2d", "int overflow", LARGE),

    Mistake("sums.cu", "T sum = 0;", "T sum;", "sum_pixels", "uninitialised accumulator"),
    Mistake("sums.cu", "if (at.number < count) {", "if (at.number <= count) {",
        "sum_pixels", "<= for <: an element of the next channel"),
    Mistake("sums.cu", "const double sum = part_sum(x, y, gx, at",
        "const float sum = part_sum(x, y, gx, at",
        "sum_pixels", "float temporary in a sum of doubles"),
    Mistake("sums.cu", "__syncthreads();\n    const double sum", "const double sum",
        "sum_pixels_whole", "barrier before the parts are read removed"),
    Mistake("sums.cu", "!(y[at.offset] > 0)", "!(y[at.offset] >= 0)",
        "part_sum", ">= for >: a gradient where the ReLU gave 0"),
    Mistake("sums.cu", "sums + (i64)channel * parts", "sums + channel",
        "channel_totals", "wrong stride of channels"),
    Mistake("channel_sums.cuh", "t += PART_THREADS) sum", "t += PART_THREADS + 1) sum",
        "parts_sum", "parts left out"),
    Mistake("sums.cu", "channel < plain ? sum : sum * factors[channel - plain]", "sum",
        "channel_totals", "factor dropped", "test_batch_norm.py"),

    Mistake("launcher.py", "elif used is not given:", "elif False:",
        "Launcher", "what was written into a copy lost"),
    Mistake("launcher.py", "packed, shared_mem)", "packed, 0)", "Launcher",
        "dynamic shared memory not asked for"),
    Mistake("convolution.py", "g.ph, g.pw, g.groups) == (1, 1, 1, 1, 0, 0, 1)",
        "g.ph, g.pw) == (1, 1, 1, 1, 0, 0)", "conv1x1", "taken for groups too"),
    Mistake("convolution.py", " and g.n <= LARGEST_AXIS", "", "conv1x1", "no limit of the grid"),
    Mistake("convolution.py", "-(-pixels // (DEPTH * shares))", "(pixels // (DEPTH * shares))",
        "conv2d_weight_grad", "pixels lost where shares do not divide them"),
    Mistake("convolution.py", "-(-pixels // max(share, 1))", "(pixels // max(share, 1))",
        "conv2d_weight_grad", "the last share lost where it is a small one"),
    Mistake("cupy_engine.py", "=0x{digest}", "=0", "CupyEngine", "headers not in the options"),
    Mistake("cupy_engine.py", "self.xp.cuda.get_current_stream().synchronize()", "pass",
        "CupyEngine", "synchronize does not wait"),
    Mistake("cupy_engine.py", "shared_mem=shared_mem", "shared_mem=0", "CupyEngine",
        "dynamic shared memory not asked for"),
    Mistake("pooling.py", "if np.can_cast(indices.dtype, np.int32):", "if True:", "gather_plane",
        "an index of 64 bits cut to 32"),
    *(Mistake("launcher.py", f"if {check}:", "if False:", "Launcher", f"no check of {what}")
        for check, what in {
            "kernel is None": "the name", "element not in types": "the declared type",
            "len(arguments) != len(plan.kernel.parameters)": "the number of arguments",
            "dtype not in plan.packing": "the dtype of T",
            "0 in grid": "an empty grid", "value is None": "a null pointer",
            "not isinstance(value, arrays)": "arrays", "value.dtype != expected": "the dtype",
            "not isinstance(value, _NUMBERS)": "numbers",
            "isinstance(value, np.generic) or not value.flags.c_contiguous": "the order in memory",
        }.items()),
    *(Mistake("launcher.py", check, "False", "Launcher", f"no check of {what}")
        for check, what in {
            "math.prod(block) > 1024": "the threads of a block",
            "grid[0] >= 2**31": "the first axis of a grid",
            "max(grid[1:]) >= 2**16": "the other axes of a grid",
        }.items()),

    *(Mistake(*row) for row in runpy.run_path(str(PRODUCTS))["MISTAKES"]),
]  # fmt: skip
