"""Tiles give the same scores as the whole image in one pass."""

import numpy as np
import pytest

import tinyfcn
from tinyfcn import models, nn
from tinyfcn.data import TORCHVISION
from tinyfcn.training.evaluation import predict
from tinyfcn.training.overlap_tile import overlap_tile, tile_for


@pytest.mark.parametrize("size", [(30, 47), (64, 64), (1, 5), (100, 3)])
@pytest.mark.parametrize("padding", [0, 1])
def test_there_are_no_seams(rng, size, padding):
    """Two 3 x 3 convolutions look 2 pixels far; with padding a margin of 2 is thrown away."""
    layers = [nn.Conv2d(3, 4, 3, padding=padding), nn.Tanh(), nn.Conv2d(4, 2, 3, padding=padding)]
    model = nn.Sequential(*layers).double()
    x = rng.standard_normal((2, 3, *size))
    mirrored = np.pad(x, ((0, 0), (0, 0), (2, 2), (2, 2)), "reflect")
    whole = nn.Sequential(*[nn.Conv2d(3, 4, 3), nn.Tanh(), nn.Conv2d(4, 2, 3)]).double()
    whole.load_state_dict(model.state_dict())
    y = overlap_tile(model, tinyfcn.tensor(x), tile=16, margin=2)
    assert not y.requires_grad
    assert np.allclose(y.numpy(), whole(tinyfcn.tensor(mirrored)).numpy(), rtol=1e-10, atol=1e-12)


def test_unet_in_tiles_is_unet_in_one_pass(rng):
    """One tile of 100 pixels against tiles of 36; the mode comes back."""
    model = models.unet(in_channels=1, width=1 / 64).double()
    x = rng.standard_normal((1, 1, 100, 90))
    y = overlap_tile(model, tinyfcn.tensor(x), tile=36).numpy()
    assert model.training
    borders = ((0, 0), (0, 0), (92, 92), (92, 102))
    with tinyfcn.no_grad():
        whole = model.eval()(tinyfcn.tensor(np.pad(x, borders, "reflect"))).numpy()
    # Pooling makes a score depend on its place modulo 16: where tiles begin at other places than
    # multiples of 16, the windows differ, so only the first tile and its own place are compared.
    assert np.allclose(y[:, :, :36, :36], whole[:, :, :36, :36], rtol=1e-9, atol=1e-12)
    assert y.shape == (1, 2, 100, 90)


def test_tiles_are_few_and_no_larger_than_needed():
    """Against all sides that U-Net can have, 4, 20, …, 388."""
    model = models.unet(width=1 / 64)
    sides = range(4, 389, 16)
    for longer in (1, 4, 5, 100, 388, 389, 512, 777, 2000):
        tiles = -(-longer // 388)
        assert tile_for(model, longer, 1) == tile_for(model, 1, longer)
        assert tile_for(model, longer, 1) == min(t for t in sides if t * tiles >= longer)


@pytest.mark.parametrize(("size", "tile"), [((37, 61), 68), ((1, 2), 4), ((30, 401), 212)])
def test_predict_labels_images_of_any_size_in_tiles(rng, size, tile):
    model = models.unet(num_classes=3, width=1 / 64)
    images = rng.integers(0, 256, (2, *size, 3)).astype(np.uint8)
    masks = predict(model, images, TORCHVISION)
    assert masks.shape == (2, *size)
    x = tinyfcn.tensor(np.stack([TORCHVISION.apply(image) for image in images]))
    assert np.array_equal(masks, overlap_tile(model, x, tile).numpy().argmax(axis=1))
    assert len(np.unique(masks)) > 1 or size == (1, 2)


def test_errors(rng):
    model = nn.Conv2d(3, 2, 3, stride=2)
    x = tinyfcn.tensor(rng.standard_normal((1, 3, 20, 20)).astype(np.float32))
    with pytest.raises(ValueError, match=r"window of 12 pixels the model gave scores of size"):
        overlap_tile(model, x, tile=8, margin=2)
    with pytest.raises(ValueError, match="tile must be at least 1 and margin at least 0, got 0"):
        overlap_tile(model, x, tile=0)
    with pytest.raises(ValueError, match=r"images must be \(N, C, H, W\), got shape \(3, 20, 20\)"):
        overlap_tile(model, x[0])
