"""Losses for classes: of every pixel, or of whole images.

Cross-entropy of a pixel with logits x and class t is −log softmax(x)[t]. As one op it needs no
array of log-probabilities, neither now nor for the backward pass: its gradient is
softmax(x) − one-hot(t), made from the logits again.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from tinyfcn import backend
from tinyfcn.function import Function, as_tensor
from tinyfcn.functional.activation import elu, log_softmax, softmax
from tinyfcn.functional.comparison import clamp
from tinyfcn.functional.second_order import differentiate
from tinyfcn.functional.selection import Select
from tinyfcn.functional.sizes import at_least_zero, floating
from tinyfcn.graph import cast
from tinyfcn.tensor import Array, Tensor

__all__ = ["cross_entropy", "dice_loss", "focal_loss", "nll_loss"]

REDUCTIONS = ("mean", "sum", "none")


class CrossEntropy(Function):
    """The loss of each pixel: (N, C, …) and labels (N, …) → (N, …)."""

    def forward(self, x, labels):
        self.save_for_backward(x, labels)
        return backend.active().cross_entropy(x, labels)

    def backward(self, gy):
        x, labels = self.saved_tensors
        return CrossEntropyGrad()(gy, x, labels), None


class CrossEntropyGrad(Function):
    """gy · (softmax(x) − one-hot(label)), as an op that can be differentiated again."""

    def forward(self, gy, x, labels):
        self.save_for_backward(gy, x, labels)
        return backend.active().cross_entropy_grad(gy, x, labels)

    def backward(self, ggx):
        def formula(x: Tensor, labels: Tensor) -> tuple[Tensor, list[Tensor]]:
            counted = Select()(x, labels.data[:, None] >= 0)
            return -TakeClass()(log_softmax(cast(counted, _wide(x)), 1), labels), [x]

        return differentiate(formula, self.saved_tensors, self.needs_input_grad, (ggx,))


class TakeClass(Function):
    """x[n, label, …] for each pixel, 0 where it does not count; its adjoint is PutClass."""

    def forward(self, x, labels):
        self.save_for_backward(labels)
        return backend.active().take_class(x, labels)

    def backward(self, gy):
        (labels,) = self.saved_tensors
        return PutClass(self.input_shapes[0][1])(gy, labels), None


class PutClass(Function):
    """Zeros, and each pixel's value at its label."""

    def __init__(self, classes: int) -> None:
        self.classes = classes

    def forward(self, values, labels):
        self.save_for_backward(labels)
        return backend.active().put_class(values, labels, self.classes)

    def backward(self, gy):
        (labels,) = self.saved_tensors
        return TakeClass()(gy, labels), None


def cross_entropy(
    x: Tensor,
    target: Tensor | Array,
    weight: Tensor | Array | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
) -> Tensor:
    """Softmax cross-entropy: −weight[t] · log softmax(x)[t] for each pixel with class t.

    Args:
        x: logits (N, C) or (N, C, …), floating; exact up to ±10⁴ and beyond.
        target: class of each pixel, (N) or (N, …), any integer dtype, in [0, C) or
            ``ignore_index``.
        weight: (C,), a factor for each class, or None.
        ignore_index: the label of pixels that do not count (255 in VOC).
        reduction: ``"mean"`` divides the sum by the sum of the weights of the pixels that count
            (their number, without weights); ``"sum"``; ``"none"`` gives every pixel's own loss,
            0 for those that do not count. Where no pixel counts the mean is 0, and so is its
            gradient, not 0/0.

    Returns:
        A scalar, or (N, …) for ``"none"``.

    Raises:
        ValueError: for a label outside the range, shapes that do not fit, another reduction. Labels
            that lie on a GPU already are not looked at, which would wait for it; there a label
            outside the range makes the loss NaN.
        TypeError: if the target is not of an integer dtype.

    caffe-segnet divides the weighted sum by the number of labelled pixels instead: take
    ``reduction="sum"`` and divide by it to get its scale.

    Example:
        >>> import tinyfcn
        >>> logits, target = tinyfcn.tensor([[0.0, 0.0], [0.0, 9.0]]), tinyfcn.tensor([1, 255])
        >>> cross_entropy(logits, target, ignore_index=255)  # log 2
        Tensor(0.6931472, dtype=float32)
    """
    x, pixels = _arguments("cross_entropy", x, target, weight, ignore_index, reduction)
    return _reduce(CrossEntropy()(x, pixels.labels), pixels, reduction)


def nll_loss(
    x: Tensor,
    target: Tensor | Array,
    weight: Tensor | Array | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
) -> Tensor:
    """Negative log-likelihood: −weight[t] · x[t] for each pixel with class t.

    x holds log-probabilities, as :func:`log_softmax` gives; everything else is as in
    :func:`cross_entropy`, which does both in one step.

    Example:
        >>> import tinyfcn
        >>> log_probabilities = tinyfcn.tensor([[-0.5, -1.0], [-0.25, -1.5]])
        >>> nll_loss(log_probabilities, tinyfcn.tensor([0, 1]), reduction="none")
        Tensor([0.5, 1.5], dtype=float32)
    """
    x, pixels = _arguments("nll_loss", x, target, weight, ignore_index, reduction)
    x = cast(x, _wide(x))
    return _reduce(-TakeClass()(x, pixels.labels), pixels, reduction)


def focal_loss(
    x: Tensor,
    target: Tensor | Array,
    weight: Tensor | Array | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    gamma: float = 2.0,
) -> Tensor:
    """Focal loss: −weight[t] · (1 − p)^gamma · log p of a pixel of class t, p = softmax(x)[t].

    Cross-entropy that pixels count little in which are right already, so that the many easy ones
    do not drown the few hard ones. ``gamma`` 0 is :func:`cross_entropy`, which says what the other
    arguments are, and what the mean is divided by.

    Args:
        gamma: at least 0; by how much less easy pixels count.

    Source: Lin, Goyal, Girshick, He, Dollár, "Focal loss for dense object detection", ICCV 2017,
    section 3.2. Their α is ``weight``; they divide by the number of boxes that hold an object.

    Example:
        >>> import tinyfcn
        >>> logits = tinyfcn.tensor([[0.0, 0.0], [9.0, 0.0]])
        >>> focal_loss(logits, tinyfcn.tensor([1, 0]), reduction="none").numpy().round(6)
        array([0.173287, 0.      ], dtype=float32)
    """
    at_least_zero("focal_loss", gamma=gamma)
    x, pixels = _arguments("focal_loss", x, target, weight, ignore_index, reduction)
    losses = CrossEntropy()(x, pixels.labels)
    # 1 − e^−loss without cancellation, and not 0, where a power below 1 is infinitely steep.
    wrong = clamp(-elu(-losses), float(np.finfo(losses.dtype).eps))
    losses = Select()(losses * wrong**gamma, pixels.labels >= 0)
    return _reduce(losses, pixels, reduction)


def dice_loss(
    x: Tensor,
    target: Tensor | Array,
    weight: Tensor | Array | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
) -> Tensor:
    """1 − Dice of each image: how little of each class in it is where it should be.

    With p = softmax(x), and y_c 1 at the pixels of class c and 0 at others, the Dice of a class is

        D_c = 2 Σ p_c · y_c / (Σ p_c + Σ y_c)

    over the pixels of the image that count; of the image, Σ weight[c] · D_c / Σ weight[c] over the
    classes in it. A class counts as much as any other, however few its pixels are. What is said to
    be of a class that is not in the image is missing from one that is.

    Args:
        x, target, weight, ignore_index: as in :func:`cross_entropy`.
        reduction: ``"mean"`` of the images, each as heavy as its pixels are in the mean of
            :func:`cross_entropy`: Σ weight[t] over those that count. So both can be put together
            from parts of a batch alike, and images of one size without void are equal. ``"sum"``;
            ``"none"`` gives the loss of every image, 0 where no pixel counts.

    Returns:
        A scalar, or (N,) for ``"none"``.

    Raises:
        ValueError, TypeError: as :func:`cross_entropy` does.

    Source: Milletari, Navab, Ahmadi, "V-Net", 3DV 2016, section 3, with p² in the place of p; so,
    but of two classes, Sudre et al., "Generalised Dice overlap", DLMIA 2017, section 2.1.

    Example:
        >>> import tinyfcn
        >>> sure, unsure = [[9.0, -9.0], [-9.0, 9.0]], [[0.0, 0.0], [0.0, 0.0]]
        >>> target = tinyfcn.tensor([[0, 1], [0, 1]])
        >>> dice_loss(tinyfcn.tensor([sure, unsure]), target, reduction="none").numpy().round(3)
        array([0. , 0.5], dtype=float32)
    """
    x, pixels = _arguments("dice_loss", x, target, weight, ignore_index, reduction)
    x = cast(x, _wide(x))
    xp, (n, classes), size = backend.active().xp, x.shape[:2], math.prod(x.shape[2:])
    p = softmax(Select()(x, pixels.labels[:, None] >= 0), 1).reshape(n, classes, size)
    of_class = pixels.labels.reshape(n, size, 1) == xp.arange(classes, dtype=np.int32)
    truth = Tensor(of_class.astype(x.dtype)).transpose(1, 2)
    # How much of class j there is on the pixels of class i: (N, C, C).
    found = truth @ p.transpose(1, 2)
    counts = (truth @ Tensor(xp.ones((size, 1), x.dtype))).data[..., 0]
    right = (found * Tensor(xp.eye(classes, dtype=x.dtype))).sum(2)
    dice = 2.0 * right / (found.sum(1) + Tensor(counts + (counts == 0)))

    weights = xp.ones(classes, x.dtype) if pixels.weights is None else pixels.weights
    share = weights * (counts > 0)
    share /= _or_one(share.sum(1, keepdims=True))
    losses = (Tensor(share) * (1.0 - dice)).sum(1)
    if pixels.wrong is not None:
        losses = _spoil(losses, pixels.wrong.reshape(n, size).any(1))
    if reduction == "mean":
        heavy = (counts * weights).sum(1)
        losses = losses * Tensor(heavy / _or_one(heavy.sum()))
    return losses if reduction == "none" else losses.sum()


class _Pixels(NamedTuple):
    """What is known of the pixels before their losses."""

    labels: Array  # int32, −1 for a pixel that does not count
    weights: Array | None  # of the classes
    wrong: Array | None  # where the label is out of range, if that was not rejected


def _arguments(
    op: str, x: Any, target: Any, weight: Any, ignore_index: int, reduction: str
) -> tuple[Tensor, _Pixels]:
    """The logits, checked, and the labels and class weights."""
    xp = backend.active().xp
    x = floating(op, x)
    on_host = isinstance(target, np.ndarray)  # so that looking at it waits for nothing
    target = target if on_host else as_tensor(target).data
    if target.dtype.kind not in "iu":
        raise TypeError(f"{op}: target must have an integer dtype, got {target.dtype}")
    if x.ndim < 2 or x.shape[1] == 0 or target.shape != x.shape[:1] + x.shape[2:]:
        raise ValueError(
            f"{op}: x (N, C, …) and target (N, …) do not fit: x {x.shape}, target {target.shape}"
        )
    if reduction not in REDUCTIONS:
        raise ValueError(f"{op}: reduction must be one of {REDUCTIONS}, got {reduction!r}")
    classes = x.shape[1]
    ignored = target == ignore_index
    wrong = ((target < 0) | (target >= classes)) & ~ignored
    look = on_host or backend.active().eager
    if look and wrong.any():
        raise ValueError(
            f"{op}: target holds the label {target[wrong][0]}, outside the range 0 … {classes - 1} "
            f"of {classes} classes, and ignore_index is {ignore_index}"
        )
    if on_host:
        target, ignored = (backend.active().as_array(a) for a in (target, ignored))
    labels = xp.where(ignored if look else ignored | wrong, xp.int32(-1), target.astype(xp.int32))
    weights = None if weight is None else as_tensor(weight).data.astype(_wide(x))
    if weights is not None:
        if weights.shape != (classes,):
            raise ValueError(
                f"{op}: weight must have shape ({classes},), a factor a class, got {weights.shape}"
            )
        labels = xp.where(weights[labels] == 0, xp.int32(-1), labels)  # 0 · ∞ would not be 0
    return x, _Pixels(labels, weights, None if look else wrong)


def _wide(x: Tensor) -> Any:
    """The dtype of losses: of float16 no sum would be left."""
    return np.result_type(x.dtype, np.float32)


def _reduce(losses: Tensor, pixels: _Pixels, reduction: str) -> Tensor:
    """Weigh the losses of the pixels and sum them up or not."""
    xp = backend.active().xp
    if pixels.wrong is not None:
        losses = _spoil(losses, pixels.wrong)
    counts = pixels.labels >= 0
    if pixels.weights is not None:
        counts = pixels.weights[pixels.labels] * counts
        losses = losses * Tensor(counts)
    if reduction == "none":
        return losses
    if reduction == "sum":
        return losses.sum()
    total = counts.sum(dtype=xp.float64)
    return losses.sum() / Tensor(_or_one(total).astype(losses.dtype))


def _spoil(losses: Tensor, wrong: Any) -> Tensor:
    """The losses, but NaN where a label is wrong."""
    return losses + Tensor(backend.active().xp.where(wrong, np.nan, 0.0).astype(losses.dtype))


def _or_one(total: Array) -> Array:
    """What a sum over ``total`` is divided by: there is nothing to sum where it is 0."""
    return backend.active().xp.where(total == 0, total.dtype.type(1), total)
