"""What the learning room shows, in plain NumPy of double precision."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np


def crossed(mask: np.ndarray, x: np.ndarray) -> dict[str, np.ndarray]:
    """Of a mask (H, W) with 255 for void and scores (C, H, W), pixel by pixel: the prediction, the
    loss, its gradient, and the confusion matrix."""
    p, found = np.exp(x) / np.exp(x).sum(0), x.argmax(0)
    loss, gx, counts = np.zeros(mask.shape), np.zeros(x.shape), np.zeros((len(x), len(x)))
    for i, j in np.ndindex(mask.shape):
        if (label := int(mask[i, j])) != 255:
            loss[i, j] = -math.log(p[label, i, j])
            gx[:, i, j] = p[:, i, j] - np.eye(len(x))[label]
            counts[label, found[i, j]] += 1
    return {"prediction": found, "loss": loss, "gx": gx, "matrix": counts}


def chain(x: np.ndarray, w: np.ndarray, activation: str, pool: str) -> dict[str, Any]:
    """Convolution, activation and pooling by loops, their sum f, and what decides a kink."""
    y = np.array([[(x[i : i + 3, j : j + 3] * w).sum() for j in range(4)] for i in range(4)])
    a = {"relu": np.maximum(y, 0), "tanh": np.tanh(y), "none": y}[activation]
    windows = a.reshape(2, 2, 2, 2).transpose(0, 2, 1, 3).reshape(2, 2, 4)
    winners = windows.argmax(2) if pool == "max" else np.zeros((2, 2))
    p = {"max": windows.max(2), "average": windows.mean(2), "none": a}[pool]
    bent = (y > 0) if activation == "relu" else np.zeros((4, 4))
    return {"y": y, "a": a, "p": p, "f": float(p.sum()), "bent": bent, "winners": winners}


def normed(v: dict[str, np.ndarray], training: bool) -> tuple[np.ndarray, np.ndarray]:
    """Batch norm of x (C, N, W): normalized, and scaled and shifted."""
    x, one = v["x"], (-1, 1, 1)
    if training:
        mean, var = x.mean((1, 2), keepdims=True), x.var((1, 2), keepdims=True)
    else:
        mean, var = (v[n].reshape(one) for n in ("running_mean", "running_var"))
    hat = (x - mean) / np.sqrt(var + 1e-5)
    return hat, hat * v["weight"].reshape(one) + v["bias"].reshape(one)


def sloped(f: Callable[[np.ndarray], float], x: np.ndarray, step: float = 1e-5) -> np.ndarray:
    """The gradient of f at x by difference quotients."""
    slopes = np.zeros(x.shape)
    for place in np.ndindex(x.shape):
        ends = []
        for each in (step, -step):
            moved = x.copy()
            moved[place] += each
            ends.append(f(moved))
        slopes[place] = (ends[0] - ends[1]) / (2 * step)
    return slopes
