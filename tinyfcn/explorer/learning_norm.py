"""Part of the learning room: batch norm and ReLU over a few numbers, and what comes back.

    x̂ = (x − mean) / √(var + eps),   y = x̂ · weight + bias,   z = max(y, 0)

    gx = s · gy  −  s · Σ gy / M  −  s · x̂ · Σ gy x̂ / M,   s = weight / √(var + eps)

over the M numbers of a channel. The last two terms are what mean and variance owe to x; with
running values, which are constants, there are none.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

import tinyfcn
import tinyfcn.functional as F
from tinyfcn import backend
from tinyfcn.explorer.grids import grid, group, number, program
from tinyfcn.explorer.settings import EDITS, Setting, State, edited, plain

Array = NDArray[Any]
CHANNELS, IMAGES, PIXELS, EPS = 2, 4, 3, 1e-5
SETTINGS = {
    "mode": Setting("train", ("train", "eval")),
    "batch": Setting("usual", ("usual", "dead channel")),
    **dict.fromkeys(("x", "gz", "weight", "bias", "running_mean", "running_var"), EDITS),
}
CHOICES = {"mode": "mode", "batch": "batch"}


def answer(state: State) -> dict[str, Any]:
    """Forward and backward, channel by channel."""
    v, training = numbers(state), state["mode"] == "train"

    def turned(values: Array) -> Array:  # (C, N, W) to (N, C, W), or back
        return values.transpose(1, 0, 2)

    x = tinyfcn.tensor(turned(v["x"]), requires_grad=True)
    weight, bias = (tinyfcn.tensor(v[n], requires_grad=True) for n in ("weight", "bias"))
    before = v["running_mean"], v["running_var"]
    mean, var = backend.active().batch_norm_stats(x.data) if training else before
    after, unused = ([each.copy() for each in before] for _ in "xy")
    running = dict(zip(("running_mean", "running_var"), after, strict=True))
    plain_x = F.batch_norm(x.detach(), unused[0], unused[1], training=training, eps=EPS)
    y = F.batch_norm(x, after[0], after[1], weight, bias, training, eps=EPS)
    hat = turned(plain_x.numpy())
    z = F.relu(y)
    found = tinyfcn.grad(z, [x, y, weight, bias], turned(v["gz"]))
    gx, gy = (turned(each.numpy()) for each in found[:2])
    vectors = {"gweight": found[2].numpy(), "gbias": found[3].numpy()}
    # The three terms of gx.
    s = (v["weight"] / np.sqrt(var + EPS))[:, None, None]
    gw, gb = (each[:, None, None] * training / gx[0].size for each in vectors.values())
    terms = s * gy, np.broadcast_to(-s * gb, gx.shape), -s * hat * gw
    alive = turned(y.numpy()) > 0
    dead, channels = np.where(alive, "", "dead"), [f"channel {c}" for c in range(CHANNELS)]

    def of_all(name: str, what: str, tone: str, values: Array, **more: Any) -> dict[str, Any]:
        return grid(name, what, tone, values, channels, ids=0, **{"digits": 3, **more})

    def of_channels(values: Mapping[str, Array], edits: bool = False) -> list[dict[str, Any]]:
        ids = np.arange(gx.size).reshape(CHANNELS, -1).tolist()
        return [
            grid(name, "", "w", each[:, None], ids=ids, digits=3, edit=name if edits else None,
                 words=[f"Of channel {c}: {number(value, 6)}." for c, value in enumerate(each)])
            for name, each in values.items()
        ]  # fmt: skip

    given = {n: v[n] for n in ("weight", "bias")} | ({} if training else running)
    small: dict[str, Any] = {"shaded": True, "digits": 2}
    of_mean, of_var = "\u2212s·Σgy/M", "\u2212s·x̂·Σgy·x̂/M"
    return {
        "groups": [
            group("Given: rows are images, columns pixels", [
                of_all("x", "input", "x", v["x"], edit="x", digits=5),
                *of_channels(given, True)]),
            group("Forward", [
                *of_channels({"mean": mean, "var": var} if training else {}),
                of_all("x̂", "normalized", "y", hat),
                of_all("y", "scaled and shifted", "y", turned(y.numpy()), looks=dead),
                of_all("z", "relu(y)", "y", turned(z.numpy()), looks=dead),
                *of_channels(running if training else {})]),
            group("Backward: what ReLU lets through, and the three terms of gx", [
                of_all("gz", "gradient of the output", "y", v["gz"], edit="gz"),
                of_all("gy", "gz, 0 where y ≤ 0", "y", gy, looks=dead, shaded=True),
                *of_channels(vectors),
                of_all("s·gy", "the direct way", "x", terms[0], shaded=True),
                of_all(of_mean, "through the mean", "x", terms[1], **small),
                of_all(of_var, "the variance", "x", terms[2], **small),
                of_all("gx", "their sum", "x", gx, **small)]),
        ],
        "words": [word(at, turned(y.numpy()), terms, gx, training) for at in np.ndindex(gx.shape)],
        "facts": facts(alive, gx, training), "code": code(state, v),
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
    for name, values in made.items():
        shape = values.shape if values.ndim > 1 else (CHANNELS, 1)  # columns of vectors
        made[name] = edited(values.reshape(shape), state[name]).reshape(values.shape).astype("f4")
    if (made["running_var"] < 0).any():
        raise ValueError("learning: running_var must be at least 0")
    return made


# ---- in words ----


def word(place: tuple[int, ...], y: Array, terms: Any, gx: Array, training: bool) -> str:
    """What is to be said of an element."""
    (c, n, w), alive, back = place, y[place] > 0, number(gx[place], 3)
    text = f"Image {n}, pixel {w}, channel {c}: y = {number(y[place])}, "
    text += "alive: ReLU passes its gradient on. " if alive else "dead: ReLU passes 0 on. "
    if not training:
        return text + f"gx = s · gy = {back}: running mean and variance are constants."
    text += "gx = {} + ({}) + ({})".format(*(number(each[place], 3) for each in terms))
    owed = not alive and gx[place]
    return text + f" = {back}" + ": what mean and variance owe reaches it all the same" * bool(owed)


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
