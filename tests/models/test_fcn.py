"""The FCN family: published shapes, offsets and counts; alignment; staged training; errors."""

import numpy as np
import pytest

import tinyfcn
import tinyfcn.functional as F
from tinyfcn import models, nn
from tinyfcn.models.geometry import output_size
from tinyfcn.training.model_spec import copy_matching

MAKERS = {32: models.fcn32s, 16: models.fcn16s, 8: models.fcn8s}
TINY = 1 / 64

# The published network with padding 100, along one side of n pixels:
# n: pool1 … pool5, fc6, 32 times upsampled (cut off at the end), 2 times, 16 times (cut off),
# 2 times again, 8 times (cut off).
REFERENCE = {
    1: ([100, 50, 25, 13, 7], 1, (64, 44), 4, (80, 52), 10, (88, 56)),
    16: ([107, 54, 27, 14, 7], 1, (64, 29), 4, (80, 37), 10, (88, 41)),
    32: ([115, 58, 29, 15, 8], 2, (96, 45), 6, (112, 53), 14, (120, 57)),
    64: ([131, 66, 33, 17, 9], 3, (128, 45), 8, (144, 53), 18, (152, 57)),
    100: ([149, 75, 38, 19, 10], 4, (160, 41), 10, (176, 49), 22, (184, 53)),
    224: ([211, 106, 53, 27, 14], 8, (288, 45), 18, (304, 53), 38, (312, 57)),
    256: ([227, 114, 57, 29, 15], 9, (320, 45), 20, (336, 53), 42, (344, 57)),
    320: ([259, 130, 65, 33, 17], 11, (384, 45), 24, (400, 53), 50, (408, 57)),
    333: ([266, 133, 67, 34, 17], 11, (384, 32), 24, (400, 40), 50, (408, 44)),
    366: ([282, 141, 71, 36, 18], 12, (416, 31), 26, (432, 39), 54, (440, 43)),
    375: ([287, 144, 72, 36, 18], 12, (416, 22), 26, (432, 30), 54, (440, 34)),
    384: ([291, 146, 73, 37, 19], 13, (448, 45), 28, (464, 53), 58, (472, 57)),
    480: ([339, 170, 85, 43, 22], 16, (544, 45), 34, (560, 53), 70, (568, 57)),
    500: ([349, 175, 88, 44, 22], 16, (544, 25), 34, (560, 33), 70, (568, 37)),
    512: ([355, 178, 89, 45, 23], 17, (576, 45), 36, (592, 53), 74, (600, 57)),
    640: ([419, 210, 105, 53, 27], 21, (704, 45), 44, (720, 53), 90, (728, 57)),
    1024: ([611, 306, 153, 77, 39], 33, (1088, 45), 68, (1104, 53), 138, (1112, 57)),
}
OFFSETS = {
    32: {"upscore": (19, 19)},
    16: {"score_pool4": (5, 5), "upscore16": (27, 27)},
    8: {"score_pool4": (5, 5), "score_pool3": (9, 9), "upscore8": (31, 31)},
}


@pytest.fixture(scope="module")
def reference():
    return {
        stride: make(width=TINY, num_classes=2, geometry="reference").eval()
        for stride, make in MAKERS.items()
    }


def image(rng, height, width, n=1):
    return tinyfcn.tensor(rng.standard_normal((n, 3, height, width)).astype(np.float32))


# ---- the reference geometry ----


def test_offsets_are_the_published_ones(reference):
    assert {stride: model.offsets for stride, model in reference.items()} == OFFSETS


@pytest.mark.parametrize("n", REFERENCE)
def test_sizes_are_the_published_ones(reference, n):
    pools, fc6, up32, up2, up16, up_pool4, up8 = REFERENCE[n]
    fcn32, fcn16, fcn8 = (reference[stride] for stride in (32, 16, 8))
    backbone = fcn8.backbone
    assert [output_size(backbone.stages()[:i], n) for i in range(1, 6)] == pools
    assert output_size([backbone, fcn8.fc6], n) == fc6
    for last, up, model in (("upscore", up32, fcn32), ("upscore16", up16, fcn16)):
        before = fc6 if model is fcn32 else output_size([fcn16.upscore2], fc6)
        upsampled = output_size([getattr(model, last)], before)
        assert (upsampled, upsampled - model.offsets[last][0] - n) == up
    assert output_size([fcn8.upscore2], fc6) == up2
    assert output_size([fcn8.upscore_pool4], up2) == up_pool4
    upsampled = output_size([fcn8.upscore8], up_pool4)
    assert (upsampled, upsampled - fcn8.offsets["upscore8"][0] - n) == up8


@pytest.mark.parametrize("size", [(1, 33), (64, 100), (224, 16), (375, 384)])
def test_the_real_network_gives_the_size_of_the_image(reference, rng, size):
    x = image(rng, *size)
    with tinyfcn.no_grad():
        pools = reference[8].backbone.features(x)
        for axis in (0, 1):
            expected = [
                output_size(reference[8].backbone.stages()[:i], size[axis]) for i in range(1, 6)
            ]
            assert [p.shape[2 + axis] for p in pools] == expected
        for model in reference.values():
            assert model(x).shape == (1, 2, *size)


# ---- the aligned geometry ----


@pytest.mark.parametrize("stride", MAKERS)
def test_nothing_is_shifted_in_the_aligned_geometry(stride):
    offsets = MAKERS[stride](width=TINY, num_classes=2).offsets
    assert offsets == {name: (0, 0) for name in OFFSETS[stride]}


@pytest.mark.parametrize("stride", MAKERS)
def test_any_size_comes_back(rng, stride):
    model = MAKERS[stride](width=TINY, num_classes=2).eval()
    with tinyfcn.no_grad():
        for n in range(1, 71):
            assert model(image(rng, n, 71 - n)).shape == (1, 2, n, 71 - n)


@pytest.mark.parametrize("geometry", ["aligned", "reference"])
@pytest.mark.parametrize("stride", MAKERS)
def test_scores_land_where_the_image_said(stride, geometry):
    """Turn backbone and scoring into averages: then the network blurs a ramp without bending it,
    and every pixel far from the border must find its own coordinate in the output."""
    model = MAKERS[stride](width=TINY, num_classes=1, geometry=geometry).double().eval()
    branches = len(model.skips) + 1
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            module.weight.data[...] = 0.0
            taps = module.kernel_size[0] * module.kernel_size[1]
            module.weight.data[:, 0] = 1.0 / taps
    for score in (model.score_fr, *(getattr(model, skip.score) for skip in model.skips)):
        score.weight.data /= branches

    # Max pooling moves a ramp to the right end of its window, so average instead.
    backbone = model.backbone
    for index in backbone.ends:
        setattr(backbone, str(index), nn.AvgPool2d(2, ceil_mode=True))

    n, far = 960, 420
    ramp = np.arange(n, dtype=np.float64)
    for axis in (2, 3):
        shape = [1, 1, 1, 1]
        shape[axis] = n
        small = [1, 3, 960, 960]
        x = np.broadcast_to(ramp.reshape(shape), small)
        with tinyfcn.no_grad():
            y = model(tinyfcn.tensor(x)).numpy()[0, 0]
        line = y[:, n // 2] if axis == 2 else y[n // 2]
        assert np.allclose(line[far:-far], ramp[far:-far], rtol=0, atol=1e-9)


def test_a_skip_is_added_over_the_same_pixels(rng):
    """Against the arithmetic of the paper, written out with a plain index for every crop."""
    for geometry in ("aligned", "reference"):
        model = models.fcn8s(width=TINY, num_classes=3, geometry=geometry).eval()
        for layer in (model.score_fr, model.score_pool4, model.score_pool3):
            nn.init.normal_(layer.weight)
            nn.init.normal_(layer.bias)
        x = image(rng, 75, 58)
        a, b, c = (5, 9, 31) if geometry == "reference" else (0, 0, 0)
        pool3, pool4, pool5 = model.backbone.features(x)[2:]
        y = model.score_fr(F.relu(model.fc7(F.relu(model.fc6(pool5)))))
        for upsample, score, pool, offset in (
            (model.upscore2, model.score_pool4, pool4, a),
            (model.upscore_pool4, model.score_pool3, pool3, b),
        ):
            y = upsample(y)
            finer = score(pool)[:, :, offset:, offset:]
            h, w = min(y.shape[2], finer.shape[2]), min(y.shape[3], finer.shape[3])
            y = y[:, :, :h, :w] + finer[:, :, :h, :w]
        y = model.upscore8(y)[:, :, c : c + 75, c : c + 58]
        assert np.allclose(model(x).numpy(), y.numpy(), rtol=1e-6, atol=1e-7)


# ---- parameters ----


def test_numbers_of_parameters_are_the_published_ones(without_values):
    model = models.fcn8s()
    counts = {name: nn.count_parameters(part) for name, part in model.named_children()}
    assert counts["backbone"] == 14_714_688
    assert counts["fc6"] == 102_764_544
    assert counts["fc7"] == 16_781_312
    assert counts["score_fr"] == 86_037
    assert counts["score_pool4"] == 10_773
    assert counts["score_pool3"] == 5_397
    assert counts["upscore2"] == counts["upscore_pool4"] == counts["upscore8"] == 0  # frozen
    fcn8, fcn16 = nn.count_parameters(model), nn.count_parameters(model) - 5_397
    assert (fcn16 - 10_773, fcn16, fcn8) == (134_346_581, 134_357_354, 134_362_751)


@pytest.mark.parametrize("stride", MAKERS)
def test_upsampling_is_bilinear_frozen_and_saved(stride):
    model = MAKERS[stride](width=TINY, num_classes=3)
    learned = MAKERS[stride](width=TINY, num_classes=3, learn_upsampling=True)
    assert list(model.state_dict()) == list(learned.state_dict())
    names = (
        {"upscore2", "upscore_pool4"} if stride == 8 else {"upscore2"} if stride == 16 else set()
    )
    names |= {model.last}
    frozen = {name for name, p in model.named_parameters() if not p.requires_grad}
    assert frozen == {f"{name}.weight" for name in names}
    assert all(p.requires_grad for p in learned.parameters())
    for name in names:
        weight = getattr(model, name).weight.numpy()
        factor = stride if name == model.last else 2
        assert weight.shape == (3, 1, 2 * factor, 2 * factor)
        assert np.allclose(weight.sum((2, 3)), factor**2)


def test_from_scratch_all_of_it_learns_in_the_first_step(rng):
    """Scores begin random, or the layers below them would get no gradient, but small: the loss is
    about that of equal scores, ln 21 per pixel."""
    model = models.fcn8s(width=1 / 16, batch_norm=True)
    x, target = image(rng, 40, 40, n=2), tinyfcn.tensor(rng.integers(0, 21, (2, 40, 40)))
    loss = F.cross_entropy(model(x), target)
    assert loss.item() == pytest.approx(np.log(21), rel=0.1)
    loss.backward()
    assert all(p.grad.numpy().any() for p in model.parameters() if p.requires_grad)
    for name in model.scoring:
        score = getattr(model, name)
        bound = score.in_channels**-0.5  # nn.Conv2d of PyTorch
        assert 0.8 * bound < np.abs(score.weight.numpy()).max() <= bound


def test_on_a_trained_classifier_every_class_begins_equally_likely(rng):
    """Section 4.3: the scores are zero until they are learned, whatever the backbone says."""
    model = models.fcn8s(width=TINY)
    copy_matching(model, {"features.0.bias": model.state_dict()["backbone.0.bias"]})
    assert not model(image(rng, 40, 40)).numpy().any()


def test_batch_norm_follows_fc6_and_fc7_too(rng):
    model = models.fcn16s(width=1 / 32, batch_norm=True, num_classes=2)
    keys = model.state_dict()
    assert keys["bn6.weight"].shape == keys["bn7.running_mean"].shape == (128,)
    assert keys["backbone.1.running_var"].shape == (2,)
    assert "bn6.weight" not in models.fcn16s(width=1 / 32).state_dict()


@pytest.mark.parametrize("stride", [16, 8])
def test_at_once_scales_the_skips(rng, stride):
    plain = MAKERS[stride](width=TINY, num_classes=2).eval()
    scaled = MAKERS[stride](width=TINY, num_classes=2, at_once=True).eval()
    for layer in (plain.score_fr, *(getattr(plain, skip.score) for skip in plain.skips)):
        nn.init.normal_(layer.weight)
    state = plain.state_dict()
    scaled.load_state_dict(state)
    x = image(rng, 64, 64)
    assert not np.allclose(plain(x).numpy(), scaled(x).numpy(), rtol=1e-3)
    state["score_pool4.weight"] *= np.float32(0.01)
    if stride == 8:
        state["score_pool3.weight"] *= np.float32(0.0001)
    plain.load_state_dict(state)
    assert np.allclose(plain(x).numpy(), scaled(x).numpy(), rtol=1e-4, atol=1e-5)


# ---- staged training ----


@pytest.mark.parametrize("geometry", ["aligned", "reference"])
def test_each_stage_goes_on_from_the_one_before(geometry):
    coarse = models.fcn32s(width=TINY, num_classes=3, geometry=geometry)
    for stride in (16, 8):
        for p in coarse.parameters():
            if p.requires_grad:
                nn.init.normal_(p)
        fine = MAKERS[stride](width=TINY, num_classes=3, geometry=geometry)
        state = coarse.state_dict()
        copy_matching(fine, state)
        new = fine.state_dict()
        shared = [k for k in new if k in state]
        skip = fine.skips[-1]
        assert {k for k in new if k not in state} == {
            f"{skip.score}.weight", f"{skip.score}.bias",
            f"{skip.upsample}.weight", f"{fine.last}.weight",
        }  # fmt: skip
        assert {k for k in state if k not in new} == {f"{coarse.last}.weight"}
        assert all(np.array_equal(new[k], state[k]) for k in shared)
        assert not new[f"{skip.score}.weight"].any()
        coarse = fine


def test_a_new_stage_begins_close_to_the_old_one(rng):
    """Not exactly: two upsamplings in a row are not one. But the classes must already be there."""
    coarse = models.fcn32s(width=1 / 32, num_classes=4).eval()
    nn.init.normal_(coarse.score_fr.weight)
    fine = models.fcn16s(width=1 / 32, num_classes=4).eval()
    copy_matching(fine, coarse.state_dict())
    x = image(rng, 256, 256)
    a, b = coarse(x).numpy(), fine(x).numpy()
    assert (a.argmax(1) == b.argmax(1)).mean() > 0.9
    assert 0 < np.abs(a - b).max() < 0.5 * np.abs(a).max()


# ---- errors ----


ERRORS = {
    r"fcn8s: backbone must be 'vgg16', .* or 'resnet101', got 'resnet'": {"backbone": "resnet"},
    "fcn8s: there is no fcn8s with backbone 'caffenet', only fcn32s": {"backbone": "caffenet"},
    "geometry must be 'aligned' with backbone 'resnet50', since nothing is published": {
        "backbone": "resnet50",
        "geometry": "reference",
    },
    "fcn8s: geometry must be 'aligned' or 'reference', got 'padded'": {"geometry": "padded"},
    "fcn8s: num_classes must be at least 1, got 0": {"num_classes": 0},
    "width 0.001 leaves 0 of 4096 channels|width 0.001 leaves 0 of 64": {"width": 0.001},
}


@pytest.mark.parametrize("message", ERRORS)
def test_errors_name_the_model_and_the_argument(message):
    with pytest.raises(ValueError, match=message):
        models.fcn8s(**ERRORS[message])


@pytest.mark.parametrize("shape", [(1, 1, 32, 32), (1, 4, 32, 32), (3, 32, 32)])
def test_images_of_another_kind_are_rejected(shape):
    model = models.fcn32s(width=TINY)
    with pytest.raises(ValueError, match=r"fcn32s: expected images \(N, 3, H, W\), got shape"):
        model(tinyfcn.tensor(np.zeros(shape, np.float32)))
