"""What is asked of each layer, and what tinyfcn answers."""

from __future__ import annotations

from typing import Any

import numpy as np

import tinyfcn
import tinyfcn.functional as F
from tinyfcn import nn
from tinyfcn.models import geometry
from tinyfcn.nn.init import bilinear_
from tinyfcn.puzzles.puzzle import Array, Case, Draw, Ladder, Wrong

layer = Ladder("layers", 1)


def needing(*arrays: Array) -> list[tinyfcn.Tensor]:
    """Tensors that want a gradient."""
    return [tinyfcn.tensor(array, requires_grad=True) for array in arrays]


def columns(x: Array, kernel: tuple[int, int], stride: int, padding: int) -> Array:
    """(N, C · KH · KW, OH · OW): a convolution with kernels that each pick one pixel."""
    taps = x.shape[1] * kernel[0] * kernel[1]
    weight = np.eye(taps).reshape(taps, x.shape[1], *kernel)
    y = F.conv2d(tinyfcn.tensor(x), tinyfcn.tensor(weight), None, stride, padding)
    return y.numpy().reshape(len(x), taps, -1)


def gradients(tensors: list[tinyfcn.Tensor]) -> list[Array]:
    """What has arrived at them."""
    return [tensor.grad.numpy() for tensor in tensors if tensor.grad is not None]


@layer(
    (1, 1, 3, 3, (2, 2), 1, 0), (2, 3, 5, 4, (3, 3), 1, 1), (1, 2, 7, 6, (3, 2), 2, 0),
    (2, 1, 4, 9, (2, 5), 3, 2), (1, 1, 1, 1, (1, 1), 1, 0),
)  # fmt: skip
def im2col(draw: Draw, n: int, c: int, h: int, w: int, kernel: tuple[int, int], stride: int,
           padding: int) -> Case:  # fmt: skip
    """Every window of an image as a column."""
    x = draw(n, c, h, w)
    arguments = {"x": x, "kernel": kernel, "stride": stride, "padding": padding}
    return Case(arguments, {"columns": columns(x, kernel, stride, padding)})


CONVOLUTIONS = (
    (1, 1, 3, 3, 1, (2, 2), 1, 0), (2, 3, 5, 4, 2, (3, 3), 1, 1), (1, 2, 7, 6, 4, (3, 2), 2, 0),
    (2, 1, 5, 9, 3, (2, 5), 3, 2), (1, 4, 6, 6, 1, (1, 1), 2, 1),
)  # fmt: skip


@layer(*CONVOLUTIONS)
def conv2d(draw: Draw, n: int, c: int, h: int, w: int, oc: int, kernel: tuple[int, int],
           stride: int, padding: int) -> Case:  # fmt: skip
    """Convolution."""
    x, weight, bias = draw(n, c, h, w), draw(oc, c, *kernel, most=3), draw(oc)
    y = F.conv2d(tinyfcn.tensor(x), tinyfcn.tensor(weight), tinyfcn.tensor(bias), stride, padding)
    arguments = {"x": x, "weight": weight, "bias": bias, "stride": stride, "padding": padding}
    return Case(arguments, {"y": y.numpy()})


@layer(*CONVOLUTIONS)
def conv2d_backward(draw: Draw, n: int, c: int, h: int, w: int, oc: int, kernel: tuple[int, int],
                    stride: int, padding: int) -> Case:  # fmt: skip
    """The gradients of convolution."""
    x, weight = draw(n, c, h, w), draw(oc, c, *kernel, most=3)
    inputs = needing(x, weight, draw(oc))
    y = F.conv2d(inputs[0], inputs[1], inputs[2], stride, padding)
    gy = draw(*y.shape, most=3)
    y.backward(gy)
    gx, gweight, gbias = gradients(inputs)
    arguments = {"gy": gy, "x": x, "weight": weight, "stride": stride, "padding": padding}
    return Case(arguments, {"gx": gx, "gweight": gweight, "gbias": gbias})


@layer(
    (1, 1, 4, 4, 2, 2), (2, 3, 5, 7, 2, 2), (1, 2, 7, 7, 3, 2), (1, 1, 6, 5, 3, 1),
    (2, 2, 3, 3, 3, 3), (1, 1, 8, 8, 2, 3),
)  # fmt: skip
def max_pool2d(draw: Draw, n: int, c: int, h: int, w: int, kernel: int, stride: int) -> Case:
    """Max pooling, and where the maxima were."""
    x = np.round(2 * draw(n, c, h, w, most=4)) / 2 - 9  # has ties, and no window with a 0
    y, indices = F.max_pool2d(tinyfcn.tensor(x), kernel, stride, return_indices=True)
    arguments = {"x": x, "kernel": kernel, "stride": stride}
    return Case(arguments, {"y": y.numpy(), "indices": indices.numpy()})


@layer((1, 1, 2, 2, 4, 4), (2, 3, 2, 3, 4, 6), (1, 2, 3, 3, 7, 6), (1, 1, 1, 1, 3, 2))
def max_unpool2d(draw: Draw, n: int, c: int, oh: int, ow: int, h: int, w: int) -> Case:
    """Values back to where max pooling found them."""
    x = draw(n, c, h, w)
    _, indices = F.max_pool2d(tinyfcn.tensor(x), (h // oh, w // ow), return_indices=True)
    y = draw(*indices.shape) + 1
    found = F.max_unpool2d(
        tinyfcn.tensor(y), indices, (h // oh, w // ow), output_size=(h, w)
    )  # fmt: skip
    return Case({"y": y, "indices": indices.numpy(), "size": (h, w)}, {"x": found.numpy()})


@layer(
    (1, 1, 2, 2, 1, (3, 3), 2, 0), (2, 3, 3, 4, 2, (3, 3), 1, 1), (1, 2, 4, 3, 5, (4, 4), 2, 1),
    (2, 4, 3, 3, 1, (2, 5), 3, 0), (1, 1, 1, 1, 1, (5, 3), 4, 1),
)  # fmt: skip
def conv_transpose2d(draw: Draw, n: int, c: int, h: int, w: int, oc: int, kernel: tuple[int, int],
                     stride: int, padding: int) -> Case:  # fmt: skip
    """Transposed convolution."""
    x, weight = draw(n, c, h, w), draw(c, oc, *kernel, most=3)
    y = F.conv_transpose2d(
        tinyfcn.tensor(x), tinyfcn.tensor(weight), stride=stride, padding=padding
    )
    arguments = {"x": x, "weight": weight, "stride": stride, "padding": padding}
    return Case(arguments, {"y": y.numpy()})


@layer((4,), (3,), (2,), (1,), (16,), (7,))
def bilinear(draw: Draw, size: int) -> Case:
    """Bilinear weights."""
    weight = tinyfcn.tensor(np.zeros((1, 1, size, size)))
    return Case({"size": size}, {"weight": bilinear_(weight).numpy()[0, 0]})


@layer(
    (1, 3, 1, 3, 1, 1.0), (2, 4, 3, 5, 4, 1.0), (1, 21, 4, 4, 7, 1.0), (1, 3, 2, 2, 1, 1000.0),
    (1, 2, 2, 2, 4, 1.0),
)  # fmt: skip
def cross_entropy(draw: Draw, n: int, c: int, h: int, w: int, void: int, scale: float) -> Case:
    """Cross-entropy with void, and its gradient."""
    scores = draw(n, c, h, w, most=2) * scale
    target = draw.random.integers(0, c, (n, h, w))
    target.reshape(-1)[-void:] = 255
    (tensor,) = needing(scores)
    loss = F.cross_entropy(tensor, target, ignore_index=255)
    loss.backward()
    (gscores,) = gradients([tensor])
    return Case({"scores": scores, "target": target}, {"loss": loss.numpy(), "gscores": gscores})


@layer((1, 2, 2, 2, 0.5), (2, 3, 4, 5, 1e-5), (4, 1, 1, 1, 1e-3), (3, 2, 3, 1, 1e-5))
def batch_norm_backward(draw: Draw, n: int, c: int, h: int, w: int, eps: float) -> Case:
    """The gradients of batch normalization."""
    x, weight = draw(n, c, h, w, most=4), draw(c, most=3) + 1
    inputs = needing(x, weight, draw(c))
    y = F.batch_norm(inputs[0], None, None, inputs[1], inputs[2], training=True, eps=eps)
    gy = draw(*y.shape, most=3)
    y.backward(gy)
    gx, gweight, gbias = gradients(inputs)
    arguments = {"gy": gy, "x": x, "weight": weight, "eps": eps}
    return Case(arguments, {"gx": gx, "gweight": gweight, "gbias": gbias})


def product(a: Any, b: Any) -> Any:
    """(a * b).sum()"""
    return (a * b).sum()


def square(a: Any, b: Any) -> Any:
    """(a * a + b).sum()"""
    return (a * a + b).sum()


def network(a: Any, b: Any) -> Any:
    """(h @ b * h + h).sum() with h = (a @ b).tanh()"""
    h = (a @ b).tanh()
    return (h @ b * h + h).sum()


def doubled(a: Any, b: Any) -> Any:
    """a + a, 40 times over, times b"""
    for _ in range(40):
        a = a + a
    return (a * b).sum()


def long(a: Any, b: Any) -> Any:
    """a + b + b + ..., 3000 times"""
    for _ in range(3000):
        a = a + b
    return a.sum()


def recorded(variable: Any) -> Any:
    """Runs a program on variables: its result, and their gradients."""

    def run(program: Any, a: Array, b: Array) -> tuple[Any, ...]:
        inputs = variable(a), variable(b)
        loss = program(*inputs)
        loss.backward()
        return loss.data, inputs[0].grad, inputs[1].grad

    return run


@layer(*((p, n) for p, n in zip((product, square, network, doubled, long), (2, 3, 4, 2, 2),
                                strict=True)),
       names=("Variable",), call=recorded)  # fmt: skip
def tape(draw: Draw, program: Any, n: int) -> Case:
    """An autograd tape in sixty lines."""
    a, b = draw(n, n), draw(n, n)
    inputs = needing(a, b)
    loss = program(*inputs)
    loss.backward()
    ga, gb = gradients(inputs)
    expected = {"loss": loss.numpy(), "a.grad": ga, "b.grad": gb}
    return Case({"program": program, "a": a, "b": b}, expected)


def vgg(padding: int, *pools: int) -> list[tuple[str, int, int, int]]:
    """VGG16 to the pooling of a number, with so much padding in the first convolution."""
    layers = [
        step
        for stage in range(pools[0])
        for step in [("conv", 3, 1, 1)] * (2 if stage < 2 else 3) + [("pool", 2, 2, 0)]
    ]
    return [("conv", 3, 1, padding), *layers[1:]]


HEAD = [("conv", 7, 1, 0), ("conv", 1, 1, 0), ("conv", 1, 1, 0)]  # fc6, fc7, scores
TWICE = [("deconv", 4, 2, 0)]
FCN32 = vgg(100, 5) + HEAD
FCN16 = FCN32 + TWICE
SMALL = [("conv", 3, 1, 4), ("pool", 2, 2, 0), ("deconv", 4, 2, 0)]


@layer(
    (SMALL, []), (SMALL, SMALL[:1]), (FCN32 + [("deconv", 64, 32, 0)], []),
    (vgg(100, 4) + HEAD[2:], FCN16), (FCN16 + [("deconv", 32, 16, 0)], []),
    ([("conv", 5, 2, 7), ("conv", 3, 2, 0), ("deconv", 7, 4, 1)], [("conv", 3, 1, 1)]),
)  # fmt: skip
def crop_offset(draw: Draw, larger: Any, smaller: Any) -> Case:
    """Where a crop has to start."""
    offset = geometry.crop_offset(*(geometry.coordinate_map(modules(p)) for p in (larger, smaller)))
    return Case({"larger": larger, "smaller": smaller}, {"offset": np.array(offset)})


def modules(layers: Any) -> list[nn.Module]:
    """The layers that words and numbers mean; a 1 x 1 convolution for none."""
    kinds = {"conv": nn.Conv2d, "deconv": nn.ConvTranspose2d}
    return [
        nn.MaxPool2d(k, s, p) if kind == "pool" else kinds[kind](1, 1, k, stride=s, padding=p)
        for kind, k, s, p in layers or [("conv", 1, 1, 0)]
    ]


def winograd_tile(of_weight: Any, of_input: Any, of_products: Any) -> Any:
    """One tile, by the reader's three transforms and sixteen products of ours."""

    def run(x: Array, weight: Array) -> Any:
        u, v = of_weight(weight), of_input(x)
        if u is None or v is None:
            return None
        if u.shape != (4, 4) or v.shape != (4, 4):
            raise Wrong(f"both transforms give (4, 4), got {u.shape} and {v.shape}")
        return of_products(u * v)

    return run


@layer((), (), (), names=("of_weight", "of_input", "of_products"), call=winograd_tile)
def winograd(draw: Draw) -> Case:
    """Winograd's F(2 x 2, 3 x 3)."""
    x, weight = draw(4, 4), draw(3, 3, most=3)
    y = F.conv2d(tinyfcn.tensor(x[None, None]), tinyfcn.tensor(weight[None, None]))
    return Case({"x": x, "weight": weight}, {"y": y.numpy()[0, 0]})
