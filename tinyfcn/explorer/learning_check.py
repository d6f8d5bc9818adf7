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
from tinyfcn.explorer.learning_grids import grid, number, program
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
    rng, (name, i, j) = np.random.default_rng(16), state["cell"].split(".")
    drawn = {"x": rng.normal(0, 1, (6, 6)).round(1), "w": rng.normal(0, 1, (3, 3)).round(1)}
    drawn["x"][0, 0], drawn["x"][4, 4] = 0.16, -0.64  # a maximum and a ReLU close to their kinks
    drawn = {"x": edited(drawn["x"], state["image"]), "w": edited(drawn["w"], state["kernel"])}
    place = int(i), int(j)
    leaves = {n: tinyfcn.tensor(v, "float64", requires_grad=True) for n, v in drawn.items()}
    maps = chain(state, **leaves)
    gx, gw = (g.numpy() for g in tinyfcn.grad(maps["f"], [*leaves.values()]))
    nudged = {dtype: quotients(state, drawn, name, place, dtype) for dtype in DECIMALS}
    exact = state["activation"], state["pool"], *(v.tobytes() for v in drawn.values())
    chosen = {n: np.full((size, size), "", object) for n, size in SIZES.items()}
    chosen[name][place] = "chosen"
    ids = {"x": np.arange(36), "w": np.arange(36, 45)}

    def of_cells(name: str, what: str, values: Array, **more: Any) -> dict[str, Any]:
        of = name[-1]
        return grid(name, what, of, values, ids=ids[of], looks=chosen[of], narrow=True, **more)

    def shown(key: str, what: str) -> dict[str, Any]:
        values = maps[key].numpy()[0, 0]
        reached = np.isin(np.arange(values.size), nudged["float64"]["reached"][key])
        return grid(key, what, "y", values, ids=[[]] * values.size, digits=3,
                    looks=np.where(reached, "reached", ""))  # fmt: skip

    steps = {"relu": "relu(y)", "tanh": "tanh(y)", "none": "y itself"}
    pools = {"max": "max pool", "average": "avg pool", "none": "a itself"}
    back = {"x": gx, "w": gw}
    words = [
        f"{n}[{i}, {j}] = {number(drawn[n][i, j])}; backward gives {number(back[n][i, j])}. "
        "Press to nudge this one." for n, s in SIZES.items() for i, j in np.ndindex(s, s)
    ]  # fmt: skip
    return {
        "groups": [
            ["Press a cell to nudge it; gx and gw are what backward gives", [
                of_cells("x", "image", drawn["x"], edit="image"),
                of_cells("w", "kernel", drawn["w"], edit="kernel"),
                of_cells("gx", "gradient", gx, digits=2),
                of_cells("gw", "gradient", gw, digits=2)]],
            [f"Forward: f = Σ p = {number(maps['f'].item(), 6)}, and what the nudge reaches", [
                shown("y", "conv2d(x, w)"), shown("a", steps[state["activation"]]),
                shown("p", pools[state["pool"]])]],
        ],
        "words": words, "choose": CELLS,
        "check": {"cell": f"{name}[{i}, {j}]", "epsilons": EPSILONS, "decimals": DECIMALS,
                  "results": nudged},
        "facts": [[f"tinyfcn.gradcheck of {name} in {dtype}", verdict(name, dtype, *exact)]
                  for dtype in ("float64", "float32")],
        "code": code(state, drawn, name, place),
    }  # fmt: skip


def chain(state: State, x: tinyfcn.Tensor, w: tinyfcn.Tensor) -> dict[str, tinyfcn.Tensor]:
    """Convolution, activation, pooling and sum, with all that is between."""
    y = F.conv2d(x[None, None], w[None, None])
    a = {"relu": F.relu, "tanh": F.tanh, "none": lambda y: y}[state["activation"]](y)
    if state["pool"] == "max":
        p, winners = F.max_pool2d(a, 2, return_indices=True)
        return {"y": y, "a": a, "p": p, "f": p.sum(), "winners": winners}
    p = F.avg_pool2d(a, 2) if state["pool"] == "average" else a
    return {"y": y, "a": a, "p": p, "f": p.sum()}


def quotients(
    state: State, drawn: dict[str, Array], name: str, place: tuple[int, int], dtype: str
) -> dict[str, Any]:
    """For each ε f(x + ε), f(x − ε), their quotient, and the cells whose kinks lie between."""
    arrays = {n: v.astype(dtype) for n, v in drawn.items()}
    leaf = tinyfcn.tensor(arrays[name], requires_grad=True)
    others = {n: tinyfcn.tensor(v) for n, v in arrays.items()}
    (g,) = tinyfcn.grad(chain(state, **{**others, name: leaf})["f"], leaf)
    gradient, decimals, rows = g.numpy()[place], DECIMALS[dtype], list[Any]()
    for eps in map(float, EPSILONS):
        maps = []
        for step in (eps, -eps):
            moved = arrays[name].copy()
            moved[place] += step
            maps.append(chain(state, **{**others, name: tinyfcn.tensor(moved)}))
        above, below = ({n: t.numpy() for n, t in each.items()} for each in maps)
        if not rows:
            reached = {n: np.flatnonzero(above[n] != below[n]).tolist() for n in "yap"}
        quotient = (above["f"] - below["f"]) / (2 * eps)
        bends = (above["y"] > 0) != (below["y"] > 0)
        kinks = {"y": np.flatnonzero(bends & (state["activation"] == "relu")).tolist()}
        if state["pool"] == "max":
            kinks["p"] = np.flatnonzero(above["winners"] != below["winners"]).tolist()
        error = abs(float(quotient) - float(gradient))
        agree = decimals if not error else min(decimals, math.floor(-math.log10(2 * error)))
        texts = [
            f"{v:.{decimals}f}".replace("-", "\u2212") for v in (above["f"], below["f"], quotient)
        ]
        rows.append({"texts": texts, "error": error, "agree": agree, "kinks": kinks})
    backward = f"{gradient:.{decimals}f}".replace("-", "\u2212")
    return {"rows": rows, "backward": backward, "reached": reached}


@lru_cache(100)
def verdict(name: str, dtype: str, activation: str, pool: str, x: bytes, w: bytes) -> str:
    """What the engine's own check says of all cells of x or w; it takes longer than all else here,
    and is the same whichever of them is nudged."""
    arrays = {n: np.frombuffer(v) for n, v in (("x", x), ("w", w))}
    leaves = {
        n: tinyfcn.tensor(v.reshape(SIZES[n], -1), dtype, n == name) for n, v in arrays.items()
    }
    state = {"activation": activation, "pool": pool}
    try:
        tinyfcn.gradcheck(lambda *both: chain(state, *both)["f"], [*leaves.values()])
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
