"""The FCN-8s of the package in plain NumPy, and where scores of networks look, by arithmetic."""

from __future__ import annotations

import math

import numpy as np

VGG = (2, 2, 3, 3, 3)


def conv(x, w, b, p):
    """(C, H, W) → (OC, OH, OW), stride 1."""
    x = np.pad(x, ((0, 0), (p, p), (p, p)))
    windows = np.lib.stride_tricks.sliding_window_view(x, w.shape[2:], (1, 2))
    return np.einsum("chwij,ocij->ohw", windows, w, optimize=True) + b[:, None, None]


def pool(x):
    """The largest of 2 × 2; of an even size."""
    c, h, w = x.shape
    return x[:, : h // 2 * 2, : w // 2 * 2].reshape(c, h // 2, 2, w // 2, 2).max((2, 4))


def up(x, w, f):
    """A transposed convolution, each channel by itself: kernel 2·f, stride f, padding f / 2."""
    c, h, width = x.shape
    y = np.zeros((c, (h + 1) * f, (width + 1) * f))
    for i in range(h):
        for j in range(width):
            y[:, i * f : (i + 2) * f, j * f : (j + 2) * f] += x[:, i, j, None, None] * w[:, 0]
    return y[:, f // 2 : -(f // 2), f // 2 : -(f // 2)]


class FCN8s:
    """Runs on images (3, H, W); sides are multiples of 32."""

    def __init__(self, file):
        arrays = np.load(file)
        self.w = {n[6:]: arrays[n].astype(np.float64) for n in arrays.files if n[:6] == "model/"}

    def __call__(self, x, off=(), step=None):
        """All maps in the order of their layers; the last is the scores.

        Args:
            off: skips that are left out.
            step: (map, place, how much): this much is added to one number of a map.
        """
        maps = []

        def keep(y):
            if step and step[0] == len(maps):
                y = y.copy()
                y[step[1]] += step[2]
            maps.append(y)
            return y

        def layer(y, name, norm, p):
            y = keep(conv(y, self.w[name + ".weight"], self.w[name + ".bias"], p))
            if not norm:
                return y
            mean, var, w, b = (
                self.w[f"{norm}.{n}"][:, None, None]
                for n in ("running_mean", "running_var", "weight", "bias")
            )
            y = (y - mean) / np.sqrt(var + 1e-5) * w + b
            return keep(np.maximum(0, y))  # one layer's step

        pools, i = [], 0
        for convolutions in VGG:
            for _ in range(convolutions):
                x = layer(x, f"backbone.{i}", f"backbone.{i + 1}", 1)
                i += 3
            x = keep(pool(x))
            pools.append(x)
            i += 1
        y = layer(layer(x, "fc6", "bn6", 3), "fc7", "bn7", 0)
        y = layer(y, "score_fr", "", 0)
        for name, at, score in (
            ("upscore2", 3, "score_pool4"),
            ("upscore_pool4", 2, "score_pool3"),
        ):
            added = layer(pools[at], score, "", 0)
            y = keep(up(y, self.w[name + ".weight"], 2))
            y = keep(y + added if score not in off else y)
        keep(up(y, self.w["upscore8.weight"], 8))
        return maps


def _down(k, s=1, p=None, d=1):
    p = (k - 1) * d // 2 if p is None else p
    return lambda lo, hi: (lo * s - p, hi * s - p + d * (k - 1))


def _up(k, s, p):
    return lambda lo, hi: (math.ceil((lo + p - k + 1) / s), math.floor((hi + p) / s))


def _unpool(lo, hi):
    return lo // 2, hi // 2


def _from_corner(lo, hi):
    return lo // 8, -(-hi // 8)


def _stages(*pools, d=1):
    return [f for n, last in zip(VGG, pools, strict=True)
            for f in [*[_down(3, d=d if last is pools[-1] else 1)] * n, last]]  # fmt: skip


_HALF, _THREE, _KEEP = _down(2, 2, 0), _down(3, 2, 1), _down(3)
_LARGE = [*_stages(_THREE, _THREE, _THREE, _KEEP, _down(3), d=2)]
_HEAD = [*_stages(*[_HALF] * 5), _down(7)]
LAYERS = {
    "fcn32s": [*_HEAD, _up(64, 32, 16)],
    "fcn16s": [*_HEAD, _up(4, 2, 1), _up(32, 16, 8)],
    "fcn8s": [*_HEAD, _up(4, 2, 1), _up(4, 2, 1), _up(16, 8, 4)],
    "segnet": [*_stages(*[_HALF] * 5), *(f for n in VGG[::-1] for f in [_unpool, *[_down(3)] * n])],
    "unet": [*[_down(3), _down(3), _HALF] * 4, *[_down(3)] * 2,
             *[_up(2, 2, 0), _down(3), _down(3)] * 4],
    "deeplab_largefov": [*_LARGE, _down(3), _down(3, d=12), _from_corner],
    "deeplab_aspp": [*_LARGE, _down(3, d=24), _from_corner],
}  # fmt: skip


def seen(name, at):
    """The first and the last pixel along an axis on which the score ``at`` depends."""
    lo = hi = at
    for back in reversed(LAYERS[name]):
        lo, hi = back(lo, hi)
    return lo, hi
