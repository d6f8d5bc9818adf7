"""What every segmentation network owes its users, whatever is inside."""

import numpy as np
import pytest

import tinyfcn
import tinyfcn.functional as F
from tinyfcn import models, optim
from tinyfcn.cli.network import spec_of
from tinyfcn.cli.train_options import parse_options

NETWORKS = {
    "deconvnet": {"width": 1 / 16, "batch_norm": True},
    "deeplab_aspp": {"width": 1 / 16, "batch_norm": True},
    "deeplab_largefov": {"width": 1 / 16, "batch_norm": True},
    "dilation_context": {"width": 1 / 16, "batch_norm": True},
    "parsenet": {"width": 1 / 16, "batch_norm": True},
    "pspnet": {"width": 1 / 16, "aux_loss": False},
    "same_resolution": {"width": 1 / 8},
    "segnet": {"width": 1 / 16},
    "segnet_basic": {"width": 1 / 8},
    "sliding_window": {"width": 1 / 8},
    "unet": {"width": 1 / 16, "geometry": "aligned"},
}
every_network = pytest.mark.parametrize("name", NETWORKS)


def make(name, num_classes=3):
    return models.create(name, num_classes=num_classes, **NETWORKS[name])


def image(rng, *shape):
    return tinyfcn.tensor(rng.standard_normal(shape).astype(np.float32))


@every_network
def test_any_size_comes_back(rng, name):
    model = make(name).eval()
    with tinyfcn.no_grad():
        for height, width in ((1, 1), (2, 7), (23, 30), (45, 61), (64, 33)):
            y = model(image(rng, 1, 3, height, width))
            assert y.shape == (1, 3, height, width)
            assert np.isfinite(y.numpy()).all()


@every_network
def test_gradients_reach_every_parameter(rng, name):
    model = make(name)
    x = image(rng, 2, 3, 37, 50)
    x.requires_grad = True
    F.cross_entropy(model(x), rng.integers(0, 3, (2, 37, 50))).backward()
    for key, gradient in [("x", x.grad), *((k, p.grad) for k, p in model.named_parameters())]:
        assert gradient is not None, key
        assert np.isfinite(gradient.numpy()).all(), key
    weights = [p for k, p in model.named_parameters() if k.endswith("weight")]
    assert all(p.grad.numpy().any() for p in weights)


@pytest.mark.parametrize("name", [name for name in NETWORKS if name != "sliding_window"])
def test_it_learns_from_random_weights(rng, name):
    """Left and right half, told apart by their brightness; two images for batch normalization."""
    model = make(name, num_classes=2)
    labels = np.zeros((2, 40, 40), int)
    labels[0, :, 20:] = labels[1, :, :20] = 1
    x = tinyfcn.tensor((labels[:, None] - 0.5 + 0.1 * rng.random((2, 3, 40, 40))).astype("float32"))
    optimizer = optim.Adam(model.parameters(), lr=1e-2)
    losses = []
    for _ in range(25):
        loss = F.cross_entropy(model(x), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert np.mean(losses[-3:]) < 0.5 * losses[0]


@every_network
def test_images_of_other_channels(rng, name):
    """Only the first layer differs, and its weights keep He's variance."""
    plain = make(name)
    for channels in (1, 5):
        model = models.create(name, num_classes=3, in_channels=channels, **NETWORKS[name]).eval()
        with tinyfcn.no_grad():
            assert model(image(rng, 1, channels, 23, 30)).shape == (1, 3, 23, 30)
        with pytest.raises(ValueError, match=rf"{name}: expected images \(N, {channels}, H, W\)"):
            model(image(rng, 1, 3, 23, 30))
        first, *others = (
            (key, a.shape, b.shape)
            for (key, a), b in zip(
                model.state_dict().items(), plain.state_dict().values(), strict=True
            )
            if a.shape != b.shape
        )
        assert not others and first[1][1] == channels
        weight = model.state_dict()[first[0]]
        np.testing.assert_allclose(weight.std(), (2 / weight[0].size) ** 0.5, rtol=0.3)


@every_network
def test_errors(rng, name):
    with pytest.raises(ValueError, match=f"{name}: num_classes must be at least 1, got 0"):
        make(name, num_classes=0)
    with pytest.raises(ValueError, match=rf"{name}: expected images .*got shape \(1, 2, 8, 8\)"):
        make(name)(image(rng, 1, 2, 8, 8))


@every_network
def test_it_can_be_trained_from_the_command_line(rng, name):
    options = parse_options(["--model", name, "--width", "0.03125"])
    model = spec_of(options, ("background", "cat")).build().eval()
    with tinyfcn.no_grad():
        assert model(image(rng, 1, 3, 20, 31)).shape == (1, 2, 20, 31)
