"""The input gradient tap by tap, for small maps with large weights.

gx = Σ over kernel elements of (gy · W[:, kh, kw]), each product added where that element lies. It
reads the weights once, as they lie in memory, while flipping them for ``phases.py`` would cost more
than all the products: fc6 has 400 MB of weights and, for an image of 256 × 256, 64 pixels.
"""

from __future__ import annotations

from tinyfcn.backend.cpu import threads
from tinyfcn.backend.cpu.conv.window import Window
from tinyfcn.backend.cpu.layout import Array


def input_grad(gy: Array, weight: Array, window: Window, gx: Array) -> None:
    """gx (N, H, W, C) from gy (N, OH, OW, OC); the threads share out the channels C."""
    stride, padding, dilation = window
    _, h, w, c = gx.shape
    oh, ow = gy.shape[1:3]

    def task(channels: slice) -> None:
        target = gx[..., channels]
        target[...] = 0
        for i in range(weight.shape[1]):
            rows, hs = _landing(oh, h, stride[0], i * dilation[0] - padding[0])
            for j in range(weight.shape[2]):
                cols, ws = _landing(ow, w, stride[1], j * dilation[1] - padding[1])
                if rows.start < rows.stop and cols.start < cols.stop:
                    source = gy[:, rows, cols]
                    flat = source.reshape(-1, source.shape[3])  # (pixels, OC)
                    part = flat @ weight[:, i, j, channels]  # (pixels, channels of this piece)
                    target[:, hs, ws] += part.reshape(*source.shape[:3], part.shape[1])

    threads.parallel_for(task, threads.split(c, max(32, -(-c // 4))))


def _landing(count: int, size: int, stride: int, offset: int) -> tuple[slice, slice]:
    """The outputs i in range(count) with 0 ≤ i·stride + offset < size, and where they land."""
    first = max(0, -(offset // stride))
    last = min(count, (size - 1 - offset) // stride + 1)
    start = first * stride + offset
    return slice(first, last), slice(start, max(start, (last - 1) * stride + offset + 1), stride)
