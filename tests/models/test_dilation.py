"""Yu and Koltun's network: published counts, sizes and receptive field; where scores lie."""

from fractions import Fraction

import numpy as np
import pytest

import tinyfcn
import tinyfcn.functional as F
from tinyfcn import models, nn
from tinyfcn.models.dilation import MARGIN, context_module
from tinyfcn.models.geometry import coordinate_map, output_size, receptive_field

TINY = 1 / 64


def image(rng, *shape):
    return tinyfcn.tensor(rng.standard_normal(shape).astype(np.float32))


def test_numbers_of_parameters_are_the_published_ones(without_values):
    model = models.dilation_context()
    front_end = nn.count_parameters(model.backbone) + nn.count_parameters(model.head)
    assert front_end == 134_346_581  # VGG16's, with a classifier of 21 classes
    for classes in (2, 21):
        expected = 64 * classes**2 + 8 * classes
        assert nn.count_parameters(context_module(classes)) == expected


def test_dilations_are_the_published_ones():
    model = models.dilation_context(width=TINY)
    convolutions = [m for m in [*model.backbone, *model.head] if isinstance(m, nn.Conv2d)]
    assert [m.dilation[0] for m in convolutions] == [1] * 10 + [2] * 3 + [4, 1, 1]
    assert sum(isinstance(m, nn.MaxPool2d) for m in model.backbone) == 3
    context = [m for m in model.context if isinstance(m, nn.Conv2d)]
    assert [m.dilation[0] for m in context] == [1, 1, 2, 4, 8, 16, 1, 1]
    # After each layer, table 1 of the paper.
    fields = [receptive_field(context[: i + 1])[0] for i in range(8)]
    assert fields == [3, 5, 9, 17, 33, 65, 67, 67]


def test_the_large_context_module_grows_and_shrinks():
    """Table 1 of the paper; for the 21 classes of VOC as in the released network."""
    layers = [m for m in context_module(21, "large") if isinstance(m, nn.Conv2d)]
    assert [m.out_channels for m in layers] == [42, 42, 84, 168, 336, 672, 672, 21]
    assert [m.kernel_size[0] for m in layers] == [3] * 7 + [1]


def test_the_margin_is_what_the_front_end_takes_away():
    """900 pixels with their margins give 66 scores, which is an eighth of the 528 without."""
    model = models.dilation_context(width=TINY, geometry="reference")
    layers = [model.backbone, model.head]
    assert output_size(layers, 900) == 66 == (900 - 2 * MARGIN) // 8
    place = coordinate_map(layers)
    # The first score is centred on pixel 186 + 3.5, the middle of its 8 pixels.
    assert place.scale * (MARGIN + Fraction(7, 2)) + place.shift == 0
    aligned = coordinate_map([*(m := models.dilation_context(width=TINY)).backbone, m.head])
    assert aligned.scale * Fraction(7, 2) + aligned.shift == 0


@pytest.mark.parametrize("size", [(1, 1), (9, 3), (100, 65)])
def test_any_size_comes_back_with_mirrors(rng, size):
    model = models.dilation_context(2, width=TINY, geometry="reference").eval()
    with tinyfcn.no_grad():
        assert model(image(rng, 1, 3, *size)).shape == (1, 2, *size)


@pytest.mark.parametrize(("kind", "noise"), [("basic", 1e-6), ("large", 0.05)])
def test_the_context_module_begins_as_the_identity(rng, kind, noise):
    module = context_module(3, kind)
    x = rng.random((1, 3, 20, 30)).astype(np.float32)
    assert np.abs(module(tinyfcn.tensor(x)).numpy() - x).max() < noise


def test_copies_in_the_large_module_do_not_stay_alike(rng):
    """Channels 0 and 1 of each layer begin as copies of one; their gradients must differ."""
    module = context_module(2, "large")
    x = tinyfcn.tensor(rng.random((1, 2, 20, 20)).astype(np.float32))
    F.cross_entropy(module(x), rng.integers(0, 2, (1, 20, 20))).backward()
    for layer in module[:14:2]:
        first, second, *_ = layer.weight.grad.numpy()
        assert np.abs(first - second).max() > 1e-6 * np.abs(first).max() > 0


def test_the_front_end_alone(rng):
    model = models.dilation_context(2, width=TINY, context=None).eval()
    both = models.dilation_context(2, width=TINY).eval()
    both.load_state_dict({**both.state_dict(), **model.state_dict()})
    x = image(rng, 1, 3, 40, 40)
    with tinyfcn.no_grad():
        scores = model.head(model.backbone(x))
        assert np.allclose(both.context(scores).numpy(), np.maximum(scores.numpy(), 0), atol=1e-6)


def test_errors():
    with pytest.raises(ValueError, match="geometry must be 'aligned' or 'reference', got 'x'"):
        models.dilation_context(geometry="x")
    with pytest.raises(ValueError, match="context must be 'basic', 'large' or None, got 'huge'"):
        models.dilation_context(context="huge")
