"""Softmax cross-entropy and its parts, pixel by pixel.

``labels`` are int32 of shape (N, …), checked: in [0, C), or −1 for a pixel that does not count,
whose loss and gradient are 0. Logits are (N, C, …).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinyfcn.backend.cpu.activation import like_rows_of, row_blocks, rows_of
from tinyfcn.backend.cpu.threads import parallel_for


def cross_entropy(x: Any, labels: Any) -> Any:
    """log Σ exp(x) − x[label], for each pixel."""
    rows, flat = rows_of(x, 1), labels.reshape(-1)
    loss = np.empty(flat.shape, x.dtype)
    pieces = row_blocks(rows)

    def task(i: int) -> None:
        columns, labels, pixels = rows[pieces[i]].T.copy(), flat[pieces[i]], loss[pieces[i]]
        columns -= columns.max(0)
        position = np.arange(labels.size)
        position += labels * position.size
        picked = columns.reshape(-1).take(position, mode="clip")  # some number for label −1
        np.exp(columns, out=columns)
        np.log(columns.sum(0), out=pixels)
        pixels -= picked
        pixels *= labels >= 0

    parallel_for(task, len(pieces))
    return loss.reshape(labels.shape)


def cross_entropy_grad(gy: Any, x: Any, labels: Any) -> Any:
    """gy · (softmax(x) − one-hot(label)), for each pixel.

    The softmax is made anew from x: that is cheaper than to keep an array of x's size, and more
    exact than exp(x − log Σ exp(x)) from a kept sum, where x is large.
    """
    rows, flat = rows_of(x, 1), labels.reshape(-1)
    gy = (gy * (labels >= 0)).reshape(-1)
    out, gx = like_rows_of(x, 1)
    pieces = row_blocks(rows)

    def task(i: int) -> None:
        columns, labels, g = rows[pieces[i]].T.copy(), flat[pieces[i]], gy[pieces[i]]
        columns -= columns.max(0)
        np.exp(columns, out=columns)
        columns *= g / columns.sum(0)
        block = out[pieces[i]]
        block[...] = columns.T
        position = np.arange(0, block.size, block.shape[1])
        position += np.maximum(labels, 0)  # for label −1 some place of the same pixel: g is 0
        block.reshape(-1)[position] -= g

    parallel_for(task, len(pieces))
    return gx


def take_class(x: Any, labels: Any) -> Any:
    """x[n, label, …] for each pixel, 0 where the label is −1."""
    rows, flat = rows_of(x, 1), labels.reshape(-1)
    picked = rows[np.arange(flat.size), flat]
    picked[flat < 0] = 0
    return picked.reshape(labels.shape)


def put_class(values: Any, labels: Any, classes: int) -> Any:
    """Adjoint of take_class: (N, C, …) zeros with each pixel's value at its label."""
    values = values.reshape(-1)
    flat = labels.reshape(-1)
    rows = np.zeros((flat.size, classes), values.dtype)
    valid = np.flatnonzero(flat >= 0)
    rows[valid, flat[valid]] = values[valid]
    return np.moveaxis(rows.reshape(*labels.shape, classes), -1, 1)
