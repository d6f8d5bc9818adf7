"""Programs that give the numbers of the network room, with tinyfcn and with PyTorch.

Both take the image, and the weights, from tinyfcn; what they share is written once, with the name
of the library left open.
"""

from __future__ import annotations

from typing import Any

from tinyfcn.explorer import network_run as runs
from tinyfcn.explorer.settings import State

HEAD = """\
import numpy as np
import tinyfcn
from tinyfcn.data.{source} import {drawn}
from tinyfcn.training.published import load_model

model, spec = load_model({path})
model.eval()
{image}
x = spec.preprocessing.apply(spec.preprocessing.read(image))[None]
"""
SCENE = """\
scene = draw_scene(np.random.default_rng({scene}), SceneStyle({side}, noise={noise}))
image, truth = scene.image, scene.mask[None].astype(np.int64)"""
PHOTO = """\
(image,) = fitted(256, spec.preprocessing.read("photo.jpg", upright=True))"""
RELATED = """\
from tinyfcn.training.model_spec import copy_matching

arrays = model.state_dict()
model = tinyfcn.models.create("{network}", num_classes={classes}, **spec.arguments).eval()
copy_matching(model, arrays)
"""
RANDOM = """\
tinyfcn.manual_seed(0)
model = tinyfcn.models.create("{network}", num_classes={classes}, **{arguments}).eval()
"""
FORWARD = """\
import tinyfcn.functional as F

class Maps(tinyfcn.Hook):
    def leave(self, module, inputs, result):
        if not [*module.children()]:
            maps[names[id(module)]] = result

maps, names = {{}}, {{id(module): name for name, module in model.named_modules()}}
x = tinyfcn.tensor(x, requires_grad=True)
with Maps():
    scores = model(x)
"""
# Batch normalization is there or not, as in the checkpoint.
TORCH = """\
import torch
import torch.nn.functional as F

w = {{name: torch.tensor(array) for name, array in model.state_dict().items()}}
x, maps = torch.tensor(x, requires_grad=True), {{}}

def layer(x, name, norm="", **window):
    maps[name] = x = F.conv2d(x, w[name + ".weight"], w[name + ".bias"], **window)
    if norm + ".weight" in w:
        parts = ("running_mean", "running_var", "weight", "bias")
        x = F.batch_norm(x, *(w[f"{{norm}}.{{part}}"] for part in parts))
    return F.relu(x) if norm else x

def up(x, name, f, like):
    y = F.conv_transpose2d(x, w[name + ".weight"], None, f, f // 2, groups=x.shape[1])
    return y[:, :, : like.shape[2], : like.shape[3]]

y, pools, i = x, [], 0
for convolutions in {stages}:
    for _ in range(convolutions):
        y = layer(y, f"backbone.{{i}}", f"backbone.{{i + 1}}", padding=1)
        i += {step}
    y = F.max_pool2d(y, 2, ceil_mode=True)
    pools.append(y)
    i += 1
y = layer(layer(y, "fc6", "bn6", padding=3), "fc7", "bn7")
y = layer(y, "score_fr")
"""
ADDED = 'y = up(y, "{up}", 2, pools[{at}]) + layer(pools[{at}], "{score}")\n'
LAST = 'scores = up(y, "{up}", {f}, x)\n'
OFF = """\
for parameter in model.{score}.parameters():
    tinyfcn.nn.init.zeros_(parameter)
"""
LABELS = "print(scores.detach().numpy()[0].argmax(0))\n"
FIELD = """\
(gradient,) = {grad}(end, x)
used = np.abs(gradient.numpy()[0]).sum(0) > 0
print(np.flatnonzero(used.any(1))[[0, -1]], np.flatnonzero(used.any(0))[[0, -1]])
"""
THEORY = "print(tinyfcn.summary(model, x.shape).layers[-1].receptive_field)  # in theory\n"
GRADIENT = '(gradient,) = {grad}(end, maps["backbone.0"])\nprint(gradient)\n'
TRUTH = "truth = scores.detach().numpy().argmax(1)  # nobody knows better\n"
LOSS = "end = F.cross_entropy(scores, {library}.tensor(truth), ignore_index=255)\n"
SHAPES = 'print(maps["backbone.0"].shape, scores.shape)\n'
NO_TORCH = """\
# No lines for PyTorch: it has no {network} of these layers and names, and here are lines for FCNs
# on VGG alone. `tinyfcn convert` writes weights as safetensors, which PyTorch reads.
"""
PAD = """\
import tinyfcn
from tinyfcn import models
from tinyfcn.models.geometry import coordinate_map

with tinyfcn.backend.using("meta"):  # without weights
    model = models.create("{network}", num_classes=1, width=1 / 64, geometry="reference")
model.backbone[0].padding = ({pad}, {pad})
layers = [*model.backbone, model.fc6, model.fc7, model.score_fr]
layers += [getattr(model, name) for name in {ups}]
print(coordinate_map(layers).shift)  # where the crop starts
"""
PAD_TORCH = """\
# Where a score looks, PyTorch's layers do not say; its gradient does: here is its middle.
import torch
from torch import nn

layers = [nn.Conv2d(1, 1, 3, padding={pad})]
for stage, convolutions in enumerate((2, 2, 3, 3, 3)):
    layers += [nn.Conv2d(1, 1, 3, padding=1) for _ in range(convolutions - (stage == 0))]
    layers += [nn.AvgPool2d(2, ceil_mode=True)]  # its window is that of max pooling
layers += [nn.Conv2d(1, 1, 7)]
for layer in layers[::-1]:
    for parameter in layer.parameters():
        nn.init.ones_(parameter)
for f in {factors}:
    line = 1 - (torch.arange(2 * f) - f + 0.5).abs() / f  # bilinear
    layers += [nn.ConvTranspose2d(1, 1, 2 * f, f, bias=False)]
    layers[-1].weight.data[0, 0] = line * line[:, None]
x, at = torch.ones(1, 1, 800, 800, requires_grad=True), 320
nn.Sequential(*layers)(x)[0, 0, at, at].backward()
share = x.grad[0, 0].double().sum(1)
print(at - float((share * torch.arange(800)).sum() / share.sum()))  # where the crop starts
"""
CLASSIFIER = """\
import numpy as np
import tinyfcn
from tinyfcn import models, nn
from tinyfcn.data import Preprocessing
from tinyfcn.data.scenes import SceneStyle, draw_scene
from tinyfcn.models.backbones.backbone import with_classifier
from tinyfcn.models.backbones.vgg import VGGBackbone

tinyfcn.manual_seed(0)
backbone = VGGBackbone(1 / 16, depth=11)
for layer in backbone:
    if isinstance(layer, nn.Conv2d):
        layer.padding = (0, 0)
classifier = with_classifier(backbone, 3, 10, 1 / 16, 0.5).eval()
scene = draw_scene(np.random.default_rng({scene}), SceneStyle(384, noise=0.0))
x = Preprocessing().apply(scene.image)[None]
"""
CROPS = """\
x = tinyfcn.tensor(x)
one_pass = models.convolutionalize(classifier)(x)
crop = classifier(x[:, :, 64 : 64 + 224, 64 : 64 + 224])
"""
CROPS_TORCH = """\
import torch
import torch.nn.functional as F

w = {{name: torch.tensor(array) for name, array in classifier.state_dict().items()}}
x = torch.tensor(x)

def features(x):
    for i, pooled in zip((0, 3, 6, 8, 11, 13, 16, 18), (1, 1, 0, 1, 0, 1, 0, 1)):
        x = F.relu(F.conv2d(x, w[f"features.{{i}}.weight"], w[f"features.{{i}}.bias"]))
        x = F.max_pool2d(x, 2) if pooled else x
    return x

def linear(x, weight, bias, k):
    return F.linear(x.reshape(1, -1), weight, bias)

def convolution(x, weight, bias, k):  # the same weights, as kernels of k x k
    return F.conv2d(x, weight.reshape(len(weight), x.shape[1], k, k), bias)

def scores(x, layer):
    x = features(x)
    for i, k in ((0, 3), (3, 1), (6, 1)):
        x = layer(x, w[f"classifier.{{i}}.weight"], w[f"classifier.{{i}}.bias"], k)
        x = F.relu(x) if i < 6 else x
    return x

one_pass = scores(x, convolution)
crop = scores(x[:, :, 64 : 64 + 224, 64 : 64 + 224], linear)
"""
COMPARED = "print(one_pass[0, :, 2, 2], crop[0])\n"
SHIPPED = 'tinyfcn.__path__[0] + "/explorer/fcn8s.npz"'
# The way up of each FCN: a layer, how many times it makes the map larger, what is added behind it.
UPS = {
    "fcn32s": [("upscore", 32, "")],
    "fcn16s": [("upscore2", 2, "score_pool4"), ("upscore16", 16, "")],
    "fcn8s": [("upscore2", 2, "score_pool4"), ("upscore_pool4", 2, "score_pool3"),
              ("upscore8", 8, "")],
}  # fmt: skip
STAGES = {"vgg11": (1, 1, 2, 2, 2), "vgg13": (2,) * 5, "vgg16": (2, 2, 3, 3, 3),
          "vgg19": (2, 2, 4, 4, 4)}  # fmt: skip


def code(state: State, spec: Any) -> dict[str, str]:
    """Programs for a view, by library."""
    view = state["view"]
    if view == "pad":
        network = state["network"] if state["network"] in UPS else "fcn8s"
        names, factors, _ = zip(*UPS[network], strict=True)
        about = {"network": network, "pad": state["pad"], "ups": names, "factors": factors}
        return {"tinyfcn": PAD.format(**about), "PyTorch": PAD_TORCH.format(**about)}
    if view == "crops":
        start = CLASSIFIER.format(scene=state["image"][-1] if state["image"] != "photo" else 1)
        return {"tinyfcn": start + CROPS + COMPARED,
                "PyTorch": start + CROPS_TORCH.format() + COMPARED}  # fmt: skip
    network = state["network"] if view == "field" else spec.model
    head = _head(state, spec, network)
    ours = head + FORWARD.format() + _tail(state, "tinyfcn") + THEORY * (view == "field")
    theirs = _torch(network, spec)
    return {"tinyfcn": ours, "PyTorch": head + theirs + _tail(state, "torch") if theirs else
            NO_TORCH.format(network=network)}  # fmt: skip


def _head(state: State, spec: Any, network: str) -> str:
    """The image, and the network."""
    side = state["side"] if state["view"] == "field" else 128
    own = runs.Chosen.path != runs.SHIPPED
    about = {
        "path": repr(str(runs.Chosen.path)) if own else SHIPPED,
        "image": SCENE.format(scene=state["image"][-1], side=side, noise=5.0 * (side == 128)),
        "source": "scenes", "drawn": "SceneStyle, draw_scene",
    }  # fmt: skip
    if state["image"] == "photo":
        about |= {"image": PHOTO, "source": "transforms", "drawn": "fitted"}
    text = HEAD.format(**about)
    if network != spec.model:
        arguments, related = runs.arguments(network)
        chosen = RELATED if related else RANDOM
        text += chosen.format(network=network, classes=len(spec.classes), arguments=arguments)
    scores = [f"score_{pool}" for pool in ("pool4", "pool3") if state[pool] == "off"]
    return text + "".join(OFF.format(score=name) for name in scores if state["view"] == "skips")


def _torch(network: str, spec: Any) -> str:
    """An FCN on a VGG in PyTorch, if this is one."""
    given = spec.arguments
    stages = STAGES.get(given.get("backbone", "vgg16"))
    published = given.get("geometry") == "reference" or given.get("at_once")
    if not (network in UPS and spec.model in UPS and stages) or published:
        return ""
    lines = [TORCH.format(stages=stages, step=3 if given.get("batch_norm") else 2)]
    for up, f, score in UPS[network]:
        at = {"score_pool4": 3, "score_pool3": 2}.get(score)
        lines.append((ADDED if score else LAST).format(up=up, f=f, score=score, at=at))
    return "".join(lines)


def _tail(state: State, library: str) -> str:
    """What is printed."""
    view, of, place = state["view"], state["values"], f"{state['row']}, {state['column']}"
    label = state["class"]
    if label == "top":
        label = f"int(scores.detach().numpy()[0, :, {place}].argmax())"
    end = LOSS if of == "loss" and view == "maps" else f"end = scores[0, {label}, {place}]\n"
    if state["image"] == "photo" and end == LOSS:
        end = TRUTH + LOSS
    text = {"field": end + FIELD, "skips": LABELS}.get(view, end + GRADIENT)
    text = SHAPES if (view, of) == ("maps", "activations") else text
    grad = {"tinyfcn": "tinyfcn.grad", "torch": "torch.autograd.grad"}[library]
    return text.format(grad=grad, library=library)
