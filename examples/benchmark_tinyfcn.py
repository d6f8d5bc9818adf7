"""The work of ``benchmark.py`` in tinyfcn; ``benchmark_torch.py`` does the same in PyTorch.

A function of ``KINDS`` prepares one kind of work and gives back a function that does it once. Ops
run forward and backward, on activations laid out in memory as the layer before would leave them.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import threadpoolctl

import tinyfcn
import tinyfcn.functional as F
from tinyfcn import Tensor, backend, models, nn, optim
from tinyfcn.backend.counting import count_multiply_adds
from tinyfcn.backend.cpu import threads as cpu_threads

CLASSES = 21
Step = Callable[[], object]


def setup(threads: int, backend_name: str) -> dict[str, Any]:
    """Choose threads and backend; says what computes, and on what."""
    os.environ["TINYFCN_NUM_THREADS"] = str(threads)
    active = backend.use(backend_name)
    tinyfcn.manual_seed(0)
    blas = [pool for pool in threadpoolctl.threadpool_info() if pool["user_api"] == "blas"]
    return {
        "tinyfcn": tinyfcn.__version__,
        "numpy": np.__version__,
        "backend": active.name,
        "threads": threads,
        "cpu": cpu_name(),
        "blas": ", ".join(
            f"{pool['internal_api']} {pool['version']} with its {pool.get('architecture')} kernel"
            for pool in blas
        ),
    }


def synchronize() -> None:
    """Wait for a GPU; what it was given is not done when a step returns."""
    backend.active().synchronize()


def cpu_name() -> str:
    cpus = Path("/proc/cpuinfo")
    if cpus.exists():
        for line in cpus.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def count_flops(step: Step) -> int:
    """Do the work once; twice the multiply-adds of its convolutions, counted by their shapes."""
    with count_multiply_adds() as counted:
        step()
    return 2 * counted.total


def random(*shape: int, requires_grad: bool = False) -> Tensor:
    """Normal float32 numbers; with four axes channels-last in memory, as activations are."""
    draw = np.random.default_rng(0).standard_normal
    if len(shape) == 4:
        n, c, h, w = shape
        values = draw((n, h, w, c), np.float32).transpose(0, 3, 1, 2)
    else:
        values = draw(shape, np.float32)
    return tinyfcn.tensor(values, requires_grad=requires_grad)


def random_labels(n: int, h: int, w: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, CLASSES, (n, h, w))


def forward_backward(forward: Callable[[], Tensor], *leaves: Tensor) -> Step:
    """Run ``forward`` and hand a random gradient back to the leaves."""
    gy = random(*forward().shape)

    def step() -> None:
        for leaf in leaves:
            leaf.grad = None
        forward().backward(gy)

    return step


# ---- models ----


def infer(n: int, h: int, w: int, width: float = 1.0, batch_norm: bool = False) -> Step:
    model = models.fcn8s(num_classes=CLASSES, width=width, batch_norm=batch_norm).eval()
    images = random(n, 3, h, w)

    def step() -> None:
        with tinyfcn.no_grad():
            model(images)

    return step


def train(n: int, h: int, w: int, width: float = 1.0, batch_norm: bool = False) -> Step:
    model = models.fcn8s(num_classes=CLASSES, width=width, batch_norm=batch_norm)
    learned = [p for p in model.parameters() if p.requires_grad]
    optimizer = optim.SGD(learned, lr=1e-4, momentum=0.9, weight_decay=5e-4)
    images, labels = random(n, 3, h, w), random_labels(n, h, w)

    def step() -> None:
        optimizer.zero_grad()
        F.cross_entropy(model(images), labels, ignore_index=255).backward()
        optimizer.step()

    return step


def segnet_stage(n: int, c: int, h: int, w: int) -> Step:
    stage = nn.Sequential(nn.Conv2d(c, c, 3, padding=1), nn.BatchNorm2d(c), nn.ReLU())
    pooled, indices = F.max_pool2d(random(n, c, h, w), 2, return_indices=True)
    x = Tensor(pooled.data, requires_grad=True)

    def forward() -> Tensor:
        return stage(F.max_unpool2d(x, indices, 2, output_size=(h, w)))

    return forward_backward(forward, x, *stage.parameters())


# ---- ops ----


def conv(
    n: int, c: int, h: int, w: int, out: int, kernel: int, stride: int = 1, dilation: int = 1,
    groups: int = 1,
) -> Step:  # fmt: skip
    """A convolution that keeps the size, but for its stride; images, c = 3, need no gradient."""
    layer = nn.Conv2d(c, out, kernel, stride, dilation * (kernel // 2), dilation, groups)
    x = random(n, c, h, w, requires_grad=c != 3)
    return forward_backward(lambda: layer(x), x, *layer.parameters())


def relu(n: int, c: int, h: int, w: int) -> Step:
    x = random(n, c, h, w, requires_grad=True)
    return forward_backward(lambda: F.relu(x), x)


def max_pool(n: int, c: int, h: int, w: int) -> Step:
    x = random(n, c, h, w, requires_grad=True)
    return forward_backward(lambda: F.max_pool2d(x, 2), x)


def batch_norm(n: int, c: int, h: int, w: int) -> Step:
    x, layer = random(n, c, h, w, requires_grad=True), nn.BatchNorm2d(c)
    return forward_backward(lambda: layer(x), x, *layer.parameters())


def cross_entropy(n: int, h: int, w: int) -> Step:
    x, labels = random(n, CLASSES, h, w, requires_grad=True), random_labels(n, h, w)

    def step() -> None:
        x.grad = None
        F.cross_entropy(x, labels, ignore_index=255).backward()

    return step


def bilinear(n: int, h: int, w: int, factor: int) -> Step:
    layer = nn.ConvTranspose2d(
        CLASSES, CLASSES, 2 * factor, factor, factor // 2, groups=CLASSES, bias=False
    )
    nn.init.bilinear_(layer.weight)
    layer.requires_grad_(False)
    x = random(n, CLASSES, h, w, requires_grad=True)
    return forward_backward(lambda: layer(x), x)


def sgd(size: int) -> Step:
    weights = random(size, requires_grad=True)
    weights.grad = random(size)
    return optim.SGD([weights], lr=1e-4, momentum=0.9, weight_decay=5e-4).step


def adam(size: int) -> Step:
    weights = random(size, requires_grad=True)
    weights.grad = random(size)
    return optim.Adam([weights], lr=1e-4, weight_decay=5e-4).step


def sgemm(size: int) -> Step:
    """A matrix product, its rows shared out to the threads: what the machine can do."""
    a, b = random(size, size).data, random(size, size).data
    y = np.empty_like(a)
    rows = cpu_threads.blocks(size, -(-size // cpu_threads.num_threads()))

    def task(i: int) -> None:
        np.matmul(a[rows[i]], b, out=y[rows[i]])

    return lambda: cpu_threads.parallel_for(task, len(rows))


KINDS: dict[str, Callable[..., Step]] = {
    make.__name__: make
    for make in (
        infer, train, segnet_stage, conv, relu, max_pool, batch_norm, cross_entropy, bilinear, sgd,
        adam, sgemm,
    )
}  # fmt: skip
