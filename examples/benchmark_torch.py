"""The work of ``benchmark.py`` in PyTorch: what ``benchmark_tinyfcn.py`` does, layer for layer.

Needs PyTorch and nothing else, tinyfcn included. Memory is laid out as PyTorch does by default.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

CLASSES = 21
STAGES = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))  # VGG16: (channels, convolutions)
Step = Callable[[], object]


def setup(threads: int, backend_name: str) -> dict[str, Any]:
    """Choose the threads, and the GPU if our side computes on one."""
    torch.set_num_threads(threads)
    if backend_name == "cupy":
        if not torch.cuda.is_available():
            raise ValueError("--backend cupy: this PyTorch finds no GPU to compare with")
        torch.set_default_device("cuda")
    torch.manual_seed(0)
    return {"torch": torch.__version__, "threads": torch.get_num_threads()}


def synchronize() -> None:
    """Wait for a GPU; what it was given is not done when a step returns."""
    if torch.get_default_device().type == "cuda":
        torch.cuda.synchronize()


def count_flops(step: Step) -> None:
    """Do the work once; tinyfcn's side counts."""
    step()


def forward_backward(forward: Callable[[], Tensor], *leaves: Tensor) -> Step:
    gy = torch.randn_like(forward())

    def step() -> None:
        for leaf in leaves:
            leaf.grad = None
        forward().backward(gy)

    return step


# ---- models ----


class FCN8s(nn.Module):
    """FCN-8s on VGG16 in aligned geometry; see ``tinyfcn/models/fcn.py``."""

    def __init__(self, width: float, batch_norm: bool) -> None:
        super().__init__()

        def block(c: int, out: int, kernel: int) -> list[nn.Module]:
            conv = nn.Conv2d(c, out, kernel, padding=kernel // 2)
            nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
            return [conv, *([nn.BatchNorm2d(out)] if batch_norm else []), nn.ReLU(inplace=True)]

        self.stages, c = nn.ModuleList(), 3
        for channels, convolutions in STAGES:
            layers: list[nn.Module] = []
            for _ in range(convolutions):
                layers += block(c, round(channels * width), 3)
                c = round(channels * width)
            self.stages.append(nn.Sequential(*layers, nn.MaxPool2d(2, ceil_mode=True)))
        hidden = round(4096 * width)
        self.head = nn.Sequential(
            *block(c, hidden, 7), nn.Dropout(), *block(hidden, hidden, 1), nn.Dropout(),
            scoring(hidden),
        )  # fmt: skip
        self.score4, self.score3 = scoring(c), scoring(round(256 * width))
        self.up2, self.up4, self.up8 = upsampling(2), upsampling(2), upsampling(8)

    def forward(self, x: Tensor) -> Tensor:
        pools, y = [], x
        for stage in self.stages:
            y = stage(y)
            pools.append(y)
        y = add_overlap(self.up2(self.head(y)), self.score4(pools[3]))
        y = add_overlap(self.up4(y), self.score3(pools[2]))
        return self.up8(y)[:, :, : x.shape[2], : x.shape[3]]


def scoring(c: int) -> nn.Module:
    layer = nn.Conv2d(c, CLASSES, 1)
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return layer


def upsampling(factor: int) -> nn.Module:
    """Bilinear enlargement, each class by itself, not learned."""
    layer = nn.ConvTranspose2d(
        CLASSES, CLASSES, 2 * factor, factor, factor // 2, groups=CLASSES, bias=False
    )
    kernel = 1 - (torch.arange(2 * factor) - (factor - 0.5)).abs() / factor
    layer.weight.data.copy_(torch.outer(kernel, kernel))
    return layer.requires_grad_(False)


def add_overlap(y: Tensor, finer: Tensor) -> Tensor:
    h, w = min(y.shape[2], finer.shape[2]), min(y.shape[3], finer.shape[3])
    return y[:, :, :h, :w] + finer[:, :, :h, :w]


def infer(n: int, h: int, w: int, width: float = 1.0, batch_norm: bool = False) -> Step:
    model, images = FCN8s(width, batch_norm).eval(), torch.randn(n, 3, h, w)

    def step() -> None:
        with torch.inference_mode():
            model(images)

    return step


def train(n: int, h: int, w: int, width: float = 1.0, batch_norm: bool = False) -> Step:
    model = FCN8s(width, batch_norm)
    learned = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD(learned, lr=1e-4, momentum=0.9, weight_decay=5e-4)
    images, labels = torch.randn(n, 3, h, w), torch.randint(CLASSES, (n, h, w))

    def step() -> None:
        optimizer.zero_grad()
        F.cross_entropy(model(images), labels, ignore_index=255).backward()
        optimizer.step()

    return step


def segnet_stage(n: int, c: int, h: int, w: int) -> Step:
    conv, norm = nn.Conv2d(c, c, 3, padding=1), nn.BatchNorm2d(c)
    x, indices = F.max_pool2d(torch.randn(n, c, h, w), 2, return_indices=True)
    x.requires_grad_()

    def forward() -> Tensor:
        y = norm(conv(F.max_unpool2d(x, indices, (2, 2), output_size=[h, w])))
        return F.relu(y, inplace=True)

    return forward_backward(forward, x, *conv.parameters(), *norm.parameters())


# ---- ops ----


def conv(
    n: int, c: int, h: int, w: int, out: int, kernel: int, stride: int = 1, dilation: int = 1,
    groups: int = 1,
) -> Step:  # fmt: skip
    layer = nn.Conv2d(c, out, kernel, stride, dilation * (kernel // 2), dilation, groups)
    x = torch.randn(n, c, h, w, requires_grad=c != 3)
    return forward_backward(lambda: layer(x), x, *layer.parameters())


def relu(n: int, c: int, h: int, w: int) -> Step:
    x = torch.randn(n, c, h, w, requires_grad=True)
    return forward_backward(lambda: F.relu(x), x)


def max_pool(n: int, c: int, h: int, w: int) -> Step:
    x = torch.randn(n, c, h, w, requires_grad=True)
    return forward_backward(lambda: F.max_pool2d(x, 2), x)


def batch_norm(n: int, c: int, h: int, w: int) -> Step:
    x, layer = torch.randn(n, c, h, w, requires_grad=True), nn.BatchNorm2d(c)
    return forward_backward(lambda: layer(x), x, *layer.parameters())


def cross_entropy(n: int, h: int, w: int) -> Step:
    x = torch.randn(n, CLASSES, h, w, requires_grad=True)
    labels = torch.randint(CLASSES, (n, h, w))

    def step() -> None:
        x.grad = None
        F.cross_entropy(x, labels, ignore_index=255).backward()

    return step


def bilinear(n: int, h: int, w: int, factor: int) -> Step:
    layer, x = upsampling(factor), torch.randn(n, CLASSES, h, w, requires_grad=True)
    return forward_backward(lambda: layer(x), x)


def sgd(size: int) -> Step:
    weights = torch.randn(size, requires_grad=True)
    weights.grad = torch.randn(size)
    return torch.optim.SGD([weights], lr=1e-4, momentum=0.9, weight_decay=5e-4).step


def adam(size: int) -> Step:
    weights = torch.randn(size, requires_grad=True)
    weights.grad = torch.randn(size)
    return torch.optim.Adam([weights], lr=1e-4, weight_decay=5e-4).step


KINDS: dict[str, Callable[..., Step]] = {
    make.__name__: make
    for make in (
        infer, train, segnet_stage, conv, relu, max_pool, batch_norm, cross_entropy, bilinear, sgd,
        adam,
    )
}  # fmt: skip
