"""The drill: mistakes planted in the kernels, one at a time, which the kernel tests must catch.

    python tests/kernels/planted_mistakes.py [--only WORD] [--jobs N]

Each mistake is put into a copy of ``kernels/``, and the tests of that kernel run on the copy
(TINYFCN_KERNELS) until one fails. The table says which one, and by what it was caught:

- wrong in order: the result is wrong although threads ran one after the other;
- seed order: right in order, wrong when threads and blocks take turns at random;
- guard: an access beyond an array, into memory that is forbidden or nobody's;
- check build: races, bounds, alignment, shared memory that nobody wrote, what accesses cost;
- barrier: one that not all threads reach; processor: a division by zero or the like;
- NVRTC, g++: the compiler refuses it or warns; no end: the tests ran for over a minute.

The exit status is 1 if a mistake was not caught: then a test is missing. Compiled kernels are kept
in a folder of their own in the cache, so that a second run takes less time than the first.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

ROOT = Path(__file__).resolve().parents[2]
TESTS = "tests/kernels"
LONGEST = 60  # seconds of the tests of one mistake


class Mistake(NamedTuple):
    """One of them: ``text``, which stands once in ``file``, becomes ``replacement``."""

    file: str
    text: str
    replacement: str
    kernel: str
    what: str
    tests: str = ""  # to run; by default those of the file

    @property
    def test_files(self) -> list[str]:
        """What pytest is to run."""
        return [f"{TESTS}/{name}" for name in (self.tests or TESTS_OF[self.file]).split()]


class Outcome(NamedTuple):
    """What became of a mistake: by what it was caught, "" if by nothing, and by which test."""

    mistake: Mistake
    by: str
    test: str
    seconds: float


TESTS_OF = {
    "activation.cu": "test_activation.py",
    "batch_norm.cu": "test_batch_norm.py",
    "channel_sums.cuh": "test_batch_norm.py test_sums.py",
    "common.cuh": "test_activation.py",
    "conv1x1.cu": "test_conv2d.py",
    "conv2d.cu": "test_conv2d.py",
    "conv2d_direct.cu": "test_conv2d.py",
    "cross_entropy.cu": "test_cross_entropy.py",
    "dropout.cu": "test_dropout.py",
    "gemm.cu": "test_gemm.py",
    "im2col.cu": "test_im2col.py",
    "local_response_norm.cu": "test_local_response_norm.py",
    "max_pool.cu": "test_max_pool.py",
    "optimizer.cu": "test_optimizer.py",
    "resample.cu": "test_resample.py",
    "softmax.cu": "test_softmax.py",
    "sums.cu": "test_sums.py",
    "tile.cuh": "test_gemm.py",
    "unpooling.cu": "test_unpooling.py",
}
LARGE = "test_large_arrays.py"

MISTAKES = [
    Mistake("common.cuh", "i < (i64)(count);", "i <= (i64)(count);", "FOR_EACH", "<= for <"),
    Mistake("common.cuh", "i += (i64)gridDim.x * blockDim.x", "i += blockDim.x",
        "FOR_EACH", "race: blocks do each other's elements"),
    Mistake("common.cuh", "(u64)(a | b) >> 32", "(u64)(a | b) >> 33",
        "quotient", "a number of 33 bits divided in 32", LARGE),

    Mistake("activation.cu", "v > 0 || v != v ? v : T(0)", "v > 0 ? v : T(0)", "relu", "NaN lost"),
    Mistake("activation.cu", "gx[i] = y[i] > 0 ? gy[i] : T(0)", "gx[i] = y[i] >= 0 ? gy[i] : T(0)",
        "relu_grad", ">= for >: a gradient where y is 0"),
    Mistake("activation.cu", "alpha * expm1(x[i])", "alpha * (exp(x[i]) - 1)",
        "elu", "the digits of a small x lost"),
    Mistake("activation.cu", "1 / (1 + exp(-x[i]))", "1 / (1 + exp(-(float)x[i]))",
        "sigmoid", "float temporary in the double instance"),

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
    Mistake("batch_norm.cu", "square - rest * rest / size;", "square;",
        "batch_norm_parts", "what the rounded mean adds is not taken off"),
    Mistake("batch_norm.cu", "square += squares[t] + d * d * part_size(t, count);",
        "square += squares[t];", "batch_norm_stats", "variance between parts dropped"),
    Mistake("batch_norm.cu", "(!y || y[at.offset] > 0)", "(!y || y[at.offset] >= 0)",
        "batch_norm_grad_parts", ">= for >: a gradient where the ReLU gave 0"),
    Mistake("batch_norm.cu", "(sum_gy[c] + xhat * sum_gy_xhat[c])",
        "(sum_gy[c] - xhat * sum_gy_xhat[c])", "batch_norm_grad", "a sign"),
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

    Mistake("conv2d_direct.cu", "(n * C + oc / OCG * CG)", "(n * C)",
        "conv2d_direct", "group offset dropped"),
    Mistake("conv2d_direct.cu", "if (top % SH != 0 || !within(oh, OH))", "if (!within(oh, OH))",
        "conv2d_direct_input_grad", "stride: taps between outputs counted"),
    Mistake("conv2d_direct.cu", "gy[((n * OC + oc) * OH + oh) * OW + ow];",
        "gy[((n * OC + oc) * OH + ow) * OW + oh];",
        "conv2d_direct_weight_grad", "swapped indices"),

    Mistake("cross_entropy.cu", "if (label < 0) continue;", "",
        "cross_entropy", "label -1 not ignored"),
    Mistake("cross_entropy.cu", "c == label ? g - gy[i] : g", "c == label ? g - 1 : g",
        "cross_entropy_grad", "one-hot label not times gy"),
    Mistake("cross_entropy.cu", "largest = x[0];", "largest = 0;",
        "cross_entropy", "overflow: the largest logit is at least 0"),
    Mistake("cross_entropy.cu", "return image * classes * pixels",
        "return (int)image * classes * (int)pixels", "cross_entropy", "int overflow", LARGE),

    Mistake("dropout.cu", "(i / 2 + 1)", "(i / 2)", "dropout", "counter off by one"),
    Mistake("dropout.cu", ">= threshold", "> threshold", "dropout", "> for >="),
    Mistake("dropout.cu", "(image * pixels + pixel) * channels + channel", "i",
        "dropout", "numbered as elements lie in memory"),
    Mistake("dropout.cu", "(u32)(i % 2 ? z >> 32 : z)", "(u32)(i % 2 ? z : z >> 32)",
        "dropout", "halves of a random word swapped"),

    Mistake("gemm.cu", "if (m >= M || n >= N) return;", "if (m > M || n > N) return;",
        "gemm_1", "off-by-one guard"),
    Mistake("gemm.cu", "right[y][x] = k0 + y < K &&", "right[y][x] = k0 + y <= K &&",
        "gemm_2", "<= for <: a row too many, times 0"),
    Mistake("gemm.cu", "        __syncthreads();\n        for (int k = 0; k < SIDE; k++) sum +=",
        "        for (int k = 0; k < SIDE; k++) sum +=", "gemm_2", "first barrier removed"),
    Mistake("gemm.cu", "* right[k][x];\n        __syncthreads();", "* right[k][x];",
        "gemm_2", "second barrier removed"),
    Mistake("gemm.cu", "T sum[EACH][EACH] = {};", "T sum[EACH][EACH];",
        "gemm_3", "uninitialised accumulator"),
    Mistake("gemm.cu", "N % Vector<T>::SIZE == 0 && aligned(c)", "N % Vector<T>::SIZE == 0",
        "gemm_4", "misaligned vector store"),

    Mistake("im2col.cu", "const int kw = row % KW, kh = row / KW % KH;",
        "const int kw = row / KH % KW, kh = row % KH;", "im2col", "swapped indices"),
    Mistake("im2col.cu", "inside = within(h, H) && within(w, W)", "inside = within(h, H) && w < W",
        "im2col", "padding on the left not 0"),
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
    Mistake("optimizer.cu", "sqrt(v) / correction + eps", "sqrt(v + eps) / correction",
        "adam_update", "eps under the root"),
    Mistake("optimizer.cu", "share2 * d * d", "(1 - beta2) * d * d",
        "adam_update", "1 - beta taken in float"),

    Mistake("resample.cu", "sum += row_weights[across + r] * part",
        "sum = row_weights[across + r] * part", "resample2d", "missing accumulate"),
    Mistake("resample.cu", "along = (i64)p * column_width - left", "along = (i64)p * column_width",
        "resample2d", "wrong start of a band"),
    Mistake("resample.cu", "x + (plane * h + r) * w", "x + (int)(plane * h + r) * w",
        "resample2d", "int overflow", LARGE),

    Mistake("softmax.cu", "T largest = x[0];", "T largest = 0;",
        "softmax", "underflow: the largest of a column is at least 0"),
    Mistake("softmax.cu", "const T log_sum", "const float log_sum",
        "log_softmax", "float temporary in the double instance"),
    Mistake("softmax.cu", "if (x[k * inner] > largest)", "if (x[k * (int)inner] > largest)",
        "softmax", "int overflow", LARGE),

    Mistake("sums.cu", "T sum = 0;", "T sum;", "sum_pixels", "uninitialised accumulator"),
    Mistake("sums.cu", "if (at.number < count) sum", "if (at.number <= count) sum",
        "sum_pixels", "<= for <: an element of the next channel"),
    Mistake("sums.cu", "const double part_sum", "const float part_sum",
        "sum_pixels", "float temporary in a sum of doubles"),
    Mistake("sums.cu", "sums += (i64)blockIdx.x * parts;", "sums += blockIdx.x;",
        "channel_totals", "wrong stride of channels"),
    Mistake("sums.cu", "t += PART_THREADS) sum", "t += PART_THREADS + 1) sum",
        "channel_totals", "parts left out"),
    Mistake("sums.cu", "factors ? sum * factors[blockIdx.x] : sum", "sum",
        "channel_totals", "factor dropped", "test_batch_norm.py"),

    Mistake("tile.cuh", "half = 1 - half;", "half = 0;", "multiply", "double buffer not toggled"),
    Mistake("tile.cuh", "b.put(shared.b[0]);\n    __syncthreads();", "b.put(shared.b[0]);",
        "multiply", "first barrier removed"),
    Mistake("tile.cuh", "b.put(shared.b[half]);\n            __syncthreads();",
        "b.put(shared.b[half]);", "multiply", "barrier of each step removed"),
    Mistake("tile.cuh", "&& whole && aligned(data);", "&& whole;",
        "MatrixLoader", "misaligned vector load"),
    Mistake("tile.cuh", "term_stride % V == 0 && lines % V == 0;", "term_stride % V == 0;",
        "MatrixLoader", "a vector over the edge of the matrix"),
    Mistake("tile.cuh", "T[DEPTH][TILE + Vector<T>::SIZE]", "T[DEPTH][TILE]",
        "Slice", "bank conflicts: no gap between lines"),
    Mistake("tile.cuh", "relu && v < 0 ? T(0) : v;", "relu && !(v > 0) ? T(0) : v;",
        "finish", "NaN lost", "test_conv2d.py"),
    Mistake("tile.cuh", "data[line * line_stride", "data[line * (int)line_stride",
        "MatrixLoader", "int overflow", LARGE),
    Mistake("tile.cuh", "if (row >= rows) continue;", "if (row > rows) continue;",
        "write", "off-by-one guard"),
    Mistake("tile.cuh", "if (vectors && column < columns) {", "if (vectors) {",
        "write", "a vector beyond the last column"),
    Mistake("tile.cuh", "bias && row < rows ? bias[row]", "bias ? bias[row]",
        "finish", "bias beyond the last row", "test_conv2d.py"),
    Mistake("tile.cuh", "line_stride % V == 0 && terms % V == 0", "line_stride % V == 0",
        "MatrixLoader", "a vector beyond the last term"),

    Mistake("unpooling.cu", "const bool corner = row == source * fh && column % fw == 0;",
        "const bool corner = column % fw == 0;", "unpool_bed_of_nails", "a column for a corner"),
    Mistake("unpooling.cu", "cell[(i64)r * (w * fw) + c]", "cell[(i64)r * w + c]",
        "unpool_nearest_adjoint", "wrong stride of rows"),
    Mistake("unpooling.cu", "quotient(row, fh) * w + column / fw",
        "quotient(row, fh) * w + column % w", "unpool_nearest", "% for /"),
    Mistake("unpooling.cu", "gx[i] = gy[row * fh * (w * fw)", "gx[i] = gy[(int)row * fh * (w * fw)",
        "unpool_bed_of_nails_adjoint", "int overflow", LARGE),
]  # fmt: skip


def plant(mistake: Mistake, kernels: Path) -> None:
    """Put a mistake into a copy of the kernels.

    Raises:
        ValueError: if the text to be replaced does not stand there exactly once.
    """
    source = kernels / mistake.file
    text = source.read_text()
    if text.count(mistake.text) != 1:
        raise ValueError(
            f"{mistake.file}, {mistake.kernel}, {mistake.what}: expected once, found "
            f"{text.count(mistake.text)} times: {mistake.text!r}"
        )
    source.write_text(text.replace(mistake.text, mistake.replacement))


def drill(mistake: Mistake, originals: Path, cache: Path) -> Outcome:
    """Run the tests of a kernel that has a mistake.

    Raises:
        RuntimeError: if pytest did not come to run them.
    """
    with tempfile.TemporaryDirectory() as temporary:
        kernels = Path(temporary) / "kernels"
        shutil.copytree(originals, kernels)
        plant(mistake, kernels)
        report = Path(temporary) / "report.xml"
        command = [
            sys.executable, "-m", "pytest", "-x", "-p", "no:cacheprovider",
            "--hypothesis-profile=first failure", f"--junitxml={report}", *mistake.test_files,
        ]  # fmt: skip
        names = {"TINYFCN_KERNELS": str(kernels), "TINYFCN_CACHE": str(cache)}
        start = time.perf_counter()
        try:
            answer = subprocess.run(
                command, cwd=ROOT, env={**os.environ, **names}, capture_output=True, text=True,
                timeout=LONGEST,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            return Outcome(mistake, "no end", "", LONGEST)
        seconds = time.perf_counter() - start
        if answer.returncode < 0:  # ended by a signal: in order, nothing guards the heap
            return Outcome(mistake, "crash", "", seconds)
        if answer.returncode not in (0, 1):
            raise RuntimeError(f"pytest did not run: {answer.stdout}{answer.stderr}")
        for case in ElementTree.parse(report).iter("testcase"):
            for failure in (*case.iter("failure"), *case.iter("error")):
                by = caught_by(name_of(case), failure.get("message", ""))
                return Outcome(mistake, by, name_of(case), seconds)
        return Outcome(mistake, "", "", seconds)


def name_of(case: ElementTree.Element) -> str:
    """Of a test: "test_relu.py::test_relu[in order]"."""
    return f"{case.get('classname', '').split('.')[-1]}.py::{case.get('name')}"


def caught_by(test: str, said: str) -> str:
    """In a word, what caught a mistake: from the test that failed and its exception."""
    if test.startswith("test_nvrtc"):
        return "NVRTC"
    if "BuildError" in said:
        return "g++"
    if "every_access" in test:
        return "check build"
    if "KernelError" in said:
        if "waits" in said:
            return "barrier"
        return "processor" if "divides" in said else "guard"
    return "seed order" if "[seed" in test else "wrong in order"


def drills(mistakes: list[Mistake], jobs: int) -> Iterator[Outcome]:
    """The outcome of each mistake, in order, ``jobs`` at a time."""
    sys.path.insert(0, str(ROOT))
    from tinyfcn.backend.cuda.emulator.build import cache_folder
    from tinyfcn.backend.cuda.kernels import folder

    cache = cache_folder() / "planted-mistakes"
    with ThreadPoolExecutor(jobs) as pool:
        yield from pool.map(lambda mistake: drill(mistake, folder(), cache), mistakes)


def main(arguments: list[str] | None = None) -> int:
    """Run the drill and print its table; 1 if a mistake was not caught."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="mistakes with this word in their line")
    parser.add_argument("--jobs", type=int, default=1, help="so many at a time (default 1)")
    options = parser.parse_args(arguments)
    chosen = [m for m in MISTAKES if options.only in f"{m.file} {m.kernel} {m.what}"]
    if not chosen:
        parser.error(f"--only {options.only}: no mistake has this word in its line")

    missed = 0
    start = time.perf_counter()
    for mistake, by, test, seconds in drills(chosen, options.jobs):
        missed += not by
        print(
            f"{mistake.file:22} {mistake.kernel:27} {mistake.what:50} "
            f"{by or 'NOT CAUGHT':14} {seconds:4.0f} s  {test}",
            flush=True,
        )
    places = len({m.kernel for m in chosen})
    print(
        f"{len(chosen)} mistakes in {places} kernels and their parts: "
        f"{len(chosen) - missed} caught, {missed} not, {time.perf_counter() - start:.0f} s"
    )
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
