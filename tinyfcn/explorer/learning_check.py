"""Part of the learning room: backward beside the difference quotient, digit by digit.

    (f(x + ε) − f(x − ε)) / 2ε  =  f′(x)  +  f‴(x) ε² / 6  +  rounding of f / ε

Where a ReLU or a maximum changes its mind between x − ε and x + ε, the quotient mixes two slopes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

import tinyfcn
import tinyfcn.functional as F
from tinyfcn.explorer.grids import grid, group, minus, number, program
from tinyfcn.explorer.settings import EDITS, Setting, State, edited, plain
from tinyfcn.gradcheck import GradientError

Array = NDArray[Any]
SIZES = {"x": 6, "w": 3}
CELLS = [f"{name}.{i}.{j}" for name, n in SIZES.items() for i, j in np.ndindex(n, n)]
EPSILONS = [f"1e-{k}" for k in range(1, 13)]
DECIMALS = {"float32": 7, "float64": 16}
SETTINGS = {
    "activation": Setting("relu", ("relu", "tanh", "none")),
    "pool": Setting("max", ("max", "average", "none")),
    "cell": Setting("x.2.2", CELLS),
    "image": EDITS,
    "kernel": EDITS,
}
CHOICES = {"activation": "activation", "pool": "pooling"}


def answer(state: State) -> dict[str, Any]:
    """The maps, the gradients, and the quotient for each ε in both precisions."""
    rng, (name, *place) = np.random.default_rng(16), state["cell"].split(".")
    drawn = {"x": rng.normal(0, 1, (6, 6)).round(1), "w": rng.normal(0, 1, (3, 3)).round(1)}
    drawn["x"][0, 0], drawn["x"][4, 4] = 0.16, -0.64  # a maximum and a ReLU close to their kinks
    drawn = {"x": edited(drawn["x"], state["image"]), "w": edited(drawn["w"], state["kernel"])}
    at = int(place[0]), int(place[1])
    leaves = {n: tinyfcn.tensor(v, "float64", requires_grad=True) for n, v in drawn.items()}
    kinds = state["activation"], state["pool"]
    maps = chain(*kinds, leaves["x"], leaves["w"])
    back = [g.numpy() for g in tinyfcn.grad(maps["f"], [*leaves.values()])]
    results = {dtype: quotients(*kinds, drawn, name, at, dtype) for dtype in DECIMALS}

    def of_cells(name: str, what: str, values: Array, **more: Any) -> dict[str, Any]:
        first, looks = (0, CELLS[:36]) if name[-1] == "x" else (36, CELLS[36:])
        looks = ["chosen" if cell == state["cell"] else "" for cell in looks]
        return grid(name, what, name[-1], values, ids=first, looks=looks, narrow=True, **more)

    def of_map(key: str, what: str) -> dict[str, Any]:
        values, reached = maps[key].numpy()[0, 0], results["float64"]["reached"][key]
        looks = ["reached" if i in reached else "" for i in range(values.size)]
        return grid(key, what, "y", values, ids=[[]] * values.size, digits=3, looks=looks)

    activation = {"relu": "relu(y)", "tanh": "tanh(y)", "none": "y itself"}[kinds[0]]
    pool = {"max": "max pool", "average": "avg pool", "none": "a itself"}[kinds[1]]
    of_f = f"f = Σ p = {number(maps['f'].item(), 6)}"
    return {
        "groups": [
            group("Press a cell to nudge it; gx and gw are what backward gives", [
                of_cells("x", "image", drawn["x"], edit="image"),
                of_cells("w", "kernel", drawn["w"], edit="kernel"),
                of_cells("gx", "gradient", back[0], digits=2),
                of_cells("gw", "gradient", back[1], digits=2)]),
            group(f"Forward: {of_f}, and what the nudge reaches", [
                of_map("y", "conv2d(x, w)"), of_map("a", activation), of_map("p", pool)]),
        ],
        "words": [f"Backward gives {number(g)}. Press to nudge this one."
                  for each in back for g in each.flat],
        "choose": CELLS,
        "check": {"cell": f"{name}[{', '.join(place)}]", "epsilons": EPSILONS, "decimals": DECIMALS,
                  "results": results},
        "facts": [[f"tinyfcn.gradcheck of {name} in {dtype}",
                   verdict(name, dtype, *kinds, drawn["x"].tobytes(), drawn["w"].tobytes())]
                  for dtype in ("float64", "float32")],
        "code": code(state, drawn, name, at),
    }  # fmt: skip


def chain(
    activation: str, pool: str, x: tinyfcn.Tensor, w: tinyfcn.Tensor
) -> dict[str, tinyfcn.Tensor]:
    """Convolution, activation, pooling and sum, with all that is between."""
    y = F.conv2d(x[None, None], w[None, None])
    a = {"relu": F.relu, "tanh": F.tanh, "none": lambda y: y}[activation](y)
    if pool == "max":
        p, winners = F.max_pool2d(a, 2, return_indices=True)
        return {"y": y, "a": a, "p": p, "f": p.sum(), "winners": winners}
    p = F.avg_pool2d(a, 2) if pool == "average" else a
    return {"y": y, "a": a, "p": p, "f": p.sum()}


def quotients(
    activation: str, pool: str, drawn: dict[str, Array], name: str, place: tuple[int, int],
    dtype: str,
) -> dict[str, Any]:  # fmt: skip
    """For each ε f(x + ε), f(x − ε), their quotient, and the cells whose kinks lie between."""
    rows, decimals = list[dict[str, Any]](), DECIMALS[dtype]

    def run(step: float, graph: bool = False) -> tuple[tinyfcn.Tensor, dict[str, tinyfcn.Tensor]]:
        moved = {n: v.astype(dtype) for n, v in drawn.items()}
        moved[name][place] += step
        leaves = {n: tinyfcn.tensor(v, requires_grad=graph) for n, v in moved.items()}
        return leaves[name], chain(activation, pool, leaves["x"], leaves["w"])

    def text(value: Any) -> str:
        return minus(f"{value:.{decimals}f}")

    leaf, maps = run(0, True)
    gradient = tinyfcn.grad(maps["f"], leaf)[0].numpy()[place]
    for eps in map(float, EPSILONS):
        above, below = ({n: t.numpy() for n, t in run(step)[1].items()} for step in (eps, -eps))
        changed = {n: np.flatnonzero(above[n] != below[n]).tolist() for n in above}
        if not rows:
            reached = changed
        bends = np.flatnonzero((above["y"] > 0) != (below["y"] > 0)).tolist()
        kinks = {"y": bends if activation == "relu" else [], "p": changed.get("winners", [])}
        quotient = (above["f"] - below["f"]) / (2 * eps)
        error = abs(float(quotient) - float(gradient))
        agree = decimals if not error else min(decimals, math.floor(-math.log10(2 * error)))
        texts = [text(value) for value in (above["f"], below["f"], quotient)]
        rows.append({"texts": texts, "error": error, "agree": agree, "kinks": kinks})
    return {"rows": rows, "backward": text(gradient), "reached": reached}


@lru_cache(100)
def verdict(name: str, dtype: str, activation: str, pool: str, x: bytes, w: bytes) -> str:
    """What the engine's own check says of all cells of x or w; it takes longer than all else here,
    and is the same whichever of them is nudged."""
    arrays = {n: np.frombuffer(v).reshape(SIZES[n], -1) for n, v in (("x", x), ("w", w))}
    leaves = [tinyfcn.tensor(v, dtype, requires_grad=n == name) for n, v in arrays.items()]
    try:
        tinyfcn.gradcheck(lambda *both: chain(activation, pool, *both)["f"], leaves)
    except (GradientError, TypeError) as error:
        return str(error)
    return "every cell passes, with ε = 1e\u22126"


def code(
    state: State, drawn: dict[str, Array], name: str, place: tuple[int, int]
) -> dict[str, str]:
    """Programs that print quotient and gradient for each ε in both precisions."""
    step = {"relu": "F.relu(y)", "tanh": "y.tanh()", "none": "y"}[state["activation"]]
    pool = {"max": "F.max_pool2d", "average": "F.avg_pool2d", "none": ""}[state["pool"]]
    i, j = place
    lines = [
        "def f(x, w):", "    y = F.conv2d(x[None, None], w[None, None])",
        f"    return {f'{pool}({step}, 2)' if pool else step}.sum()", "",
        "def tensors(dtype, nudge):",
        *(f"    {n} = np.array({plain(v)}, dtype)" for n, v in drawn.items()),
        f"    {name}[{i}, {j}] += nudge",
        "    return [{0}.tensor(v, requires_grad=True) for v in (x, w)]", "",
        'for dtype in ("float32", "float64"):', "    x, w = tensors(dtype, 0)",
        "    f(x, w).backward()", f"    print(dtype, {name}.grad[{i}, {j}].item())",
        f"    for eps in ({', '.join(EPSILONS)}):",
        "        above, below = f(*tensors(dtype, eps)), f(*tensors(dtype, -eps))",
        "        print(eps, ((above - below) / (2 * eps)).item())",
    ]  # fmt: skip
    return program(["import numpy as np", "", *lines])


def recorded(state: State) -> Iterator[dict[str, str]]:
    """Each cell."""
    return ({"cell": cell} for cell in CELLS)
