"""Tiles give the scores of the whole image in one pass."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import tinyfcn
import tinyfcn.functional as F
from tinyfcn import Tensor, models, nn
from tinyfcn.data import TORCHVISION, DataError
from tinyfcn.models.network import as_network
from tinyfcn.training import overlap_tile as module
from tinyfcn.training.evaluation import label, predict
from tinyfcn.training.overlap_tile import Plan, bytes_per_pixel, find_contexts, overlap_tile, plan
from tinyfcn.training.segmenter import Averaged

RNG = np.random.default_rng(0)


def lively(model: nn.Module) -> nn.Module:
    """Random weights with which every layer has its say, those too that begin at zero."""
    for p in model.parameters():
        size = math.sqrt(2 / np.prod(p.shape[1:])) if p.ndim > 1 else 0.05
        p.data[...] = RNG.normal(0, size, p.shape) + (p.ndim == 1)
    for name, buffer in model.named_buffers():
        if buffer.dtype.kind == "f":
            buffer.data[...] = RNG.uniform(0.5, 1.5, buffer.shape) if "var" in name else 0.1
    return model


def share(model: nn.Module, pixels: int) -> float:
    """Bytes that suffice for seven tenths of an image."""
    return 0.7 * pixels * module.SCRATCH * bytes_per_pixel(model, 3)


def one_pass(model: nn.Module, x: np.ndarray) -> np.ndarray:
    """The whole image at once, mirrored where the model has a margin."""
    network = as_network(model)
    margin, sizes = network.margin, x.shape[2:]
    borders = [(margin, network.window(n) - n - margin) for n in sizes]
    x = np.pad(x, [(0, 0), (0, 0), *borders], "reflect")
    with tinyfcn.no_grad():
        y = model.eval()(tinyfcn.tensor(x)).numpy()
    return y[:, :, : sizes[0], : sizes[1]]


# Arguments, a tile, and how many random sizes are tried.
NETWORKS: list[tuple[str, dict[str, Any], int, int]] = [
    ("fcn8s", {}, 96, 20),
    ("fcn8s", {"geometry": "reference"}, 160, 4),
    ("fcn8s", {"backbone": "resnet18"}, 160, 4),
    ("fcn32s", {"backbone": "caffenet", "geometry": "reference"}, 128, 4),
    ("segnet", {}, 96, 20),
    ("segnet_basic", {}, 48, 4),
    ("deconvnet", {}, 96, 4),
    ("unet", {"width": 1 / 16}, 68, 20),
    ("unet", {"geometry": "aligned", "width": 1 / 16}, 48, 20),
    ("deeplab_largefov", {}, 64, 20),
    ("deeplab_aspp", {}, 64, 4),
    ("dilation_context", {}, 128, 4),
]


@pytest.mark.parametrize(("name", "arguments", "tile", "sizes"), NETWORKS)
def test_tiles_are_one_pass(name: str, arguments: dict[str, Any], tile: int, sizes: int) -> None:
    """Random sizes, long and thin so that they are quick, one way or the other."""
    random = np.random.default_rng(0)
    arguments = {"num_classes": 3, "width": 1 / 64, **arguments}
    model = lively(models.create(name, **arguments))
    context = find_contexts(model, 3, (640, 640))[0][0]
    for way in [-1, 1] * (sizes // 2):
        longer = context.last - context.first + random.integers(2, 2 * tile)
        size = (int(longer), int(random.integers(1, 10)))[::way]
        x = random.standard_normal((1, 3, *size)).astype(np.float32)
        y, whole = overlap_tile(model, Tensor(x), 2 * tile).numpy(), one_pass(model, x)
        assert np.abs(y - whole).max() <= 1e-5 * np.abs(whole).max()
        assert np.array_equal(y.argmax(1), whole.argmax(1))
        assert len(np.unique(whole)) > 50


@pytest.mark.parametrize(("name", "scales"), [("segnet", (0.75, 1, 1.25)), ("unet", (1, 1, 1))])
def test_averages_in_tiles_are_those_of_one_pass(name: str, scales: tuple[float, ...]) -> None:
    model = lively(models.create(name, num_classes=3, width=1 / 64))
    average = Averaged(model, [*zip(scales, (False, True, False), strict=True)])
    x = tinyfcn.tensor(RNG.standard_normal((1, 3, 9, 701)).astype(np.float32))
    y, whole = overlap_tile(average, x, 256).numpy(), overlap_tile(average, x).numpy()
    assert np.allclose(np.exp(y), np.exp(whole), atol=1e-5)
    assert np.allclose(np.exp(whole).sum(1), 1, atol=1e-5)
    assert find_contexts(average, 3, (9, 701))[1] == (name != "unet")  # nobody knows its mirror


class Small(nn.Module):
    """Looks 10 pixels far, with a stride of 4 and all that makes borders differ."""

    def __init__(self) -> None:
        self.first = nn.Conv2d(3, 4, 3, padding=2)
        self.coarse = nn.Conv2d(4, 4, 3, padding=1)
        self.score = nn.Conv2d(8, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        fine = F.crop(self.first(x).tanh(), (2, 1), x.shape[2:])
        y = F.max_pool2d(fine, 3, stride=2, padding=1, ceil_mode=True)
        y = F.unpool_nearest(F.max_pool2d(self.coarse(y), 2, ceil_mode=True), 4)
        return self.score(F.cat([fine, F.crop(y, 0, x.shape[2:])], 1))


@pytest.mark.parametrize("number", range(20))
def test_tiles_along_both_axes(number: int) -> None:
    random = np.random.default_rng(number)
    model, size = lively(Small()), random.integers(1, 60, 2)
    x = random.standard_normal((2, 3, *size)).astype(np.float32)
    y, whole = overlap_tile(model, Tensor(x), int(random.integers(1, 20))), one_pass(model, x)
    assert not y.requires_grad
    assert np.allclose(y.numpy(), whole, rtol=0, atol=1e-5 * np.abs(whole).max())


def test_contexts_are_those_of_the_layers() -> None:
    """Against what changes when a pixel does."""
    model = lively(Small()).double()
    (context, across), exact = find_contexts(model, 3, (57, 83))
    assert exact and context.stride == across.stride == 4
    x = RNG.standard_normal((1, 3, 60, 57))
    with tinyfcn.no_grad():
        before = model(Tensor(x)).numpy()
        seen = []
        for row in range(24, 28):
            x[0, :, row] += 100 * RNG.standard_normal((3, 57))
            rows = np.flatnonzero((model(Tensor(x)).numpy() != before).any((0, 1, 3)))
            before = model(Tensor(x)).numpy()
            seen.append((row - rows[-1], row - rows[0]))
    assert context.first <= min(first for first, _ in seen) < context.first + 4
    assert context.last >= max(last for _, last in seen) > context.last - 4


@pytest.mark.parametrize("name", ["fcn8s", "segnet", "unet", "deeplab_largefov"])
def test_flat_areas_in_float32(name: str) -> None:
    """There all values under a pooling are equal, but for how they are rounded."""
    random = np.random.default_rng(0)
    model = lively(models.create(name, num_classes=3, width=1 / 16))
    for size in (400, 20), (20, 400):
        blocks = random.standard_normal((1, 3, *(-(-n // 100) for n in size)))
        x = np.kron(blocks, np.ones((100, 100)))[:, :, : size[0], : size[1]].astype(np.float32)
        model.train()
        y = overlap_tile(model, Tensor(x), 96).numpy()
        assert model.training
        whole = one_pass(model, x)
        assert np.abs(y - whole).max() <= 1e-5 * np.abs(whole).max()
        assert np.array_equal(y.argmax(1), whole.argmax(1))


@pytest.mark.parametrize(
    ("name", "size", "exact"),
    [
        ("pspnet", (640, 640), False),
        ("deeplabv3_resnet50", (640, 640), False),
        ("parsenet", (640, 640), False),
        ("fcn_resnet50", (1000, 776), True),
        ("fcn_resnet50", (1000, 777), False),
        ("deeplab_largefov", (999, 777), True),
    ],
)
def test_networks_that_look_at_the_whole_image_are_known(
    name: str, size: tuple[int, int], exact: bool
) -> None:
    model = models.create(name, num_classes=2, width=1 / 64)
    contexts, found = find_contexts(model, 3, size)
    assert found is exact
    assert (contexts == (module.UNKNOWN,) * 2) == (name not in ("fcn_resnet50", "deeplab_largefov"))


def test_tiles_of_networks_that_look_at_the_whole_image_cover_it() -> None:
    model = lively(models.create("pspnet", num_classes=3, width=1 / 64))
    image = RNG.integers(0, 256, (70, 900, 3)).astype(np.uint8)
    masks, way, _ = label(model, [image], TORCHVISION, share(model, 63_000))
    assert way.tiles > 1 and not way.exact and np.isin(masks, range(3)).all()


@pytest.mark.parametrize("size", [(700, 900), (64, 6000), (6000, 64), (2000, 3000)])
@pytest.mark.parametrize("name", ["fcn8s", "unet"])
def test_windows_fit_into_the_memory_that_is_given(name: str, size: tuple[int, int]) -> None:
    model = models.create(name, num_classes=2, width=1 / 64)
    network = as_network(model)
    each = bytes_per_pixel(model, 3) * module.SCRATCH
    for most in (1e6 * each, 0.5e6 * each):
        way = plan(model, (1, 3, *size), most)
        axes = zip(size, way.tile, way.contexts, strict=True)
        windows = [[len(cut[0]) for cut in module._cuts(network, *axis)] for axis in axes]
        assert max(windows[0]) * max(windows[1]) * each <= most
        assert (way.tiles == 1) == (network.window(size[0]) * network.window(size[1]) * each < most)
    assert plan(model, (1, 3, 300, 300)) == Plan((300, 300), (300, 300))
    with pytest.raises(
        DataError, match=rf"a window of {name} takes .* GB at least, and .* allowed"
    ):
        plan(model, (1, 3, *size), 1000)


def test_no_more_than_about_twice_the_work_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LITTLE", 1)
    model = models.fcn8s(num_classes=2, width=1 / 64)
    way = plan(model, (1, 3, 4000, 5000))
    axes = zip(way.size, way.tile, way.contexts, strict=True)
    work = [sum(len(cut[0]) for cut in module._cuts(as_network(model), *axis)) for axis in axes]
    assert way.tiles > 4
    assert work[0] * work[1] < 2.3 * 4000 * 5000


def test_predict_in_tiles_is_predict(capsys: pytest.CaptureFixture[str]) -> None:
    model = lively(models.create("segnet_basic", num_classes=5, width=1 / 16))
    image = RNG.integers(0, 256, (100, 500, 3)).astype(np.uint8)
    whole = predict(model, [image], TORCHVISION)
    masks, way, _ = label(model, [image], TORCHVISION, share(model, 50_000), progress=True)
    assert way.tiles > 1 and way.exact
    assert np.array_equal(masks, whole)
    assert "tiles   0%" in capsys.readouterr().err


def test_errors(rng: np.random.Generator) -> None:
    model = nn.Conv2d(3, 2, 3, stride=2)
    x = tinyfcn.tensor(rng.standard_normal((1, 3, 20, 20)).astype(np.float32))
    with pytest.raises(ValueError, match=r"gave logits \(1, 2, 9, 9\) for images \(1, 3, 20, 20\)"):
        overlap_tile(model, x)
    with pytest.raises(ValueError, match="tile must be an integer of at least 1, got 0"):
        overlap_tile(model, x, 0)
    with pytest.raises(ValueError, match=r"images must be \(N, C, H, W\), got shape \(3, 20, 20\)"):
        overlap_tile(model, x[0])
