"""torchvision's segmentation networks: its keys, shapes and counts; what each head computes."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

import tinyfcn
import tinyfcn.functional as F
from tinyfcn import models, nn

spec = importlib.util.spec_from_file_location("resnet", Path(__file__).with_name("test_resnet.py"))
resnet = importlib.util.module_from_spec(spec)
spec.loader.exec_module(resnet)

MAKERS = {
    "fcn_resnet50": models.fcn_resnet50,
    "fcn_resnet101": models.fcn_resnet101,
    "deeplabv3_resnet50": models.deeplabv3_resnet50,
    "deeplabv3_resnet101": models.deeplabv3_resnet101,
}
PARAMETERS = {
    "fcn_resnet50": 35_322_218,
    "fcn_resnet101": 54_314_346,
    "deeplabv3_resnet50": 42_004_074,
    "deeplabv3_resnet101": 60_996_202,
}


def fcn_head(name, channels):
    return {
        f"{name}.0.weight": (channels // 4, channels, 3, 3),
        **resnet.batch_norm(f"{name}.1", channels // 4),
        f"{name}.4.weight": (21, channels // 4, 1, 1),
        f"{name}.4.bias": (21,),
    }


def deeplab_head():
    shapes = {}
    for i, kernel in enumerate((1, 3, 3, 3)):
        shapes[f"classifier.0.convs.{i}.0.weight"] = (256, 2048, kernel, kernel)
        shapes.update(resnet.batch_norm(f"classifier.0.convs.{i}.1", 256))
    shapes["classifier.0.convs.4.1.weight"] = (256, 2048, 1, 1)
    shapes.update(resnet.batch_norm("classifier.0.convs.4.2", 256))
    shapes["classifier.0.project.0.weight"] = (256, 1280, 1, 1)
    shapes.update(resnet.batch_norm("classifier.0.project.1", 256))
    shapes["classifier.1.weight"] = (256, 256, 3, 3)
    shapes.update(resnet.batch_norm("classifier.2", 256))
    return {**shapes, "classifier.4.weight": (21, 256, 1, 1), "classifier.4.bias": (21,)}


@pytest.mark.parametrize("name", MAKERS)
def test_keys_shapes_and_counts_are_torchvisions(without_values, name):
    model = MAKERS[name]()
    expected = resnet.backbone_shapes(101 if "101" in name else 50, "backbone.")
    expected.update(fcn_head("classifier", 2048) if name.startswith("fcn") else deeplab_head())
    expected.update(fcn_head("aux_classifier", 1024))
    assert resnet.shapes_of(model) == expected
    assert list(model.state_tensors()) == list(expected)
    assert nn.count_parameters(model) == PARAMETERS[name]


@pytest.mark.parametrize("name", ["fcn_resnet50", "deeplabv3_resnet50"])
def test_two_heads_answer(rng, name):
    model = MAKERS[name](num_classes=3, width=1 / 32).eval()
    x = tinyfcn.tensor(rng.standard_normal((2, 3, 41, 66)).astype(np.float32))
    scores = model.outputs(x)
    assert {k: v.shape for k, v in scores.items()} == {
        "out": (2, 3, 41, 66), "aux": (2, 3, 41, 66),
    }  # fmt: skip
    assert np.array_equal(model(x).numpy(), scores["out"].numpy())
    layer3, layer4 = model.backbone.features(x)[-2:]
    assert layer3.shape[2:] == layer4.shape[2:] == (6, 9)
    aux = F.interpolate(model.aux_classifier(layer3), (41, 66), mode="bilinear")
    assert np.array_equal(aux.numpy(), scores["aux"].numpy())

    one = MAKERS[name](num_classes=3, width=1 / 32, aux_loss=False).eval()
    assert list(one.outputs(x)) == ["out"]
    assert not any(key.startswith("aux") for key in one.state_dict())


def test_each_head_learns_from_its_own_loss(rng):
    model = models.deeplabv3_resnet50(num_classes=3, width=1 / 32)
    x = tinyfcn.tensor(rng.standard_normal((2, 3, 32, 32)).astype(np.float32))
    target = rng.integers(0, 3, (2, 32, 32))
    for output, reaches_layer4 in (("aux", False), ("out", True)):
        model.zero_grad()
        F.cross_entropy(model.outputs(x)[output], target).backward()
        last = model.backbone.layer4[0].conv1.weight.grad
        assert (last is not None) == reaches_layer4
        assert np.abs(model.backbone.conv1.weight.grad.numpy()).max() > 0


def test_the_five_views_of_aspp(rng):
    """Each written out by itself; in evaluation batch norm of a new network divides by √(1 + ε)."""
    head = models.deeplabv3_resnet50(num_classes=3, width=1 / 32).classifier.double().eval()
    aspp = head[0]
    x = tinyfcn.tensor(rng.standard_normal((2, 64, 9, 11)))
    scale = 1 / np.sqrt(1 + 1e-5)
    views = [F.relu(F.conv2d(x, aspp.convs[0][0].weight) * scale)]
    for i, rate in enumerate((12, 24, 36), start=1):
        weight = aspp.convs[i][0].weight
        views.append(F.relu(F.conv2d(x, weight, None, 1, rate, rate) * scale))
    weight = aspp.convs[4][1].weight.numpy()[:, :, 0, 0]
    mean = np.maximum(x.numpy().mean((2, 3)) @ weight.T * scale, 0)
    views.append(tinyfcn.tensor(np.broadcast_to(mean[:, :, None, None], (2, 8, 9, 11)).copy()))
    y = F.relu(F.conv2d(F.cat(views, 1), aspp.project[0].weight) * scale)
    assert np.allclose(aspp(x).numpy(), y.numpy(), rtol=0, atol=1e-12)
    y = F.conv2d(F.relu(F.conv2d(y, head[1].weight, None, 1, 1) * scale), head[4].weight)
    assert np.allclose(head(x).numpy(), y.numpy(), rtol=0, atol=1e-12)


def test_errors():
    with pytest.raises(ValueError, match="deeplabv3_resnet101: num_classes must be at least 1"):
        models.deeplabv3_resnet101(num_classes=0)
    with pytest.raises(ValueError, match="fcn_resnet50: num_classes must be at least 1, got -1"):
        models.fcn_resnet50(num_classes=-1)
    with pytest.raises(ValueError, match=r"expected images \(N, 3, H, W\), got shape \(1, 4, 8"):
        models.fcn_resnet50(width=1 / 32)(tinyfcn.tensor(np.zeros((1, 4, 8, 8), np.float32)))
