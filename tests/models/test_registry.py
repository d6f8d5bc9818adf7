"""Networks register themselves; what they are asked for has one signature and one check."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import tinyfcn
from tinyfcn import Tensor, models, nn
from tinyfcn.models import registry
from tinyfcn.models.network import SegmentationNetwork, as_network
from tinyfcn.models.registry import entry, member, register


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What a test registers is forgotten after it."""
    monkeypatch.setattr(registry, "_NETWORKS", dict(registry._NETWORKS))
    yield


class Tiny(SegmentationNetwork):
    """One convolution."""

    def __init__(self, num_classes: int = 2, width: float = 1.0) -> None:
        self.score = nn.Conv2d(3, num_classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.score(x)


def image(*shape: int) -> Tensor:
    return tinyfcn.tensor(np.zeros(shape, np.float32))


@pytest.mark.usefixtures("registered")
def test_a_class_or_a_function_becomes_a_network() -> None:
    tiny = register("segmentation", source="me", name="tiny")(Tiny)

    @register("classification", source="me", side=32, forms=[{"width": 2.0}])
    def tiny_classifier(num_classes: int = 10, width: float = 1.0) -> nn.Sequential:
        """Its docstring."""
        return nn.Sequential(nn.Flatten(), nn.Linear(3, num_classes))

    assert models.names()[-2:] == ["tiny", "tiny_classifier"]
    assert (models.is_classifier("tiny"), models.is_classifier("tiny_classifier")) == (False, True)
    assert (entry("tiny").side, entry("tiny_classifier").side) == (500, 32)
    assert (entry("tiny").classes, entry("tiny_classifier").classes) == (21, 1000)
    assert (entry("fcn8s").side, entry("caffenet").side) == (500, 227)
    assert tiny_classifier.__doc__ == "Its docstring."
    made = models.create("tiny", num_classes=3)
    assert isinstance(made, Tiny) and (made.name, made.num_classes) == ("tiny", 3)
    assert tiny().num_classes == 2
    own = "(num_classes: 'int' = 2, width: 'float' = 1.0, *, in_channels: 'int' = 3) -> 'Tiny'"
    assert str(inspect.signature(tiny)) == own
    for make in (tiny, tiny_classifier):
        for arguments in ((0,), (-1, 0.5)):
            told = f"^{make.__name__}: num_classes must be at least 1, got {arguments[0]}$"
            with pytest.raises(ValueError, match=told):
                make(*arguments)
    with pytest.raises(
        ValueError, match=r"^tiny: expected images \(N, 3, H, W\), got shape \(1, 4"
    ):
        tiny()(image(1, 4, 5, 5))
    with pytest.raises(ValueError, match=r"^Tiny: expected images"):
        Tiny()(image(1, 4, 5, 5))


def test_every_network_is_registered_once_and_in_order() -> None:
    names = models.names()
    assert names[:4] == ["fcn32s", "fcn16s", "fcn8s", "alexnet"]

    def natural(name: str) -> tuple[Any, ...]:
        """resnet18 before resnet101: by the word, then by the number."""
        word = name.rstrip("0123456789")
        return word, int(name[len(word) :] or 0)

    others = [name.replace("_bn", "") for name in names[3:]]
    assert others == sorted(others, key=natural)
    for name in names:
        make = entry(name).make
        assert make is getattr(models, name)
        assert make.__name__ == name and make.__doc__
        assert "num_classes" in entry(name).takes
        made = make.__annotations__.get("return") or inspect.signature(make).return_annotation
        labels_images = made in ("nn.Sequential", "GoogLeNet")
        assert models.is_classifier(name) == labels_images
    with pytest.raises(ValueError, match=r"^models: expected one of fcn32s, .*, got 'fcn9s'$"):
        models.create("fcn9s")


def test_networks_of_a_family_share_one_signature() -> None:
    """As they were written out when each had its own."""
    fcn = (
        "(backbone: 'str' = 'vgg16', num_classes: 'int' = 21, width: 'float' = 1.0, "
        "batch_norm: 'bool' = False, geometry: 'str' = 'aligned', at_once: 'bool' = False, "
        "dropout: 'float' = 0.5, learn_upsampling: 'bool' = False, recompute: 'bool' = False, "
        "*, in_channels: 'int' = 3) -> 'FCN'"
    )
    for make in (models.fcn32s, models.fcn16s, models.fcn8s):
        assert str(inspect.signature(make)) == fcn
    assert models.fcn16s("vgg11", 3, 1 / 64, True).num_classes == 3
    vgg = "(num_classes: 'int' = 1000, width: 'float' = 1.0, batch_norm: 'bool' = False, "
    vgg += "dropout: 'float' = 0.5, *, in_channels: 'int' = 3) -> 'nn.Sequential'"
    for make in (models.vgg11, models.vgg13, models.vgg16, models.vgg19):
        assert str(inspect.signature(make)) == vgg
    with pytest.raises(TypeError, match="widht"):
        models.fcn8s(widht=1.0)  # type: ignore[call-arg]


@pytest.mark.usefixtures("registered")
def test_a_member_of_a_family_has_the_other_arguments() -> None:
    def family(depth: int, num_classes: int, *, width: float = 1.0) -> nn.Identity:
        """Its docstring."""
        assert depth == 18
        return nn.Identity()

    shallow = register("classification", source="me", name="shallow")(member(family, 18))
    expected = "(num_classes: 'int', *, width: 'float' = 1.0, in_channels: 'int' = 3) -> "
    expected += "'nn.Identity'"
    assert str(inspect.signature(shallow)) == expected
    assert (shallow.__name__, shallow.__doc__) == ("shallow", "Its docstring.")
    assert isinstance(models.create("shallow", num_classes=2, width=2.0), nn.Identity)
    with pytest.raises(ValueError, match=r"^shallow: num_classes must be at least 1, got 0$"):
        shallow(0)


@pytest.mark.parametrize("name", models.names())
def test_published_settings_name_arguments_of_the_network(name: str) -> None:
    presets = entry(name).presets
    for preset in presets:
        assert preset["optimizer"] == "sgd"
        assert not ("backbone" in preset and "backbone" not in entry(name).takes)
        assert {"epochs", "iterations"} & preset.keys() or name == "unet"
    # Where there are several, an option tells them apart.
    told = [(preset.get("backbone"), preset.get("at_once")) for preset in presets]
    assert len(set(told)) == len(told)


def test_the_defaults_of_a_network() -> None:
    network = Tiny()
    assert (network.margin, dict(network.auxiliary), network.window(37)) == (0, {}, 37)
    x = image(1, 3, 4, 5)
    np.testing.assert_array_equal(network.outputs(x)["out"].numpy(), network(x).numpy())
    assert as_network(network) is network
    # A window's side is not the method: crops can be taken for every network.
    assert models.sliding_window(width=1 / 8).window(5) == 5


class Own(nn.Module):
    """A user's module that knows nothing of the base class, with a margin and two heads."""

    margin = 2

    def __init__(self) -> None:
        self.auxiliary = {"early": 0.25}
        self.score = nn.Conv2d(3, 2, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.score(x)

    def outputs(self, x: Tensor) -> dict[str, Tensor]:
        return {"out": self(x), "early": self(x) * 2}


def test_a_users_own_module_needs_no_base_class() -> None:
    own, x = Own(), image(1, 3, 9, 9)
    network = as_network(own)
    assert (network.margin, network.auxiliary) == (2, {"early": 0.25})
    assert network.window(7) == 7
    assert network.outputs(x).keys() == {"out", "early"}
    plain = as_network(nn.Conv2d(3, 2, 1))
    assert (plain.margin, dict(plain.auxiliary)) == (0, {})
    assert plain.outputs(x)["out"].shape == (1, 2, 9, 9)
    grey = as_network(nn.Conv2d(1, 2, 1))
    assert grey(image(1, 1, 9, 9)).shape == (1, 2, 9, 9)


def test_images_are_checked_before_every_call() -> None:
    tiny = Tiny()
    for wrong in (image(1, 1, 9, 9), image(3, 9, 9)):
        for call in (lambda x: tiny(x), lambda x: tiny(x=x), tiny.outputs):
            with pytest.raises(ValueError, match=r"^Tiny: expected images \(N, 3, H, W\), got"):
                call(wrong)
