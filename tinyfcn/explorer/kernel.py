"""The kernel room: a launch of a CUDA kernel in the emulator, thread by thread, and what it costs.

The .cu files are the project's own; the emulator runs them unmodified and records what the threads
of a block read, write and wait for. A barrier is deleted from a copy.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from typing import Any

from tinyfcn.backend.cuda.emulator import BuildError, KernelError
from tinyfcn.backend.errors import BackendError
from tinyfcn.explorer import kernel_runs as runs
from tinyfcn.explorer.settings import Setting, State, changes, control, read
from tinyfcn.kernel_lab.cases import CASES, sizes

USUAL = "usual"  # a size that depends on the kernel
VALUES: dict[str, tuple[int, ...]] = {
    **{letter: (1, 8, 16, 17, 24, 32, 33, 48, 64, 65, 80, 96, 128) for letter in "mk"},
    "n": (1, 2, 3, 16, 17, 32, 33, 48, 64, 65, 80, 96, 128),
    "c": (1, 2, 3, 4, 8), "h": (2, 4, 5, 8, 12, 16), "w": (8, 16, 24, 31, 32, 33, 48, 64),
    "oc": (1, 8, 16, 32, 64), "kernel": (1, 3, 5), "stride": (1, 2),
    "count": (32, 33, 256, 600, 1000, 3000),
}  # fmt: skip
GEMM = {"m": 64, "n": 64, "k": 32}
IMAGE = {"n": 1, "c": 2, "h": 8, "w": 32}
CONV = {"n": 1, "c": 4, "h": 8, "w": 32, "oc": 16, "kernel": 3, "stride": 1}
GEMMS = ("gemm_1", "gemm_2", "gemm_3", "gemm_4")
KERNELS = {
    **dict.fromkeys(GEMMS, GEMM),
    **dict.fromkeys(("relu", "sum_pixels", "batch_norm", "batch_norm_parts", "max_pool2d",
                     "scatter_plane", "gather_plane", "resample2d", "dropout",
                     "local_response_norm"), IMAGE),
    **dict.fromkeys(("im2col", "col2im", "conv2d_direct", "conv2d", "conv2d_input_grad"),
                    CONV),
    "sgd_update": {"count": 600}, "adam_update": {"count": 600},
}  # fmt: skip
SETTINGS = {
    "name": Setting("gemm_2", tuple(KERNELS)),
    **{letter: Setting(USUAL, (USUAL, *values)) for letter, values in VALUES.items()},
    "block": Setting(0, range(1024)),
    "warp": Setting(0, range(32)),
    "cut": Setting("no", ("no", *range(1, 10))),
    "seed": Setting(1, range(1, 25)),
}
HERE = {"block": 0, "warp": 0}  # what another size sets back


def answer(given: Any) -> dict[str, Any]:
    """All that the page draws for an address.

    Raises:
        ValueError: in a sentence, if the address makes no sense.
    """
    state = read("kernel", SETTINGS, given)
    name, size, cut = state["name"], size_of(state), state["cut"]
    try:
        run = runs.run(name, size, state["block"])
        blocks = prod(run.grid)
        if state["block"] >= blocks or state["warp"] >= len(run.warps):
            raise ValueError(
                f"kernel: {name} has {blocks} blocks of {len(run.warps)} warps at this size, got "
                f"block {state['block']}, warp {state['warp']}"
            )
        cuts = runs.barriers(run)
        if cut != "no" and cut > len(cuts):
            raise ValueError(f"kernel: cut is one of {len(cuts)} barriers of {name}, got {cut}")
        race = None if cut == "no" else runs.race(name, size, cuts[cut - 1], state["seed"])
        compared = [(each, runs.run(each, size, 0)) for each in GEMMS] if name in GEMMS else []
    except BuildError as error:
        return {
            "needs": str(error),
            "controls": controls(state, 0 if cut == "no" else cut),
            "code": code(state, size),
        }
    except (BackendError, KernelError) as error:  # of .cu files that were changed
        raise ValueError(f"kernel: {error}") from error
    events, lanes = run.warps[state["warp"]]
    return {
        "needs": None,
        "controls": controls(state, len(cuts)),
        "launch": {"function": run.function, "grid": run.grid, "block": run.block,
                   "number": state["block"], "warp": state["warp"]},
        "listing": runs.listing(name, run),
        "costs": [[c.file, c.line, c.memory, c.access, c.requests, c.cost, c.least]
                  for c in run.costs],
        "events": events,
        "lanes": lanes[: prod(run.block) - 32 * state["warp"]],
        "barriers": cuts,
        "race": race,
        "compared": [[each, totals(one)] for each, one in compared or [(name, run)]],
        "code": code(state, size),
    }  # fmt: skip


def size_of(state: State) -> tuple[int, ...]:
    """The numbers of a size, as the kernel's case takes them."""
    usual = KERNELS[state["name"]]
    given = {letter: state[letter] for letter in usual}
    return tuple(
        usual[letter] if given[letter] == USUAL else given[letter]
        for letter in map(str.lower, sizes(CASES[state["name"]]))
    )


def totals(run: runs.Run) -> dict[str, list[int]]:
    """Requests, cost and least of both memories, all lines together."""
    return {
        memory: [sum(getattr(cost, what) for cost in run.costs if cost.memory == memory)
                 for what in ("requests", "cost", "least")]
        for memory in ("global", "shared")
    }  # fmt: skip


def controls(state: State, cuts: int) -> list[dict[str, Any]]:
    """The kernel, its sizes, the barrier that is cut, and the seed."""
    anew = {name: SETTINGS[name].default for name in (*VALUES, *HERE, "cut", "seed")}

    def offer(name: str, label: str, values: Any, also: State, usual: int | None = None) -> Any:
        def there(value: Any) -> State:
            if value == now:
                return state
            return state | also | {name: USUAL if value == usual else value}

        now = usual if state[name] == USUAL else state[name]
        values = sorted({*values, now}) if usual else values
        return control(SETTINGS, state, name, [label], values, there, now)

    found = [offer("name", "kernel", tuple(KERNELS), anew)]
    for letter, usual in KERNELS[state["name"]].items():
        found.append(offer(letter, LABELS.get(letter, letter.upper()), VALUES[letter], HERE, usual))
    found.append(offer("cut", "cut", ("no", *range(1, cuts + 1)), {}))
    return [*found, offer("seed", "seed", SETTINGS["seed"].values, {})]


LABELS = {"n": "N", "kernel": "kernel size", "stride": "stride", "count": "elements",
          "c": "channels", "h": "height", "w": "width", "oc": "out channels"}  # fmt: skip
# The arrays that a case draws, in their order, and what PyTorch makes of them.
X, FILTERS = ("x", "(n, c, h, w)"), ("weight", "(oc, c, kernel, kernel)")
GY = ("gy", "(n, oc, (h - 1) // stride + 1, (w - 1) // stride + 1)")
MATMUL = ((("a", "(m, k)"), ("b", "(k, n)")), "a @ b")
CONV2D = ((X, GY, FILTERS, ("bias", "(oc,)")),
          "F.conv2d(x, weight, bias, stride, padding=kernel // 2)")  # fmt: skip
TRANSPOSED = ((X, GY, FILTERS, ("unused", "(oc,)"), ("bias", "(c,)")),
              "F.conv_transpose2d(gy, weight, bias, stride, kernel // 2, output_padding=(\n    "
              "(h - 1) % stride, (w - 1) % stride))")  # fmt: skip
POOLED = "F.max_pool2d(x, 2, return_indices=True)"
PYTORCH: dict[str, tuple[tuple[tuple[str, str], ...], str]] = {
    **dict.fromkeys(GEMMS, MATMUL),
    **dict.fromkeys(("conv2d", "conv2d_direct", "im2col"), CONV2D),
    **dict.fromkeys(("conv2d_input_grad", "col2im"), TRANSPOSED),
    "relu": ((X,), "F.relu(x)"),
    "sum_pixels": ((X,), "x.sum((0, 2, 3))"),
    "batch_norm": (
        (X, *((name, "(c, 1, 1)") for name in ("mean", "invstd", "weight", "bias"))),
        "(x - mean) * invstd * weight + bias",
    ),
    "batch_norm_parts": ((X,), "torch.var_mean(x, (0, 2, 3), correction=0)"),
    "max_pool2d": ((X,), POOLED),
    "scatter_plane": ((X,), f"F.max_unpool2d(*{POOLED}, 2, output_size=(h, w))"),
    "resample2d": ((X,), 'F.interpolate(x, scale_factor=2, mode="bilinear")'),
    "local_response_norm": ((X,), "F.local_response_norm(x, 3, 0.5, 0.75, 1.0)"),
}


TINYFCN = """\
from tinyfcn.backend.cuda.emulator import Emulator
from tinyfcn.kernel_lab.work import work

emulator = Emulator("check", profile=True, trace={block})
launches, results = work(emulator, "{name}", {size}, "float32")
for cost in emulator.profile():
    print(cost)
print(emulator.traces[0].steps)
print(*results)
"""
HEAD = """\
import numpy as np
import torch
import torch.nn.functional as F

random = np.random.default_rng(0)"""
NO_PYTORCH = """\
# No lines for PyTorch: what {name} computes is a part of a step there, or draws other numbers.
"""


def code(state: State, size: tuple[int, ...]) -> dict[str, str]:
    """Programs that print the same numbers."""
    name = state["name"]
    ours = TINYFCN.format(block=state["block"], name=name, size=size)
    if name not in PYTORCH:
        return {"tinyfcn": ours, "PyTorch": NO_PYTORCH.format(name=name)}
    arrays, result = PYTORCH[name]
    named = zip(map(str.lower, sizes(CASES[name])), size, strict=True)
    drawn = [f'{array} = torch.from_numpy(random.standard_normal({shape}, "float32"))'
             for array, shape in arrays]  # fmt: skip
    lines = [HEAD, *(f"{letter} = {n}" for letter, n in named), *drawn, f"print({result})", ""]
    return {"tinyfcn": ours, "PyTorch": "\n".join(lines)}


def states() -> Iterator[dict[str, str | None]]:
    """What the static form records: each kernel, the warps of GEMM, and races."""
    start = read("kernel", SETTINGS, {})
    for name in KERNELS:
        asked: list[State] = [{}]
        if name in GEMMS:
            asked += [{"warp": 1}, {"block": 0, "warp": 3}]
        if name in ("gemm_2", "gemm_3"):
            asked += [{"cut": cut, "seed": seed} for cut in (1, 2) for seed in (1, 2, 3)]
        for change in asked:
            yield changes(SETTINGS, start, start | {"name": name} | change)
