"""Convolution and transposed convolution: the same three primitives, with their passes swapped.

Write y = W x for a convolution as a linear map of x. Its gradient with respect to x is Wᵀ gy, and
transposed convolution is by definition y = Wᵀ x. So three primitives serve both, and every backward
pass below is written with the other two (rows: the op; columns: whose values it needs):

    op                  forward             gradient of input     gradient of weight
    Conv2d              conv2d              conv2d_input_grad     conv2d_weight_grad
    Conv2dInputGrad     conv2d_input_grad   conv2d                conv2d_weight_grad
    Conv2dWeightGrad    conv2d_weight_grad  conv2d_input_grad     conv2d

The three ops are closed under differentiation: gradients of any order use nothing else.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

from tinyfcn import backend
from tinyfcn.backend.base import conv_size
from tinyfcn.function import Function, active, as_tensor
from tinyfcn.functional.activation import ReLUGrad
from tinyfcn.functional.reduction import broadcast_to
from tinyfcn.functional.sizes import (
    Pair,
    at_least_one,
    check_dtype,
    conv_transpose_size,
    images,
    optional_bias,
    pair,
)
from tinyfcn.tensor import Tensor, is_grad_enabled

__all__ = ["conv2d", "conv_transpose2d"]

AXES = "height", "width"
LONG = 1 << 31  # multiplications of a weight gradient that keeps all threads busy by itself


class ConvWindow(NamedTuple):
    """How a kernel slides: what the three ops hand to each other unchanged."""

    stride: Pair
    padding: Pair
    dilation: Pair
    groups: int


class Conv2d(Function):
    """y = W x + b, or max(y, 0): what follows nearly every convolution costs nothing on the way."""

    def __init__(self, window: ConvWindow, relu: bool = False) -> None:
        self.window = window
        self.relu = relu

    def forward(self, x, weight, bias):
        y = backend.active().conv2d(x, weight, bias, *self.window, self.relu)
        self.save_for_backward(x, weight, y if self.relu else None)
        return y

    def backward(self, gy):
        x, weight, y = self.saved_tensors
        need_x, need_weight, need_bias = self.needs_input_grad
        if not (is_grad_enabled() or active.hooks):
            arrays = (t if t is None else t.data for t in (gy, y, x, weight))
            grads = backend.active().conv2d_grads(*arrays, self.needs_input_grad, *self.window)
            if grads:
                return tuple(g if g is None else Tensor(g) for g in grads)
        gy = ReLUGrad()(gy, y.detach()) if self.relu else gy
        gbias = self.gradient(2, ChannelSums(), gy) if need_bias else None
        gx = Conv2dInputGrad(self.window, x.shape[2:])(gy, weight, None) if need_x else None
        weight_grad = Conv2dWeightGrad(self.window, weight.shape[2:])
        long = gy.size * weight.size > LONG * weight.shape[0]
        make = weight_grad if long else partial(self.gradient, 1, weight_grad)
        gw = make(x, gy) if need_weight else None
        return gx, gw, gbias


class Conv2dInputGrad(Function):
    """gx = Wᵀ gy + b: the input gradient of Conv2d, and the forward pass of its transpose."""

    def __init__(self, window: ConvWindow, size: Pair) -> None:
        self.window = window
        self.size = size  # (H, W) of the result: a stride maps several sizes to one, so it is told

    def forward(self, gy, weight, bias):
        self.save_for_backward(gy, weight)
        return backend.active().conv2d_input_grad(gy, weight, bias, self.size, *self.window)

    def backward(self, x):
        # What arrives has the shape of gx, and goes through the convolution as an x does.
        gy, weight = self.saved_tensors
        need_y, need_weight, need_bias = self.needs_input_grad
        y = _crop(Conv2d(self.window)(x, weight, None), gy.shape) if need_y else None
        gw = Conv2dWeightGrad(self.window, weight.shape[2:])(x, gy) if need_weight else None
        return y, gw, ChannelSums()(x) if need_bias else None


class Conv2dWeightGrad(Function):
    """The weight gradient of both, bilinear in x and gy."""

    def __init__(self, window: ConvWindow, kernel: Pair) -> None:
        self.window = window
        self.kernel = kernel

    def forward(self, x, gy):
        self.save_for_backward(x, gy)
        return backend.active().conv2d_weight_grad(x, gy, self.kernel, *self.window)

    def backward(self, weight):
        # What arrives has the shape of gw, and acts on x and gy as a weight does.
        x, gy = self.saved_tensors
        need_x, need_gy = self.needs_input_grad
        gx = Conv2dInputGrad(self.window, x.shape[2:])(gy, weight, None) if need_x else None
        y = _crop(Conv2d(self.window)(x, weight, None), gy.shape) if need_gy else None
        return gx, y


class ChannelSums(Function):
    """(N, C, H, W) → (C,): the gradient of a bias, which is added to every pixel."""

    def forward(self, gy):
        return backend.active().sum_pixels(gy)

    def backward(self, gbias):
        return broadcast_to(gbias.reshape(1, -1, 1, 1), self.input_shapes[0])


def _crop(y: Tensor, shape: tuple[int, ...]) -> Tensor:
    """The first rows and columns of y: with an output_padding of a stride or more (which a dilation
    permits) the convolution of the result has more of them than the input had."""
    return y if y.shape == shape else y[:, :, : shape[2], : shape[3]]


def conv2d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | Pair = 1,
    padding: int | Pair = 0,
    dilation: int | Pair = 1,
    groups: int = 1,
    *,
    relu: bool = False,
) -> Tensor:
    """Slide kernels over an image: cross-correlation, as every deep-learning library has it.

    y[n, o, i, j] = b[o] + Σ over c, h, w of W[o, c, h, w] · x[n, c, i·SH − PH + h·DH, j·SW − PW +
    w·DW], where x is 0 outside the image. With groups, output channel o sees only the C / groups
    input channels of its own group. ∞ and NaN in x may make NaN of near outputs that do not see
    them, unless ``TINYFCN_CONV=tiles`` is set.

    Args:
        x: (N, C, H, W).
        weight: (OC, C / groups, KH, KW).
        bias: (OC,) or None.
        stride: step of the window, in pixels; here and below one number or (height, width).
        padding: rows and columns of zeros added on each side, in pixels.
        dilation: distance between the kernel's elements, in pixels.
        groups: into how many independent parts the channels are cut.
        relu: give max(y, 0), the same as ``relu(conv2d(…))`` in one pass over memory;
            ``nn.Sequential`` asks for it where a ReLU follows a convolution.

    Returns:
        (N, OC, OH, OW) with OH = ⌊(H + 2·PH − DH·(KH − 1) − 1) / SH⌋ + 1 and OW alike.

    Raises:
        ValueError, TypeError: naming the argument that does not fit.

    Example:
        >>> import tinyfcn
        >>> x = tinyfcn.tensor([[[[1.0, 2.0, 3.0]]]])
        >>> weight = tinyfcn.tensor([[[[1.0, 10.0]]]])
        >>> conv2d(x, weight)
        Tensor([[[[21., 32.]]]], dtype=float32)
    """
    x, weight, window = _operands("conv2d", x, weight, stride, padding, dilation, groups)
    if weight.shape[1] * groups != x.shape[1]:
        raise ValueError(
            f"conv2d: weight expects {weight.shape[1] * groups} input channels (groups={groups}), "
            f"but x has {x.shape[1]}: x {x.shape}, weight {weight.shape}"
        )
    if weight.shape[0] % groups:
        raise ValueError(
            f"conv2d: {weight.shape[0]} output channels do not divide into groups={groups}: "
            f"weight {weight.shape}"
        )
    bias = optional_bias("conv2d", x, bias, weight.shape[0])
    axes = zip(AXES, x.shape[2:], weight.shape[2:], *window[:3], strict=True)
    for axis, n, k, s, p, d in axes:
        if conv_size(n, k, s, p, d) < 1:
            raise ValueError(
                f"conv2d: the kernel spans {d * (k - 1) + 1} pixels of {axis}, but x has only "
                f"{n + 2 * p} with padding {p}: x {x.shape}, weight {weight.shape}"
            )
    return Conv2d(window, relu)(x, weight, bias)


def conv_transpose2d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | Pair = 1,
    padding: int | Pair = 0,
    output_padding: int | Pair = 0,
    groups: int = 1,
    dilation: int | Pair = 1,
) -> Tensor:
    """Transposed convolution ("deconvolution"): the input gradient of a convolution, as a layer.

    Every element of x stamps its kernel, times its value, onto the output at its own position times
    the stride; stamps add up where they overlap and ``padding`` pixels are cut off on every side.
    It is the adjoint of ``conv2d`` with the same weight W:
    ⟨conv2d(a, W), x⟩ = ⟨a, conv_transpose2d(x, W)⟩. With a bilinear kernel of size 2f, stride f and
    padding f / 2 it upsamples f times (Long et al. 2015, section 3.3).

    Args:
        x: (N, C, H, W).
        weight: (C, OC / groups, KH, KW): the weight of the convolution from OC to C channels.
        bias: (OC,) or None.
        stride: distance of neighbouring stamps, in output pixels.
        padding: pixels cut off on each side of the output.
        output_padding: pixels added at the bottom and on the right; a convolution with a stride
            maps several input sizes to one output size, and this says which one to return to. Must
            be smaller than stride or dilation.
        groups: into how many independent parts the channels are cut.
        dilation: distance between the kernel's elements, in output pixels.

    Returns:
        (N, OC, OH, OW) with OH = (H − 1)·SH − 2·PH + DH·(KH − 1) + output_padding + 1, OW alike.

    Raises:
        ValueError, TypeError: naming the argument that does not fit.

    Example:
        >>> import tinyfcn
        >>> x = tinyfcn.tensor([[[[1.0, 2.0]]]])
        >>> weight = tinyfcn.tensor([[[[1.0, 10.0, 100.0]]]])
        >>> conv_transpose2d(x, weight, stride=2)
        Tensor([[[[  1.,  10., 102.,  20., 200.]]]], dtype=float32)
    """
    op = "conv_transpose2d"
    x, weight, window = _operands(op, x, weight, stride, padding, dilation, groups)
    extra = pair(op, "output_padding", output_padding, minimum=0)
    if weight.shape[0] != x.shape[1]:
        raise ValueError(
            f"{op}: weight expects {weight.shape[0]} input channels, but x has {x.shape[1]}: "
            f"x {x.shape}, weight {weight.shape}"
        )
    if x.shape[1] % groups:
        raise ValueError(
            f"{op}: {x.shape[1]} input channels do not divide into groups={groups}: x {x.shape}"
        )
    bias = optional_bias(op, x, bias, weight.shape[1] * groups)
    size = []
    axes = zip(AXES, x.shape[2:], weight.shape[2:], *window[:3], extra, strict=True)
    for axis, n, k, s, p, d, e in axes:
        if e >= max(s, d):
            raise ValueError(
                f"{op}: output_padding must be smaller than stride or dilation, got {e} with "
                f"stride {s} and dilation {d} along {axis}"
            )
        size.append(conv_transpose_size(n, k, s, p, d, e))
        if size[-1] < 1:
            raise ValueError(
                f"{op}: padding {p} leaves {size[-1]} pixels of {axis}: x {x.shape}, "
                f"weight {weight.shape}, stride {s}"
            )
    return Conv2dInputGrad(window, (size[0], size[1]))(x, weight, bias)


def _operands(
    op: str, x: Any, weight: Any, stride: Any, padding: Any, dilation: Any, groups: int
) -> tuple[Tensor, Tensor, ConvWindow]:
    """Checked, as far as convolution and its transpose ask for the same."""
    x, weight = images(op, x), as_tensor(weight)
    at_least_one(op, groups=groups)
    window = ConvWindow(
        pair(op, "stride", stride, minimum=1),
        pair(op, "padding", padding, minimum=0),
        pair(op, "dilation", dilation, minimum=1),
        groups,
    )
    if weight.ndim != 4 or 0 in weight.shape:
        raise ValueError(f"{op}: weight must have 4 axes, none empty, got shape {weight.shape}")
    check_dtype(op, x, "weight", weight)
    return x, weight, window
