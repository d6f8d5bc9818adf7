"""FCNs on AlexNet, CaffeNet, GoogLeNet, ResNet and the other VGGs: counts, sizes, alignment."""

import numpy as np
import pytest

import tinyfcn
import tinyfcn.functional as F
from tinyfcn import models, nn
from tinyfcn.models.geometry import output_size, receptive_field
from tinyfcn.training.model_spec import copy_matching
from tinyfcn.without_values import empty_images, without_values

MAKERS = {32: models.fcn32s, 16: models.fcn16s, 8: models.fcn8s}
SMALL = 1 / 16

# What there is: backbone, stride, geometry. VGG16 is in test_fcn.py.
NETWORKS = [
    ("alexnet", 32, "aligned"), ("alexnet", 32, "reference"),
    ("caffenet", 32, "aligned"), ("caffenet", 32, "reference"),
    ("googlenet", 32, "aligned"), ("googlenet", 16, "aligned"), ("googlenet", 8, "aligned"),
    ("resnet18", 32, "aligned"), ("resnet18", 8, "aligned"),
    ("resnet50", 32, "aligned"), ("resnet50", 8, "aligned"),
    ("vgg11", 8, "aligned"), ("vgg19", 8, "reference"),
]  # fmt: skip


def make(backbone, stride, geometry, width=SMALL, **arguments):
    return MAKERS[stride](backbone, 2, width, geometry=geometry, **arguments).eval()


def image(rng, height, width):
    return tinyfcn.tensor(rng.standard_normal((1, 3, height, width)).astype(np.float32))


# The published FCN-AlexNet along one side of n pixels: conv1, pool1, pool2, pool5; fc6; 32 times
# upsampled (cut off at the end).
ALEXNET = {
    227: ([105, 52, 26, 13], 8, (287, 42)),
    384: (None, 13, (447, 45)),
    500: ([173, 86, 43, 21], 16, (543, 25)),
}


@pytest.mark.parametrize("backbone", ["alexnet", "caffenet"])
def test_the_published_fcn_alexnet(backbone):
    model = make(backbone, 32, "reference")
    assert model.offsets == {"upscore": (18, 18)}
    assert model.upscore.kernel_size == (63, 63)
    assert receptive_field([model.backbone, model.fc6, model.fc7]) == (355, 32)
    for n, (stages, fc6, (upsampled, cut)) in ALEXNET.items():
        sizes = [output_size(model.backbone.stages()[:stage], n) for stage in (1, 2, 3, 4)]
        assert stages in (sizes, None)
        assert output_size([model.backbone, model.fc6], n) == fc6
        assert output_size([model.upscore], fc6) == upsampled == n + 18 + cut


def test_numbers_of_parameters_are_the_published_ones(without_values):
    assert nn.count_parameters(models.fcn32s("caffenet")) == 56_954_261
    assert nn.count_parameters(models.fcn32s("googlenet")) == 5_995_077
    resnet = models.fcn8s("resnet50")
    assert nn.count_parameters(resnet) == 23_508_032 + 21 * (2048 + 1024 + 512 + 3)


def test_the_receptive_field_of_googlenet_is_907_only_with_the_pooling_that_is_discarded():
    model = make("googlenet", 32, "aligned")
    assert receptive_field([model.backbone]) == (715, 32)
    assert receptive_field([model.backbone, nn.AvgPool2d(7, stride=1)]) == (907, 32)


@pytest.mark.parametrize(
    ("backbone", "channels"),
    [("caffenet", [256, 256]), ("googlenet", [64]), ("resnet50", [])],
)
def test_dropout_is_that_of_the_classifier(rng, monkeypatch, backbone, channels):
    dropped, model = [], make(backbone, 32, "aligned")
    monkeypatch.setattr(
        nn.Dropout, "forward", lambda self, x: dropped.extend([x.shape[1]] * (self.p == 0.5)) or x
    )
    model(image(rng, 33, 40))
    assert dropped == channels


def test_batch_norm_chooses_the_form_of_googlenet():
    plain = make("googlenet", 32, "aligned").state_dict()
    normalized = make("googlenet", 32, "aligned", batch_norm=True).state_dict()
    assert "backbone.conv1.conv.bias" in plain
    assert "backbone.conv1.bn.running_mean" in normalized
    assert plain["backbone.inception3a.branch3.1.conv.weight"].shape[2:] == (5, 5)
    assert normalized["backbone.inception3a.branch3.1.conv.weight"].shape[2:] == (3, 3)


@pytest.mark.parametrize(("backbone", "stride", "geometry"), NETWORKS)
def test_any_size_comes_back(rng, backbone, stride, geometry):
    model = make(backbone, stride, geometry)
    with tinyfcn.no_grad():
        for height, width in ((1, 66), (31, 32), (33, 5), (64, 95)):
            assert model(image(rng, height, width)).shape == (1, 2, height, width)


# 32 pixels more are one row of scores more, so that these sides tell of all.
SIDES = [*range(1, 34), 500, 1199]


@pytest.mark.parametrize(
    ("backbone", "stride", "geometry"),
    [*NETWORKS, *(("vgg16", stride, "reference") for stride in MAKERS)],
)
def test_every_side_fits(backbone, stride, geometry):
    """There is always something left to cut: no skip is smaller than what it is added to."""
    model = make(backbone, stride, geometry)
    if geometry == "aligned":  # AlexNet's even fc6 gives a row of scores more
        assert set(model.offsets[model.last]) == {31 if backbone in ("alexnet", "caffenet") else 0}
    for n in SIDES:
        with without_values(model), tinyfcn.no_grad():
            pools = model.backbone.features(empty_images(model, (1, 3, n, 1)))
            scores = model.score_fr(model._hidden(pools[-1]))
            for skip in model.skips:
                scores = model._upsample(skip.upsample, scores)
                size, finer = scores.shape[2], pools[skip.pool - 1].shape[2]
                offset = model.offsets[skip.score][0]
                if geometry == "aligned":
                    assert offset == 0 and finer <= size
                else:
                    assert 0 < finer - offset - size < 10
                scores = scores[:, :, : finer - offset]
            upsampled = model._upsample(model.last, scores).shape[2]
        assert upsampled - model.offsets[model.last][0] >= n


def linear(model):
    """The network with all its windows averaging: it only moves and blurs what is positive."""
    model.double()
    for module in model.modules():
        for name, child in module.named_children():
            if isinstance(child, nn.MaxPool2d):
                average = nn.AvgPool2d(child.kernel_size, child.stride, child.padding)
                average.ceil_mode = child.ceil_mode
                setattr(module, name, average)
            elif isinstance(child, nn.LocalResponseNorm):
                setattr(module, name, nn.Identity())
            elif isinstance(child, nn.Conv2d):
                weight = child.weight.data
                weight[...] = 1 / weight[0].size
    return model


@pytest.mark.parametrize(("backbone", "stride", "geometry"), NETWORKS)
def test_scores_land_where_the_image_said(backbone, stride, geometry):
    """What a score depends on, averaging all the way, has its centre of mass at its own place."""
    model = linear(make(backbone, stride, geometry))
    n = 1100 if backbone == "googlenet" else 700
    for axis in (2, 3):
        shape = [1, 3, 9, 9]
        shape[axis] = n
        x = tinyfcn.tensor(np.ones(shape), requires_grad=True)
        y = model(x)
        for place in (n // 2, n // 2 + 13):
            score = y[0, 0, place, 4] if axis == 2 else y[0, 0, 4, place]
            (gradient,) = tinyfcn.grad(score, x, retain_graph=True)
            weights = gradient.numpy().sum((0, 1, 5 - axis))
            assert weights.min() >= 0 and weights[0] == weights[-1] == 0
            assert weights @ np.arange(n) / weights.sum() == pytest.approx(place, abs=1e-6)


def test_the_last_scores_reach_the_border(rng):
    """Scores that are equal everywhere stay equal everywhere: nothing fades at the border."""
    model = make("resnet18", 8, "aligned")
    for name in model.scoring:
        nn.init.zeros_(getattr(model, name).weight)
    model.score_fr.bias.data[...] = [3.0, -2.0]
    for size in ((64, 96), (50, 41)):
        y = model(image(rng, *size)).numpy()[0]
        assert np.allclose(y[0], 3) and np.allclose(y[1], -2)


@pytest.mark.parametrize("backbone", ["caffenet", "googlenet", "resnet18"])
def test_it_learns(rng, backbone):
    """All of the network gets a gradient, and following it brings the loss down."""
    stride = 32 if backbone == "caffenet" else 8
    model = MAKERS[stride](backbone, 3, SMALL, batch_norm=True, dropout=0.0)
    x = tinyfcn.tensor(rng.standard_normal((2, 3, 64, 64)).astype(np.float32))
    target = np.zeros((2, 64, 64), np.int64)
    target[0, :, 32:], target[1, 32:] = 1, 2
    losses = []
    for step in range(12):
        loss = F.cross_entropy(model(x), target)
        losses.append(loss.item())
        model.zero_grad()
        loss.backward()
        if step == 0:
            grads = [p.grad for p in model.parameters() if p.requires_grad]
            assert all(g is not None and g.numpy().any() for g in grads)
        for p in model.parameters():
            if p.requires_grad:
                p.data -= 0.05 * p.grad.data
    assert losses[0] == pytest.approx(np.log(3), rel=0.5)
    assert losses[-1] < 0.8 * losses[0]


def test_stages_go_on_from_each_other():
    coarse = make("resnet18", 32, "aligned")
    fine = make("resnet18", 16, "aligned")
    copy_matching(fine, coarse.state_dict())
    name = "backbone.layer4.1.conv2.weight"
    assert np.array_equal(fine.state_dict()[name], coarse.state_dict()[name])


def test_recomputing_gives_the_same(rng):
    a, b = make("resnet18", 8, "aligned"), make("resnet18", 8, "aligned", recompute=True)
    for layer in (a.score_fr, a.score_pool4, a.score_pool3):
        nn.init.normal_(layer.weight)
    b.load_state_dict(a.state_dict())
    x = image(rng, 40, 56)
    gradients = []
    for model in (a, b):
        model(x).sum().backward()
        gradients.append(model.backbone.layer2[0].conv1.weight.grad.numpy())
    assert np.array_equal(*gradients) and gradients[0].any()
