"""Arguments for each primitive, random arrays in any dtype and order in memory."""

import numpy as np

from tinyfcn.backend.base import Backend
from tinyfcn.functional.resampling import Adaptive, Bilinear

IMAGES = [(2, 6, 9, 8), (1, 4, 1, 5), (3, 2, 40, 33)]
POOL = (3, 2), (2, 1), (1, 0), (1, 2)  # kernel, stride, padding, dilation
WINDOW = (2, 1), (1, 2), (1, 2), 2  # stride, padding, dilation, groups
REFERENCE = Backend()
ORDERS = "C", "channels last", "strided"


class Draw:
    """Random arrays, the same for every dtype and every order in memory."""

    def __init__(self, shape, dtype, order):
        self.shape, self.dtype, self.order = shape, dtype, order
        self.rng = np.random.default_rng(0)

    def __call__(self, *shape, low=None):
        values = self.rng.standard_normal(shape).astype("float32")
        values = values if low is None else np.abs(values) + low
        return arranged(values.astype(self.dtype), self.order)

    def image(self):
        return self(*self.shape)

    def channels(self, low=None):
        return self(self.shape[1], low=low)

    def labels(self):
        n, c, *pixels = self.shape
        return arranged(self.rng.integers(-1, c, (n, *pixels)).astype("int32"), self.order)


def arranged(array, order):
    """The same values, otherwise in memory."""
    if order == "strided":
        return np.repeat(array, 2, -1)[..., ::2]
    if order == "channels last" and array.ndim > 1:
        return np.moveaxis(np.ascontiguousarray(np.moveaxis(array, 1, -1)), -1, 1)
    return array


def output(size):
    """Of POOL."""
    kernel, stride, padding, dilation = POOL
    axes = zip(size, kernel, stride, padding, dilation, strict=True)
    return tuple((s + 2 * p - d * (k - 1) - 1) // t + 1 for s, k, t, p, d in axes)


def convolution(a):
    """Input, weight, bias and output of one with WINDOW."""
    n, c, h, w = a.shape
    shape = (n, c, h + 2, w + 4)
    weight = a(6, c // 2, 3, 2)
    y = REFERENCE.conv2d(np.zeros(shape), weight.astype("f8"), None, *WINDOW)
    return a(*shape), weight, a(6), a(*y.shape), a(c)


def conv2d(a):
    x, weight, bias, _, _ = convolution(a)
    return x, weight, bias, *WINDOW, True


def conv2d_input_grad(a):
    x, weight, _, gy, bias = convolution(a)
    return gy, weight, bias, x.shape[2:], *WINDOW


def conv2d_weight_grad(a):
    x, weight, _, gy, _ = convolution(a)
    return x, gy, weight.shape[2:], *WINDOW


def single_pixels(a):
    """The gradient of the output of 1×1 kernels, their weight, and an image that is larger."""
    n, c, h, w = a.shape
    return a(n, 6, h, w), a(6, c, 1, 1), a(n, c, h + 1, w + 2), ((1, 1), (0, 0), (2, 3), 1)


def input_grad_of_single_pixels(a):
    gy, weight, x, window = single_pixels(a)
    return gy, weight, a(x.shape[1]), x.shape[2:], *window


def weight_grad_of_single_pixels(a):
    gy, weight, x, window = single_pixels(a)
    return x, gy, weight.shape[2:], *window


def pool(a):
    """An image large enough for POOL, and indices in its windows."""
    n, c, h, w = a.shape
    x = a(n, c, h + 2, w + 2)
    return x, REFERENCE.max_pool2d(x, output(x.shape[2:]), *POOL, True)[1]


def max_pool2d(a):
    x, indices = pool(a)
    return x, indices.shape[2:], *POOL, True


def scatter_plane(a):
    x, indices = pool(a)
    return a(*indices.shape), arranged(indices, a.order), x.shape[2:], *POOL


def gather_plane(a):
    x, indices = pool(a)
    return x, arranged(indices, a.order)


def resample2d(a):
    _, _, h, w = a.shape
    return a.image(), Bilinear(h, 2 * h + 1).matrix(), Adaptive(w, 3).matrix()


def batch_norm(a):
    vectors = a.channels(), a.channels(low=0.5), a.channels(), a.channels()
    return a.image(), *vectors, True


def batch_norm_train(a):
    n, c, h, w = a.shape
    running = a.channels(), a.channels(low=0.5)
    return a(n + 1, c, h, w), a.channels(), a.channels(), running, 0.2, 0.1, True


def batch_norm_grad(a):
    vectors = a.channels(), a.channels(low=0.5), a.channels()
    return a.image(), a.image(), *vectors, 1e-3, a.image()


def many(a, count):
    """So many lists of arrays, as of parameters: an image, a vector, nothing."""
    return [[a.image(), a.channels(), a(0)] for _ in range(count)]


def adam_update(a):
    arrays = a.image(), a.image(), a.image(), a(*a.shape, low=0.1)
    return *([x, a(3, low=0.1)] for x in arrays), 0.1, 0.9, 0.999, 0.5, 1e-8, 0.01, 0.99


LRN = 3, 0.7, 0.75, 1.5
ARGUMENTS = {
    "adam_update": adam_update,
    "batch_norm": batch_norm,
    "batch_norm_grad": batch_norm_grad,
    "batch_norm_train": batch_norm_train,
    "batch_norm_stats": lambda a: (a.image(),),
    "concat": lambda a: ([a.image(), a.image()], 1),
    "conv2d": conv2d,
    "conv2d_input_grad": conv2d_input_grad,
    "conv2d_weight_grad": conv2d_weight_grad,
    "cross_entropy": lambda a: (a.image(), a.labels()),
    "cross_entropy_grad": lambda a: (a.image()[:, 0], a.image(), a.labels()),
    "dropout": lambda a: (a.image(), 0.4, 7),
    "gather_plane": gather_plane,
    "local_response_norm": lambda a: (a.image(), *LRN),
    "local_response_norm_grad": lambda a: (a.image(), a.image(), *LRN),
    "log_softmax": lambda a: (a.image(), 1),
    "matmul": lambda a: (a.image(), a.image().swapaxes(2, 3)),
    "max_pool2d": max_pool2d,
    "relu": lambda a: (a.image(),),
    "relu_grad": lambda a: (a.image(), a.image()),
    "resample2d": resample2d,
    "scatter_plane": scatter_plane,
    "sgd_update": lambda a: (*many(a, 3), 0.9, 0.7, 0.1, 0.01, True),
    "softmax": lambda a: (a.image(), 1),
    "sum": lambda a: (a.image(), (0, 2)),
    "sum_pixels": lambda a: (a.image(),),
}
# The same with other options, said after the name.
ARGUMENTS |= {
    "batch_norm without_relu": lambda a: (*batch_norm(a)[:-1], False),
    "batch_norm_train without_running": lambda a: (
        *batch_norm_train(a)[:3],
        (None, None),
        0.2,
        0.1,
    ),
    "batch_norm_grad without_relu": lambda a: batch_norm_grad(a)[:-1],
    "conv2d without_bias": lambda a: (*conv2d(a)[:2], None, *WINDOW),
    "conv2d_input_grad of_single_pixels": input_grad_of_single_pixels,
    "conv2d_weight_grad of_single_pixels": weight_grad_of_single_pixels,
    "max_pool2d without_indices": lambda a: (*max_pool2d(a)[:-1], False),
    "sgd_update heavy_ball": lambda a: (*many(a, 3), 0.9, 1, 0.1, 0, False),
    "sgd_update without_momentum": lambda a: (*many(a, 2), [None] * 3, 0, 1, 0.1, 0.01, False),
}


def arrays_of(value):
    """All arrays in a result or in arguments."""
    if isinstance(value, np.ndarray):
        return [value]
    return [a for v in value for a in arrays_of(v)] if isinstance(value, list | tuple) else []


def primitive(used, name):
    return getattr(used, name.split()[0])
