"""Programs that give the numbers of the network room."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tinyfcn.explorer import network_run as runs
from tinyfcn.explorer.settings import State

HEAD = """\
import numpy as np
import tinyfcn
from tinyfcn.data.scenes import SceneStyle, draw_scene
from tinyfcn.training.published import load_model

model, spec = load_model({path})
model.eval()
{image}
x = tinyfcn.tensor(spec.preprocessing.apply(image)[None], requires_grad=True)
"""
FIELD = """\
{network}
scores = model(x)
label = {label}
(gradient,) = tinyfcn.grad(scores[0, label, {row}, {column}], x)
used = np.abs(gradient.numpy()[0]).sum(0) > 0
print(np.flatnonzero(used.any(1))[[0, -1]], np.flatnonzero(used.any(0))[[0, -1]])
print(tinyfcn.summary(model, x.shape).receptive_field)  # of the coarsest map
"""
MAPS = """\

class Maps(tinyfcn.Hook):
    def leave(self, module, inputs, result):
        names = {{id(m): name for name, m in model.named_modules()}}
        if not [*module.children()]:
            maps[names[id(module)]] = result

maps = {{}}
with Maps():
    scores = model(x)
"""
PAD = """\
import tinyfcn
from tinyfcn import models, nn
from tinyfcn.models.geometry import IMAGE, coordinate_map, crop_offset

with tinyfcn.backend.using("meta"):  # without weights
    model = models.create("{network}", num_classes=1, width=1 / 64, geometry="reference")
model.backbone[0].padding = ({pad}, {pad})
layers = [*model.backbone, model.fc6, model.fc7, model.score_fr, {up}]
print(crop_offset(coordinate_map(layers), IMAGE))
"""
PAD_TORCH = """\
# PyTorch's layers know their windows, but not where they look: here it is added up.
import torch
from torch import nn

def conv(k, s=1, p=0):
    return nn.Conv2d(1, 1, k, s, p)

stages = [2, 2, 3, 3, 3]
layers = [conv(3, p={pad})]
for i, n in enumerate(stages):
    layers += [conv(3, p=1)] * (n - (i == 0)) + [conv(2, 2)]  # a pooling has a window, too
layers += [conv(7), conv(1), conv(1)]
layers += [nn.ConvTranspose2d(1, 1, k, s) for k, s in {ups}]
first, step = 0.0, 1.0
for layer in layers:
    k, s, p = layer.kernel_size[0], layer.stride[0], layer.padding[0]
    if isinstance(layer, nn.ConvTranspose2d):
        step /= s
        first += (p - (k - 1) / 2) * step
    else:
        first += ((k - 1) / 2 - p) * step
        step *= s
print(-first)  # where the crop starts
"""
CROPS = """\
from tinyfcn import models, nn
from tinyfcn.models.backbones.backbone import with_classifier
from tinyfcn.models.backbones.vgg import VGGBackbone

tinyfcn.random.manual_seed(0)
backbone = VGGBackbone(1 / 16, depth=11)
for layer in backbone:
    if isinstance(layer, nn.Conv2d):
        layer.padding = (0, 0)
classifier = with_classifier(backbone, 3, len(spec.classes), 1 / 16, 0.5).eval()
one_pass = models.convolutionalize(classifier)(x)
crop = classifier(x[:, :, 64 : 64 + 224, 64 : 64 + 224])
print(one_pass[0, :, 2, 2], crop[0])
"""
TORCH = """\
# The FCN-8s in PyTorch: VGG16, scores, and bilinear upsampling by transposed convolutions.
import numpy as np
import torch
import torch.nn.functional as F

file = np.load({path})
names = [name for name in file.files if name.startswith("model/")]
w = {{name[6:]: torch.tensor(file[name].astype(np.float32)) for name in names}}
maps = {{}}

def layer(x, name, **window):
    maps[name] = F.conv2d(x, w[name + ".weight"], w[name + ".bias"], **window)
    return maps[name]

def norm(x, name):
    parts = (w[f"{{name}}.{{part}}"] for part in ("running_mean", "running_var", "weight", "bias"))
    return F.batch_norm(x, *parts)

def up(x, name, f):
    return F.conv_transpose2d(x, w[name + ".weight"], None, f, f // 2, groups=x.shape[1])

x = image  # (1, 3, H, W), as the preprocessing makes it; H and W are multiples of 32
pools, i = [], 0
for convolutions in (2, 2, 3, 3, 3):
    for _ in range(convolutions):
        x = F.relu(norm(layer(x, f"backbone.{{i}}", padding=1), f"backbone.{{i + 1}}"))
        i += 3
    x = F.max_pool2d(x, 2)
    pools.append(x)
    i += 1
x = F.relu(norm(layer(x, "fc6", padding=3), "bn6"))
x = F.relu(norm(layer(x, "fc7"), "bn7"))
x = layer(x, "score_fr")
x = up(x, "upscore2", 2) + {four} * layer(pools[3], "score_pool4")
x = up(x, "upscore_pool4", 2) + {three} * layer(pools[2], "score_pool3")
scores = up(x, "upscore8", 8)
"""
UPS = {
    "fcn32s": [(64, 32)],
    "fcn16s": [(4, 2), (32, 16)],
    "fcn8s": [(4, 2), (4, 2), (16, 8)],
}
NAMES = {
    "fcn32s": "model.upscore",
    "fcn16s": "model.upscore2, model.upscore16",
    "fcn8s": "model.upscore2, model.upscore_pool4, model.upscore8",
}


def code(state: State, spec: Any) -> dict[str, str]:
    """Programs for a view, by library."""
    view = state["view"]
    if view == "pad":
        name = state["network"] if state["network"] in UPS else "fcn8s"
        about = {"network": name, "pad": state["pad"], "up": NAMES[name], "ups": UPS[name]}
        return {"tinyfcn": PAD.format(**about), "PyTorch": PAD_TORCH.format(**about)}
    side = {"field": state["side"], "crops": 384}.get(view, 128)
    own = runs.Chosen.path != runs.SHIPPED
    path = repr(str(runs.Chosen.path)) if own else 'tinyfcn.__path__[0] + "/explorer/fcn8s.npz"'
    style = f"SceneStyle({side}, noise={5.0 if side == 128 else 0.0})"
    image = (
        f"scene = draw_scene(np.random.default_rng({state['image'][-1]}), {style})\n"
        "image, truth = scene.image, scene.mask[None].astype(np.int64)"
    )
    if state["image"] == "photo":
        image = 'image = spec.preprocessing.read("photo.jpg", upright=True)'
    head = HEAD.format(path=path, image=image)
    if view == "crops":
        return {"tinyfcn": head + CROPS}
    label = str(state["class"])
    if label == "top":
        label = f"int(scores.numpy()[0, :, {state['row']}, {state['column']}].argmax())"
    found = {}
    if view == "field":
        own_network = state["network"] == spec.model
        network = "" if own_network else f"model = ...  # the {state['network']} of this room"
        found["tinyfcn"] = head + FIELD.format(
            network=network, label=label, row=state["row"], column=state["column"]
        )
    elif view == "skips":
        off = [f"tinyfcn.nn.init.zeros_(model.score_{pool}.{part})\n"
               for pool in ("pool4", "pool3") for part in ("weight", "bias")
               if state[pool] == "off"]  # fmt: skip
        found["tinyfcn"] = head + "".join(off) + "print(model(x).numpy()[0].argmax(0))\n"
    else:
        found["tinyfcn"] = head + MAPS.format() + _gradient(state, label)
    if spec.model == "fcn8s" and spec.arguments.get("batch_norm") and view != "field":
        on = {"four": int(state["pool4"] == "on"), "three": int(state["pool3"] == "on")}
        shown = repr(str(Path(runs.Chosen.path).name)) if own else '"fcn8s.npz"'
        found["PyTorch"] = TORCH.format(path=shown, **on)
    return found


def _gradient(state: State, label: str) -> str:
    """What is shown of the maps."""
    if state["values"] == "activations":
        return 'print(maps["backbone.0"].shape, scores.shape)\n'
    end = f"scores[0, {label}, {state['row']}, {state['column']}]"
    if state["values"] == "loss":
        truth = "truth" if state["image"] != "photo" else "scores.numpy().argmax(1)"
        end = f"tinyfcn.functional.cross_entropy(scores, {truth}, ignore_index=255)"
    return f'end = {end}\n(gradient,) = tinyfcn.grad(end, maps["backbone.0"])\nprint(gradient)\n'
