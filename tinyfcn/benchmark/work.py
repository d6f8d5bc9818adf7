"""The work that is measured, the same for tinyfcn and its peers, and the lines of the table.

The first argument of a kind of work is the library, such as the module ``with_torch``. It prepares
the work and returns a function that does it once; ops run forward and backward. This file needs the
standard library alone, because the Python that has a peer may have nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

CLASSES = 21
Step = Callable[[], object]

# ---- models ----


def infer(lib: Any, n: int, h: int, w: int, **options: Any) -> Step:
    """FCN-8s in eval mode, without gradients."""
    model, images = lib.models.fcn8s(num_classes=CLASSES, **options).eval(), lib.normal(n, 3, h, w)
    run = lib.ready(model, model)

    def step() -> None:
        with lib.inference():
            run(images)

    return step


def train(
    lib: Any, n: int, h: int, w: int, network: str = "fcn8s", classes: int = CLASSES,
    margin: int = 0, adam: bool = False, **options: Any,
) -> Step:  # fmt: skip
    """A training step: forward, loss, backward, SGD or Adam. Scores cover all but the margin."""
    model = getattr(lib.models, network)(num_classes=classes, **options)
    for module in model.modules():
        if type(module).__name__ == "ASPPPooling":
            module.eval()  # one image has one number per channel there: nothing to normalize by
    learned = [p for p in model.parameters() if p.requires_grad]
    make = lib.optim.Adam if adam else partial(lib.optim.SGD, momentum=0.9)
    optimizer = make(learned, lr=1e-4, weight_decay=5e-4)
    images = lib.normal(n, 3, h, w)
    labels = lib.normal(n, classes, h - 2 * margin, w - 2 * margin).argmax(1)
    loss = lib.ready(
        lambda images: lib.F.cross_entropy(model(images), labels, ignore_index=255), model
    )

    def step() -> None:
        optimizer.zero_grad()
        loss(images).backward()
        optimizer.step()

    return step


def segnet_stage(lib: Any, n: int, c: int, h: int, w: int) -> Step:
    """A stage of SegNet's decoder: max unpooling, convolution, batch normalization, ReLU."""
    stage = lib.nn.Sequential(
        lib.nn.Conv2d(c, c, 3, padding=1), lib.nn.BatchNorm2d(c), lib.relu_layer()
    )
    x, indices = lib.F.max_pool2d(lib.normal(n, c, h, w), 2, return_indices=True)

    return _forward_backward(
        lib, lambda x: stage(lib.F.max_unpool2d(x, indices, 2, output_size=(h, w))),
        x.requires_grad_(), stage,
    )  # fmt: skip


# ---- ops ----


def conv(
    lib: Any, n: int, c: int, h: int, w: int, out: int, kernel: int, stride: int = 1,
    dilation: int = 1, groups: int = 1,
) -> Step:  # fmt: skip
    """A convolution that keeps the size, but for its stride; images, c = 3, need no gradient."""
    layer = lib.nn.Conv2d(c, out, kernel, stride, dilation * (kernel // 2), dilation, groups)
    x = lib.normal(n, c, h, w, requires_grad=c != 3)
    return _forward_backward(lib, layer, x, layer)


def relu(lib: Any, n: int, c: int, h: int, w: int) -> Step:
    """ReLU."""
    return _forward_backward(lib, lib.F.relu, lib.normal(n, c, h, w, requires_grad=True))


def max_pool(lib: Any, n: int, c: int, h: int, w: int) -> Step:
    """Max pooling, 2×2 with stride 2."""
    x = lib.normal(n, c, h, w, requires_grad=True)
    return _forward_backward(lib, lambda x: lib.F.max_pool2d(x, 2), x)


def batch_norm(lib: Any, n: int, c: int, h: int, w: int) -> Step:
    """Batch normalization by the statistics of the batch."""
    layer = lib.nn.BatchNorm2d(c)
    x = lib.normal(n, c, h, w, requires_grad=True)
    return _forward_backward(lib, layer, x, layer)


def bilinear(lib: Any, n: int, h: int, w: int, factor: int) -> Step:
    """Upsampling as in FCN: a transposed convolution, each class by itself, not learned."""
    layer = lib.nn.ConvTranspose2d(
        CLASSES, CLASSES, 2 * factor, factor, factor // 2, groups=CLASSES, bias=False
    )
    across = [1 - abs(i + 0.5 - factor) / factor for i in range(2 * factor)]
    for i, row in enumerate(across):
        for j, column in enumerate(across):
            layer.weight.data[:, :, i, j] = row * column
    x = lib.normal(n, CLASSES, h, w, requires_grad=True)
    return _forward_backward(lib, layer.requires_grad_(False), x, layer)


def cross_entropy(lib: Any, n: int, h: int, w: int) -> Step:
    """The loss of every pixel, averaged."""
    labels = lib.normal(n, CLASSES, h, w).argmax(1)
    x = lib.normal(n, CLASSES, h, w, requires_grad=True)
    return _forward_backward(lib, lambda x: lib.F.cross_entropy(x, labels, ignore_index=255), x)


def sgd(lib: Any, size: int) -> Step:
    """A step of SGD with momentum and weight decay."""
    return lib.optim.SGD([_with_grad(lib, size)], lr=1e-4, momentum=0.9, weight_decay=5e-4).step


def adam(lib: Any, size: int) -> Step:
    """A step of Adam with weight decay."""
    return lib.optim.Adam([_with_grad(lib, size)], lr=1e-4, weight_decay=5e-4).step


def sgemm(lib: Any, size: int) -> Step:
    """A matrix product: what the machine can do. tinyfcn's side alone measures it."""
    return lib.matrix_product(size)


def copy(lib: Any, size: int) -> Step:
    """A copy of so many numbers: how fast memory is. tinyfcn's side alone measures it."""
    return lib.copy(size)


def _forward_backward(lib: Any, op: Callable[[Any], Any], x: Any, *layers: Any) -> Step:
    """Run the op on x and hand a gradient back, any will do, to x and the layers' parameters."""
    run = lib.ready(op, *layers)
    gy = run(x).detach()
    leaves = [x, *(p for layer in layers for p in layer.parameters())]

    def step() -> None:
        for leaf in leaves:
            leaf.grad = None
        run(x).backward(gy)

    return step


def _with_grad(lib: Any, size: int) -> Any:
    weights = lib.normal(size, requires_grad=True)
    weights.grad = lib.normal(size)
    return weights


# ---- the lines of the table ----


@dataclass(frozen=True)
class Work:
    """One line of the table: what ``kind`` does with the arguments."""

    group: str
    name: str
    kind: Callable[..., Step]
    arguments: Mapping[str, Any]
    quick: bool = False


def _conv(name: str, size: int, c: int, out: int, quick: bool = False, **options: int) -> Work:
    sizes = {"n": 1, "c": c, "h": size, "w": size, "out": out, "kernel": 3, **options}
    images = f"{sizes['n']}x" if "n" in options else ""
    return Work("convolutions", f"{name} @ {images}{size}x{size}", conv, sizes, quick)


def _image(h: int, w: int, **options: Any) -> dict[str, Any]:
    return {"n": 1, "h": h, "w": w, **options}


SGEMM = Work("machine", "sgemm 2048", sgemm, {"size": 2048})
COPY = Work("machine", "copy 256 MiB", copy, {"size": 1 << 26})
QUARTER = {"n": 8, "width": 0.25, "batch_norm": True}
CAMVID = {**QUARTER, "classes": 11, "adam": True}
SCENES = {**CAMVID, "width": 0.125, "classes": 10}  # of the first command in README.md
UNET = {"network": "unet", "classes": 2, "margin": 92}  # mirrored, as it has no padding
SEGNET = {"network": "segnet", "classes": 11}
DEEPLAB = {"network": "deeplabv3_resnet50", "aux_loss": False}
WORK = [
    Work("networks", "infer fcn8s 256x256", infer, _image(256, 256), quick=True),
    Work("networks", "infer fcn8s 512x512", infer, _image(512, 512)),
    Work("networks", "infer fcn8s 1024x1024", infer, _image(1024, 1024)),
    Work("networks", "train fcn8s 256x256", train, _image(256, 256), quick=True),
    Work("networks", "train fcn8s 512x512", train, _image(512, 512)),
    Work("networks", "train fcn8s 375x500", train, _image(375, 500)),
    Work("networks", "train fcn8s/4 8x256x256", train, _image(256, 256, **QUARTER)),
    Work("networks", "train fcn8s/4 8x180x240", train, _image(180, 240, **CAMVID)),
    Work("networks", "train fcn8s/4 8x128x128", train, _image(128, 128, **CAMVID)),
    Work("networks", "train fcn8s/8 8x128x128", train, _image(128, 128, **SCENES)),
    Work("networks", "train unet 572x572", train, _image(572, 572, **UNET)),
    Work("networks", "train segnet 360x480", train, _image(360, 480, **SEGNET)),
    Work("networks", "train deeplabv3 513x513", train, _image(513, 513, **DEEPLAB)),
    Work("networks", "segnet stage 64x180x240", segnet_stage, _image(180, 240, c=64), quick=True),
    _conv("3x3 3-64", 256, 3, 64),
    _conv("3x3 8-8", 128, 8, 8, n=8),
    _conv("3x3 16-16", 256, 16, 16, n=8),
    _conv("3x3 32-32", 128, 32, 32, n=8),
    _conv("3x3 64-64", 128, 64, 64, n=4),
    _conv("3x3 64-64", 256, 64, 64),
    _conv("3x3 64-128", 128, 64, 128),
    _conv("3x3 128-128", 128, 128, 128),
    _conv("3x3 256-256", 64, 256, 256, quick=True),
    _conv("3x3 512-512", 32, 512, 512),
    _conv("3x3 512-512", 16, 512, 512),
    _conv("fc6 7x7 512-4096", 16, 512, 4096, kernel=7),
    _conv("fc7 1x1 4096-4096", 16, 4096, 4096, kernel=1),
    _conv("stride 2 256-256", 64, 256, 256, stride=2, quick=True),
    _conv("dilation 2 256-256", 64, 256, 256, dilation=2, quick=True),
    _conv("dilation 4 256-256", 64, 256, 256, dilation=4),
    _conv("stride 2 7x7 3-64", 224, 3, 64, n=8, kernel=7, stride=2),
    _conv("1x1 64-256", 56, 64, 256, n=8, kernel=1),
    _conv("depthwise 128", 64, 128, 128, groups=128, quick=True),
    _conv("depthwise 64, stride 2", 112, 64, 64, n=8, groups=64, stride=2),
    _conv("32 groups 128-128", 56, 128, 128, n=8, groups=32),
    Work("other ops", "relu 64x256x256", relu, _image(256, 256, c=64)),
    Work("other ops", "max pool 64x256x256", max_pool, _image(256, 256, c=64)),
    Work("other ops", "batch norm 64x256x256", batch_norm, _image(256, 256, c=64)),
    Work("other ops", "bilinear x8 21x64x64", bilinear, _image(64, 64, factor=8)),
    Work("other ops", "cross entropy 21x512x512", cross_entropy, _image(512, 512)),
    Work("other ops", "sgd 16 M weights", sgd, {"size": 1 << 24}),
    Work("other ops", "adam 16 M weights", adam, {"size": 1 << 24}),
]
