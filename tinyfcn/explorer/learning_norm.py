"""Part of the learning room: batch norm and ReLU over a few numbers, and what comes back.

    x̂ = (x − mean) / √(var + eps),   y = x̂ · weight + bias,   z = max(y, 0)

    gx = s · gy  −  s · Σ gy / M  −  s · x̂ · Σ gy x̂ / M,   s = weight / √(var + eps)

over the M numbers of a channel. The last two terms are what mean and variance owe to x; with
running values, which are constants, there are none.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

import tinyfcn
import tinyfcn.functional as F
from tinyfcn import backend
from tinyfcn.explorer.learning_grids import grid, number, program
from tinyfcn.explorer.settings import EDITS, Setting, State, edited, plain

Array = NDArray[Any]
CHANNELS, IMAGES, PIXELS, EPS = 2, 4, 3, 1e-5
SETTINGS = {
    "mode": Setting("train", ("train", "eval")),
    "batch": Setting("usual", ("usual", "dead channel", "constant channel", "large mean")),
    **dict.fromkeys(("x", "gz", "weight", "bias", "running_mean", "running_var"), EDITS),
}
CHOICES = {"mode": "mode", "batch": "batch"}


def answer(state: State) -> dict[str, Any]:
    """Forward and backward, channel by channel."""
    v, training = numbers(state), state["mode"] == "train"
    x = tinyfcn.tensor(v["x"].transpose(1, 0, 2), requires_grad=True)  # (C, N, W) → (N, C, W)
    gz = v["gz"].transpose(1, 0, 2)
    weight, bias = (tinyfcn.tensor(v[n], requires_grad=True) for n in ("weight", "bias"))
    running = [v["running_mean"].copy(), v["running_var"].copy()]
    used = (
        backend.active().batch_norm_stats(x.data)
        if training
        else (v["running_mean"], v["running_var"])
    )
    copies = running[0].copy(), running[1].copy()
    hat = F.batch_norm(x.detach(), copies[0], copies[1], training=training, eps=EPS)
    y = F.batch_norm(x, running[0], running[1], weight, bias, training, eps=EPS)
    z = F.relu(y)
    gx, gw, gb, gy = (g.numpy() for g in tinyfcn.grad(z, [x, weight, bias, y], gz))
    invstd = 1 / np.sqrt(used[1] + EPS)
    scale, m = (v["weight"] * invstd)[:, None], IMAGES * PIXELS
    shown = {"x̂": hat.numpy(), "y": y.numpy(), "z": z.numpy(), "gy": gy, "gx": gx}
    by_channel = {name: values.transpose(1, 0, 2) for name, values in shown.items()}
    terms = [scale * by_channel["gy"].reshape(CHANNELS, -1)]
    owed = [
        -scale * gb[:, None] / m,
        -scale * by_channel["x̂"].reshape(CHANNELS, -1) * gw[:, None] / m,
    ]
    terms += [np.broadcast_to(t * training, terms[0].shape) for t in owed]
    terms = [t.reshape(v["x"].shape) for t in terms]
    looks = np.where(by_channel["y"] > 0, "", "dead")
    channels = [f"channel {c}" for c in range(CHANNELS)]

    def of_all(name: str, what: str, tone: str, values: Array, **more: Any) -> dict[str, Any]:
        ids = np.arange(values.size)
        return grid(name, what, tone, values, channels, ids=ids, **{"digits": 3, **more})

    def of_channels(
        names: Iterable[str], tone: str, values: dict[str, Array], edits: bool = False
    ) -> list[dict[str, Any]]:
        ids = np.arange(CHANNELS * m).reshape(CHANNELS, m).tolist()
        made = []
        for name in names:
            words = [f"{name} of channel {c} = {number(v, 6)}" for c, v in enumerate(values[name])]
            made.append(grid(name, "", tone, values[name][:, None], ids=ids, words=words, digits=3,
                             edit=name if edits else None))  # fmt: skip
        return made

    statistics = dict(zip(("mean", "var"), used, strict=True)) if training else {}
    after = dict(zip(("running_mean", "running_var"), running, strict=True))
    return {
        "groups": [
            ["Given: rows are images, columns pixels", [
                of_all("x", "input", "x", v["x"], edit="x", digits=4),
                *of_channels(["weight", "bias", *([] if training else after)], "w", v, True)]],
            ["Forward", [
                *of_channels(statistics, "w", statistics),
                of_all("x̂", "normalized", "y", by_channel["x̂"]),
                of_all("y", "scaled and shifted", "y", by_channel["y"], looks=looks),
                of_all("z", "relu(y)", "y", by_channel["z"], looks=looks),
                *of_channels(after if training else [], "w", after)]],
            ["Backward: what ReLU lets through, and the three terms of gx", [
                of_all("gz", "gradient of the output", "y", v["gz"], edit="gz"),
                of_all("gy", "gz, 0 where y ≤ 0", "y", by_channel["gy"], looks=looks, shaded=True),
                *of_channels(["gweight", "gbias"], "w", {"gweight": gw, "gbias": gb}),
                of_all("s·gy", "the direct way", "x", terms[0], shaded=True),
                of_all("\u2212s·Σgy/M", "through the mean", "x", terms[1], digits=2, shaded=True),
                of_all("\u2212s·x̂·Σgy·x̂/M", "the variance", "x", terms[2], digits=2, shaded=True),
                of_all("gx", "their sum", "x", by_channel["gx"], digits=2, shaded=True)]],
        ],
        "words": [word(p, by_channel, terms, training) for p in np.ndindex(v["x"].shape)],
        "facts": facts(by_channel["y"] > 0, by_channel["gx"], training), "code": code(state, v),
    }  # fmt: skip


def numbers(state: State) -> dict[str, Array]:
    """What goes in, by name: x and gz (C, N, W), vectors (C,)."""
    rng = np.random.default_rng(5)
    x = rng.normal(1, 1, (CHANNELS, IMAGES, PIXELS))
    x[1] = 3 * x[1] + 1
    made = {"x": x.round(1), "gz": rng.choice([-1, -0.5, 0.5, 1], x.shape),
            "weight": np.array([1, 0.5]), "bias": np.array([0, 0.5]),
            "running_mean": np.array([0.5, 3]), "running_var": np.array([1, 8])}  # fmt: skip
    if state["batch"] == "dead channel":
        made["bias"][1] = -4
    elif state["batch"] == "constant channel":
        made["x"][1] = 4
    elif state["batch"] == "large mean":
        made["x"][1] += 1000
    for name, values in made.items():
        shape = values.shape if values.ndim > 1 else (CHANNELS, 1)  # columns of vectors
        made[name] = edited(values.reshape(shape), state[name]).reshape(values.shape).astype("f4")
    if (made["running_var"] < 0).any():
        raise ValueError("learning: running_var must be at least 0")
    return made


# ---- in words ----


def word(place: tuple[int, ...], of: dict[str, Array], terms: list[Array], training: bool) -> str:
    """What is to be said of an element."""
    c, n, w = place
    y, (direct, mean, var), gx = (
        of["y"][place],
        (number(t[place], 3) for t in terms),
        of["gx"][place],
    )
    text = f"Image {n}, pixel {w}, channel {c}: y = {number(y)}, "
    text += "alive: ReLU passes its gradient on. " if y > 0 else "dead: ReLU passes 0 on. "
    if not training:
        return text + f"gx = s · gy = {number(gx)}: running mean and variance are constants."
    text += f"gx = {direct} + ({mean}) + ({var}) = {number(gx)}"
    return text + (
        "" if y > 0 or not gx else ": what mean and variance owe reaches it all the same"
    )


def facts(alive: Array, gx: Array, training: bool) -> list[list[str]]:
    """What is dead in each channel, and what the gradients add up to."""
    made = []
    for c, each in enumerate(alive):
        dead = int(each.size - each.sum())
        more = (
            ": nothing comes back, and weight and bias learn nothing" if dead == each.size else ""
        )
        made.append([f"dead in channel {c}", f"{dead} of {each.size}{more}"])
    sums = ", ".join(number(v, 2) for v in gx.sum((1, 2), dtype=np.float64))
    why = ": 0 but for rounding, as a shift of x changes nothing" if training else ""
    return [*made, ["Σ gx of each channel", sums + why]]


def code(state: State, v: dict[str, Array]) -> dict[str, str]:
    """Programs that print what comes out and what comes back."""
    training, leaves = state["mode"] == "train", ("x", "weight", "bias")
    made = {n: a.transpose(1, 0, 2) if a.ndim > 1 else a for n, a in v.items()}
    return program([
        *(f"{n} = {{0}}.tensor({plain(a)}{', requires_grad=True' * (n in leaves)})"
          for n, a in made.items()),
        f"options = dict(training={training}, eps={EPS})",
        "y = F.batch_norm(x, running_mean, running_var, weight, bias, **options)",
        "z = F.relu(y)", "z.backward(gz)",
        "for each in (y, z, x.grad, weight.grad, bias.grad, running_mean, running_var):",
        "    print(each)",
    ])  # fmt: skip


def recorded(state: State) -> Iterator[dict[str, str]]:
    """This alone."""
    yield {}
