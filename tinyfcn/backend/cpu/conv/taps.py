"""The input gradient tap by tap, for small maps with large weights.

gx = Σ over kernel elements of (gy · W[:, kh, kw]), each product added where that element lies. It
reads the weights once, as they lie in memory, while flipping them for ``phases.py`` would cost more
than all the products: fc6 has 400 MB of weights and, for an image of 256 × 256, 64 pixels.
"""

from __future__ import annotations

import numpy as np

from tinyfcn.backend.cpu import threads
from tinyfcn.backend.cpu.conv.window import Window, meeting
from tinyfcn.backend.cpu.layout import Array


def input_grad(gy: Array, weight: Array, window: Window, gx: Array) -> None:
    """gx (N, H, W, C) from gy (N, OH, OW, OC); the threads share out the channels C."""
    (_, oh, ow, oc), (_, h, w, c) = gy.shape, gx.shape
    (sh, sw), (ph, pw), (dh, dw) = window

    def task(channels: slice) -> None:
        target = gx[..., channels]
        target[...] = 0
        for i, j in np.ndindex(weight.shape[1:3]):
            rows, hs = meeting(slice(0, h), slice(0, oh), sh, i * dh - ph)
            cols, ws = meeting(slice(0, w), slice(0, ow), sw, j * dw - pw)
            met = target[:, hs, ws]
            flat = gy[:, rows, cols].reshape(-1, oc)  # (pixels, OC)
            met += (flat @ weight[:, i, j, channels]).reshape(met.shape)

    threads.parallel_for(task, threads.split(c, max(32, -(-c // 4))))
