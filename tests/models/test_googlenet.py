"""GoogLeNet in both forms: keys, shapes, counts, receptive field, what a block computes."""

import numpy as np
import pytest

import tinyfcn
import tinyfcn.functional as F
from tinyfcn import models, nn
from tinyfcn.models.backbones.googlenet import GoogLeNetBackbone
from tinyfcn.models.geometry import IMAGE, coordinate_map, output_size, receptive_field

# The published table, with the number of channels that enter a block.
TABLE = {
    "3a": (192, 64, 96, 128, 16, 32, 32), "3b": (256, 128, 128, 192, 32, 96, 64),
    "4a": (480, 192, 96, 208, 16, 48, 64), "4b": (512, 160, 112, 224, 24, 64, 64),
    "4c": (512, 128, 128, 256, 24, 64, 64), "4d": (512, 112, 144, 288, 32, 64, 64),
    "4e": (528, 256, 160, 320, 32, 128, 128), "5a": (832, 256, 160, 320, 32, 128, 128),
    "5b": (832, 384, 192, 384, 48, 128, 128),
}  # fmt: skip
PARAMETERS = {
    ("torchvision", False): 6_624_904, ("torchvision", True): 13_004_888,
    ("bvlc", False): 6_998_552, ("bvlc", True): 13_378_280,
}  # fmt: skip


def unit(name, out, before, kernel, form):
    shapes = {f"{name}.conv.weight": (out, before, kernel, kernel)}
    if form == "bvlc":
        return {**shapes, f"{name}.conv.bias": (out,)}
    for key in ("weight", "bias", "running_mean", "running_var"):
        shapes[f"{name}.bn.{key}"] = (out,)
    return {**shapes, f"{name}.bn.num_batches_tracked": ()}


def expected_shapes(form, aux):
    large = 5 if form == "bvlc" else 3
    shapes = {
        **unit("conv1", 64, 3, 7, form),
        **unit("conv2", 64, 64, 1, form),
        **unit("conv3", 192, 64, 3, form),
    }
    for name, (n, ones, before3, threes, before5, fives, pooled) in TABLE.items():
        block = f"inception{name}"
        shapes.update(unit(f"{block}.branch1", ones, n, 1, form))
        shapes.update(unit(f"{block}.branch2.0", before3, n, 1, form))
        shapes.update(unit(f"{block}.branch2.1", threes, before3, 3, form))
        shapes.update(unit(f"{block}.branch3.0", before5, n, 1, form))
        shapes.update(unit(f"{block}.branch3.1", fives, before5, large, form))
        shapes.update(unit(f"{block}.branch4.1", pooled, n, 1, form))
    for head, n in (("aux1", 512), ("aux2", 528)) if aux else ():
        shapes.update(unit(f"{head}.conv", 128, n, 1, form))
        shapes.update({f"{head}.fc1.weight": (1024, 2048), f"{head}.fc1.bias": (1024,)})
        shapes.update({f"{head}.fc2.weight": (1000, 1024), f"{head}.fc2.bias": (1000,)})
    return {**shapes, "fc.weight": (1000, 1024), "fc.bias": (1000,)}


@pytest.mark.parametrize(("form", "aux"), PARAMETERS)
def test_keys_shapes_and_counts_are_the_published_ones(without_values, form, aux):
    model = models.googlenet(form=form, aux_logits=aux)
    expected = expected_shapes(form, aux)
    assert {name: tensor.shape for name, tensor in model.state_tensors().items()} == expected
    assert list(model.state_tensors()) == list(expected)
    assert nn.count_parameters(model) == PARAMETERS[form, aux]
    norms = [m.eps for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    assert set(norms) == ({0.001} if form == "torchvision" else set())


def test_the_receptive_field_of_the_paper_includes_the_pooling_it_discards():
    backbone = GoogLeNetBackbone(1 / 16, "bvlc")
    assert receptive_field([backbone]) == (715, 32)
    assert receptive_field([backbone, nn.AvgPool2d(7, stride=1)]) == (907, 32)
    assert nn.count_parameters(GoogLeNetBackbone(1, "bvlc")) == 5_973_552


@pytest.mark.parametrize("form", ["torchvision", "bvlc"])
def test_stages_have_the_strides_and_channels_they_say(rng, form):
    for centred in (False, True):
        backbone = GoogLeNetBackbone(1 / 16, form, centred).eval()
        x = tinyfcn.tensor(rng.standard_normal((1, 3, 70, 97)).astype(np.float32))
        maps = backbone.features(x)
        for stage, (y, channels) in enumerate(zip(maps, backbone.channels, strict=True), start=1):
            sizes = [output_size(backbone.stages()[:stage], n) for n in (70, 97)]
            assert y.shape == (1, channels, *sizes)
            if centred:
                stride = 2**stage
                assert sizes == [-(-70 // stride), -(-97 // stride)]
                moved = coordinate_map(backbone.stages()[:stage])
                assert (moved.shift, moved.scale * stride) == (0, 1)
        assert [output_size(backbone.stages()[:i], 224) for i in range(1, 6)] == [
            112,
            56,
            28,
            14,
            7,
        ]
    assert coordinate_map([GoogLeNetBackbone(1 / 16, form)]) != IMAGE


@pytest.mark.parametrize(("form", "large"), [("torchvision", 3), ("bvlc", 5)])
def test_an_inception_block_is_four_branches(rng, form, large):
    block = GoogLeNetBackbone(1 / 16, form).inception4a.double().eval()
    for p in block.parameters():
        p.data += 0.1
    state = {name: tinyfcn.tensor(value) for name, value in block.state_dict().items()}

    def run(x, name, kernel):
        weight, bias = state[f"{name}.conv.weight"], state.get(f"{name}.conv.bias")
        y = F.conv2d(x, weight, bias, padding=kernel // 2)
        if form == "torchvision":
            scale, shift = (
                state[f"{name}.bn.{key}"].reshape(-1, 1, 1) for key in ("weight", "bias")
            )
            y = y / np.sqrt(1.001) * scale + shift
        return F.relu(y)

    x = tinyfcn.tensor(rng.standard_normal((2, 30, 9, 12)))
    expected = F.cat(
        [
            run(x, "branch1", 1),
            run(run(x, "branch2.0", 1), "branch2.1", 3),
            run(run(x, "branch3.0", 1), "branch3.1", large),
            run(F.max_pool2d(x, 3, 1, 1), "branch4.1", 1),
        ],
        1,
    )
    assert np.allclose(block(x).numpy(), expected.numpy(), rtol=0, atol=1e-12)


@pytest.mark.parametrize("form", ["torchvision", "bvlc"])
def test_auxiliary_classifiers_look_halfway(rng, form):
    model = models.googlenet(num_classes=3, width=1 / 16, form=form, aux_logits=True).eval()
    x = tinyfcn.tensor(rng.standard_normal((2, 3, 224, 224)).astype(np.float32))
    scores = model.outputs(x)
    assert {name: y.shape for name, y in scores.items()} == dict.fromkeys(
        ("aux1", "aux2", "out"), (2, 3)
    )
    assert np.array_equal(model(x).numpy(), scores["out"].numpy())
    y = x
    for name, layer in model.chain().named_children():
        y = layer(y)
        if name in ("inception4a", "inception4d"):
            key = "aux1" if name == "inception4a" else "aux2"
            aux = getattr(model, key)
            assert np.array_equal(aux(y).numpy(), scores[key].numpy())
    model.train()
    model.zero_grad()
    F.cross_entropy(model.outputs(x)["aux1"], np.array([0, 1])).backward()
    assert model.inception4b.branch1.conv.weight.grad is None
    assert np.abs(model.conv1.conv.weight.grad.numpy()).max() > 0


def test_bvlc_normalizes_after_pooling_and_before_it():
    names = list(dict(GoogLeNetBackbone(1 / 16, "bvlc").named_children()))
    assert names[:7] == ["conv1", "maxpool1", "norm1", "conv2", "conv3", "norm2", "maxpool2"]
    names = list(dict(GoogLeNetBackbone(1 / 16).named_children()))
    assert names[:5] == ["conv1", "maxpool1", "conv2", "conv3", "maxpool2"]


def test_errors():
    with pytest.raises(ValueError, match="googlenet: num_classes must be at least 1, got 0"):
        models.googlenet(num_classes=0)
    with pytest.raises(ValueError, match="form must be 'torchvision' or 'bvlc', got 'caffe'"):
        models.googlenet(form="caffe")
    with pytest.raises(ValueError, match=r"width 0.01 leaves 0 of 16 channels"):
        models.googlenet(width=0.01)
