"""U-Net: the published sizes and counts."""

import numpy as np
import pytest

import tinyfcn
import tinyfcn.functional as F
from tinyfcn import models, nn

TINY = 1 / 64


def image(rng, *shape):
    return tinyfcn.tensor(rng.standard_normal(shape).astype(np.float32))


def test_the_number_of_parameters_is_the_published_one(without_values):
    for geometry in ("reference", "aligned"):
        model = models.unet(in_channels=1, num_classes=2, geometry=geometry)
        assert nn.count_parameters(model) == 31_030_658
    layers = [m for m in model.modules() if isinstance(m, nn.Conv2d | nn.ConvTranspose2d)]
    assert len(layers) == 23


def test_sizes_are_the_published_ones(rng, monkeypatch):
    """572 in, 388 out, and what is cut off the maps that are handed over."""
    model = models.unet(in_channels=1, width=TINY).eval()
    crops = []
    crop = F.crop
    monkeypatch.setattr(
        F, "crop", lambda x, o, size: crops.append((x.shape[2], *size, *o)) or crop(x, o, size)
    )
    with tinyfcn.no_grad():
        assert model(image(rng, 1, 1, 572, 572)).shape == (1, 2, 388, 388)
    assert 572 - 2 * model.margin == 388
    assert crops == [
        (64, 56, 56, 4, 4), (136, 104, 104, 16, 16), (280, 200, 200, 40, 40),
        (568, 392, 392, 88, 88),
    ]  # fmt: skip


def test_a_score_without_padding_does_not_depend_on_what_is_around(rng):
    """The middle of a larger image has the scores of the middle alone."""
    model = models.unet(in_channels=1, width=TINY).eval()
    x = image(rng, 1, 1, 236, 252)
    with tinyfcn.no_grad():
        y, part = model(x).numpy(), model(x[:, :, 16:236, 32:220]).numpy()
    assert part.shape == (1, 2, 36, 4)
    assert np.allclose(y[:, :, 16:52, 32:36], part, rtol=1e-4, atol=1e-6)


def test_gradients_reach_every_parameter_without_padding(rng):
    model = models.unet(width=TINY)
    x = image(rng, 1, 3, 188, 204)
    F.cross_entropy(model(x), rng.integers(0, 2, (1, 4, 20))).backward()
    assert all(np.isfinite(p.grad.numpy()).all() for p in model.parameters())
    assert all(p.grad.numpy().any() for k, p in model.named_parameters() if k.endswith("weight"))


def test_batch_norm_follows_every_3_by_3_convolution():
    model = models.unet(width=TINY, batch_norm=True)
    assert sum(isinstance(m, nn.BatchNorm2d) for m in model.modules()) == 18


def test_errors(rng):
    for size in ((572, 570), (172, 188), (60, 60)):
        with pytest.raises(ValueError, match=rf"unet: .*16·b .*got {size[0]} x {size[1]}"):
            models.unet(width=TINY)(image(rng, 1, 3, *size))
    with pytest.raises(ValueError, match="geometry must be 'aligned' or 'reference', got 'tiled'"):
        models.unet(geometry="tiled")
    with pytest.raises(ValueError, match="in_channels must be an integer of at least 1, got 0"):
        models.unet(in_channels=0)


def test_the_window_is_the_least_image_that_scores_so_many_pixels(rng):
    model = models.unet(width=TINY).eval()
    valid = range(188, 620, 16)
    for side in (1, 4, 5, 20, 21, 387, 388, 389):
        assert model.window(side) == min(n for n in valid if n - 184 >= side)
    with tinyfcn.no_grad():
        assert model(image(rng, 1, 3, model.window(5), model.window(21))).shape == (1, 2, 20, 36)
    assert models.unet(width=TINY, geometry="aligned").window(37) == 37
