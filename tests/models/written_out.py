"""Every network once more, written out as its source tells it, layer after layer.

The whole forward pass is spelled out, with the functions that layers are made of and nothing of
``tinyfcn.models``; weights are taken by their keys. ``test_written_out.py`` runs them.
"""

import numpy as np

import tinyfcn
import tinyfcn.functional as F

VGG = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}


class Weights:
    """The network's weights, and the layers that need some."""

    def __init__(self, model):
        self.state = {key: tinyfcn.tensor(value) for key, value in model.state_dict().items()}

    def conv(self, x, key, padding=0, stride=1, dilation=1, groups=1):
        weight, bias = self.state[f"{key}.weight"], self.state.get(f"{key}.bias")
        return F.conv2d(x, weight, bias, stride, padding, dilation, groups)

    def up(self, x, key, stride=1, padding=0):
        weight, bias = self.state[f"{key}.weight"], self.state[f"{key}.bias"]
        return F.conv_transpose2d(x, weight, bias, stride, padding)

    def linear(self, x, key):
        return x @ self.state[f"{key}.weight"].transpose(0, 1) + self.state[f"{key}.bias"]

    def norm(self, x, key, eps=1e-5):
        weight, bias, mean, var = (
            self.state[f"{key}.{name}"].reshape(-1, 1, 1)
            for name in ("weight", "bias", "running_mean", "running_var")
        )
        return (x - mean) / (var + eps).sqrt() * weight + bias

    def relu(self, x, key, **window):
        return F.relu(self.conv(x, key, **window))

    def norm_relu(self, x, key, norm, eps=1e-5, **window):
        return F.relu(self.norm(self.conv(x, key, **window), norm, eps))

    def vgg(self, x, prefix, pools, depth=16, batch_norm=False, dilations=(1,) * 5, padded=True):
        """Five stages; ``pools`` says what comes after each."""
        i = 0
        for convolutions, pool, d in zip(VGG[depth], pools, dilations, strict=True):
            for _ in range(convolutions):
                x = self.conv(x, f"{prefix}{i}", padding=d if padded else 0, dilation=d)
                i += 1
                if batch_norm:
                    x = self.norm(x, f"{prefix}{i}")
                    i += 1
                x = F.relu(x)
                i += 1
            x = pool(x)
            i += 1
        return x


def halve(x):
    return F.max_pool2d(x, 2)


def halve_up(x):
    return F.max_pool2d(x, 2, ceil_mode=True)


def energy(x):
    """Response normalization over 5 channels."""
    square = np.pad(x.numpy() ** 2, ((0, 0), (2, 2), (0, 0), (0, 0)))
    total = sum(square[:, i : i + x.shape[1]] for i in range(5))
    return x / tinyfcn.tensor((1 + 1e-4 / 5 * total) ** 0.75)


def alexnet(w, x):
    y = F.max_pool2d(w.relu(x, "features.0", stride=4, padding=2), 3, 2)
    y = F.max_pool2d(w.relu(y, "features.3", padding=2), 3, 2)
    for i in (6, 8, 10):
        y = w.relu(y, f"features.{i}", padding=1)
    y = F.adaptive_avg_pool2d(F.max_pool2d(y, 3, 2), 6).reshape(len(x), -1)
    for i in (1, 4):
        y = F.relu(w.linear(y, f"classifier.{i}"))
    return w.linear(y, "classifier.6")


def vgg(depth, batch_norm):
    def forward(w, x):
        y = w.vgg(x, "features.", [halve] * 5, depth, batch_norm)
        y = F.adaptive_avg_pool2d(y, 7).reshape(len(x), -1)
        for i in (0, 3):
            y = F.relu(w.linear(y, f"classifier.{i}"))
        return w.linear(y, "classifier.6")

    return forward


def googlenet(form):
    def forward(w, x):
        def unit(x, key, padding=0, stride=1):
            window = {"padding": padding, "stride": stride}
            if form == "bvlc":
                return w.relu(x, f"{key}.conv", **window)
            return w.norm_relu(x, f"{key}.conv", f"{key}.bn", 0.001, **window)

        def pool(x, k=3):
            return F.max_pool2d(x, k, 2, ceil_mode=True)

        normalize = energy if form == "bvlc" else lambda x: x
        y = normalize(pool(unit(x, "conv1", 3, 2)))
        y = pool(normalize(unit(unit(y, "conv2"), "conv3", 1)))
        scores = {}
        for name in ("3a", "3b", "4a", "4b", "4c", "4d", "4e", "5a", "5b"):
            block = f"inception{name}."
            branches = [
                unit(y, block + "branch1"),
                unit(unit(y, block + "branch2.0"), block + "branch2.1", 1),
                unit(unit(y, block + "branch3.0"), block + "branch3.1", 2 if form == "bvlc" else 1),
                unit(F.max_pool2d(y, 3, 1, 1), block + "branch4.1"),
            ]
            y = F.cat(branches, 1)
            if name in ("4a", "4d"):
                aux = "aux1" if name == "4a" else "aux2"
                small = F.avg_pool2d(y, 5, 3) if form == "bvlc" else F.adaptive_avg_pool2d(y, 4)
                hidden = unit(small, f"{aux}.conv").reshape(len(x), -1)
                scores[aux] = w.linear(F.relu(w.linear(hidden, f"{aux}.fc1")), f"{aux}.fc2")
            if name == "3b":
                y = pool(y)
            if name == "4e":
                y = pool(y, 3 if form == "bvlc" else 2)
        return {**scores, "out": w.linear(y.mean((2, 3)), "fc")}

    return forward


def pooled_and_undone(w, x, stages, decoder):
    """Stages that end with poolings, and a decoder that undoes them, the last one first."""
    switches = []
    for stage in stages:
        x = stage(x)
        size = x.shape[2:]
        x, indices = F.max_pool2d(x, 2, ceil_mode=True, return_indices=True)
        switches.append((indices, size))
    middle, stages = decoder
    x = middle(x)
    for stage, (indices, size) in zip(stages, reversed(switches), strict=True):
        x = stage(F.max_unpool2d(x, indices, 2, output_size=size))
    return x


def vgg_stages(w, batch_norm):
    def stage(first, convolutions):
        def run(x):
            for i in range(first, first + convolutions * (2 + batch_norm), 2 + batch_norm):
                x = w.conv(x, f"encoder.{i}", padding=1)
                x = F.relu(w.norm(x, f"encoder.{i + 1}") if batch_norm else x)
            return x

        return run

    starts = (0, 7, 14, 24, 34) if batch_norm else (0, 5, 10, 17, 24)
    return [stage(*numbers) for numbers in zip(starts, VGG[16], strict=True)]


def segnet(w, x):
    def stage(number, convolutions):
        def run(x):
            for i in range(0, 3 * convolutions, 3):
                key = f"decoder.{number}."
                x = w.norm_relu(x, f"{key}{i}", f"{key}{i + 1}", padding=1)
            return x

        return run

    decoder = [stage(i, n) for i, n in enumerate((3, 3, 3, 2, 1))]
    y = pooled_and_undone(w, x, vgg_stages(w, True), (lambda x: x, decoder))
    return w.conv(y, "score", padding=1)


def segnet_basic(w, x):
    def encode(i):
        return lambda x: w.norm_relu(x, f"encoder.{i}.0", f"encoder.{i}.1", padding=3)

    def decode(i):
        return lambda x: w.norm(w.conv(x, f"decoder.{i}.0", padding=3), f"decoder.{i}.1")

    stages = [encode(i) for i in range(4)], (lambda x: x, [decode(i) for i in range(4)])
    return w.conv(pooled_and_undone(w, energy(x), *stages), "score")


def deconvnet(w, x):
    def stage(number, convolutions):
        def run(x):
            for i in range(0, 2 * convolutions, 2):
                x = F.relu(w.up(x, f"decoder.{number}.{i}", padding=1))
            return x

        return run

    def middle(x):
        y = w.relu(w.relu(x, "fc6.0"), "fc7.0")
        return F.relu(w.up(y, "fc6_deconv.0"))

    decoder = [stage(i, n) for i, n in enumerate((3, 3, 3, 2, 2))]
    return w.conv(pooled_and_undone(w, x, vgg_stages(w, False), (middle, decoder)), "score")


def unet(padding):
    def forward(w, x):
        def two(x, key):
            return w.relu(w.relu(x, f"{key}.0", padding=padding), f"{key}.2", padding=padding)

        maps = []
        for stage in range(5):
            x = two(halve_up(x) if stage else x, f"down.{stage}")
            maps.append(x)
        for stage in range(4):
            x, finer = w.up(x, f"enlarge.{stage}", stride=2), maps[3 - stage]
            (h, v), (height, width) = x.shape[2:], finer.shape[2:]
            if padding:
                x = x[:, :, :height, :width]
            else:
                top, left = (height - h) // 2, (width - v) // 2
                finer = finer[:, :, top : top + h, left : left + v]
            x = two(F.cat([finer, x], 1), f"up.{stage}")
        return w.conv(x, "score")

    return forward


def large_field_of_view(w, x, average):
    pools = [lambda x: F.max_pool2d(x, 3, 2, 1, ceil_mode=True)] * 3
    pools += [lambda x: F.max_pool2d(x, 3, 1, 1)] * 2
    y = w.vgg(x, "backbone.", pools, dilations=(1, 1, 1, 1, 2))
    return F.avg_pool2d(y, 3, 1, 1) if average else y


def from_corner(y, x):
    """Pixel i of y lies over pixel 8 i of x."""
    size = tuple(8 * (n - 1) + 1 for n in y.shape[2:])
    y = F.interpolate(y, size, mode="bilinear", align_corners=True)
    return y[:, :, : x.shape[2], : x.shape[3]]


def deeplab(rates, average):
    def forward(w, x):
        features = large_field_of_view(w, x, average)
        scores = 0.0
        for i, rate in enumerate(rates):
            y = w.relu(features, f"heads.{i}.fc6", padding=rate, dilation=rate)
            scores = scores + w.conv(w.relu(y, f"heads.{i}.fc7"), f"heads.{i}.fc8")
        return from_corner(scores, x)

    return forward


def parsenet(w, x):
    y = w.relu(large_field_of_view(w, x, True), "head.fc6", padding=12, dilation=12)
    y = w.relu(y, "head.fc7")

    def of_length_one(y, key):
        return y / (y * y).sum(1, keepdim=True).sqrt() * w.state[f"{key}.weight"].reshape(-1, 1, 1)

    mean = of_length_one(y.mean((2, 3), keepdim=True), "global_norm")
    both = F.cat([of_length_one(y, "local_norm"), mean + 0.0 * y], 1)
    return from_corner(w.conv(both, "score"), x)


def dilation(padded):
    def forward(w, x):
        height, width = x.shape[2:]
        margin = 0 if padded else 186
        borders = (margin, margin + -width % 8, margin, margin + -height % 8)
        y = F.pad(x, borders, "reflect")
        pools = [halve] * 3 + [lambda x: x] * 2
        y = w.vgg(y, "backbone.", pools, dilations=(1, 1, 1, 1, 2), padded=padded)
        y = w.relu(y, "head.0", dilation=4, padding=12 if padded else 0)
        y = w.conv(w.relu(y, "head.3"), "head.6")
        for i, rate in enumerate((1, 1, 2, 4, 8, 16, 1)):
            y = w.relu(y, f"context.{2 * i}", padding=rate, dilation=rate)
        y = F.interpolate(w.conv(y, "context.14"), scale_factor=8, mode="bilinear")
        return y[:, :, :height, :width]

    return forward


def dilated_resnet50(w, x):
    """Output stride 8: the last two maps."""
    x = F.max_pool2d(w.norm_relu(x, "backbone.conv1", "backbone.bn1", padding=3, stride=2), 3, 2, 1)
    maps = []
    # Blocks, stride, dilation of the first block and of the others.
    for layer, (blocks, step, first, others) in enumerate(
        ((3, 1, 1, 1), (4, 2, 1, 1), (6, 1, 1, 2), (3, 1, 2, 4)), start=1
    ):
        for i in range(blocks):
            key = f"backbone.layer{layer}.{i}."
            stride, rate = (1, others) if i else (step, first)
            y = w.norm_relu(x, f"{key}conv1", f"{key}bn1")
            window = {"stride": stride, "padding": rate, "dilation": rate}
            y = w.norm_relu(y, f"{key}conv2", f"{key}bn2", **window)
            y = w.norm(w.conv(y, f"{key}conv3"), f"{key}bn3")
            if i == 0:
                key += "downsample"
                x = w.norm(w.conv(x, f"{key}.0", stride=stride), f"{key}.1")
            x = F.relu(x + y)
        maps.append(x)
    return maps[-2:]


def upsampled(y, x):
    return F.interpolate(y, x.shape[2:], mode="bilinear")


def fcn_head(w, x, key):
    y = w.norm_relu(x, f"{key}.0", f"{key}.1", padding=1)
    return w.conv(y, f"{key}.4")


def fcn_resnet(w, x):
    middle, last = dilated_resnet50(w, x)
    out, aux = fcn_head(w, last, "classifier"), fcn_head(w, middle, "aux_classifier")
    return {"out": upsampled(out, x), "aux": upsampled(aux, x)}


def deeplabv3(w, x):
    middle, last = dilated_resnet50(w, x)
    key = "classifier.0."
    views = [w.norm_relu(last, f"{key}convs.0.0", f"{key}convs.0.1")]
    for i, rate in enumerate((12, 24, 36), start=1):
        window = {"padding": rate, "dilation": rate}
        views.append(w.norm_relu(last, f"{key}convs.{i}.0", f"{key}convs.{i}.1", **window))
    mean = last.mean((2, 3), keepdim=True)
    mean = w.norm_relu(mean, f"{key}convs.4.1", f"{key}convs.4.2")
    views.append(mean + 0.0 * views[0])
    y = w.norm_relu(F.cat(views, 1), f"{key}project.0", f"{key}project.1")
    y = w.conv(w.norm_relu(y, "classifier.1", "classifier.2", padding=1), "classifier.4")
    return {"out": upsampled(y, x), "aux": upsampled(fcn_head(w, middle, "aux_classifier"), x)}


def pspnet(w, x):
    middle, last = dilated_resnet50(w, x)
    parts = [last]
    for i, bins in enumerate((1, 2, 3, 6)):
        key = f"classifier.0.levels.{i}."
        y = w.norm_relu(F.adaptive_avg_pool2d(last, bins), f"{key}1", f"{key}2")
        parts.append(upsampled(y, last))
    y = w.norm_relu(F.cat(parts, 1), "classifier.1", "classifier.2", padding=1)
    y = w.conv(y, "classifier.5")
    return {"out": upsampled(y, x), "aux": upsampled(fcn_head(w, middle, "aux_classifier"), x)}


def same_resolution(w, x):
    for i in range(0, 16, 2):
        x = w.relu(x, f"layers.{i}", padding=1)
    return w.conv(x, "layers.16")


def small_classifier(w, x):
    for i in (0, 3):
        x = halve(w.relu(x, f"{i}"))
    return w.linear(F.relu(w.linear(x.reshape(len(x), -1), "7")), "9")


# Name, arguments, size of the images, and the function that spells it out.
SIZE = (75, 58)
NETWORKS = [
    ("alexnet", {}, (99, 131), alexnet),
    ("vgg11", {}, SIZE, vgg(11, False)),
    ("vgg13_bn", {}, SIZE, vgg(13, True)),
    ("vgg16", {}, SIZE, vgg(16, False)),
    ("vgg19", {}, SIZE, vgg(19, False)),
    ("googlenet", {"width": 1 / 16, "aux_logits": True}, SIZE, googlenet("torchvision")),
    ("googlenet", {"width": 1 / 16, "aux_logits": True, "form": "bvlc"}, (227, 231),
     googlenet("bvlc")),
    ("segnet", {}, SIZE, segnet),
    ("segnet_basic", {}, SIZE, segnet_basic),
    ("deconvnet", {}, (195, 224), deconvnet),
    ("unet", {}, (188, 204), unet(0)),
    ("unet", {"geometry": "aligned"}, SIZE, unet(1)),
    ("deeplab_largefov", {}, SIZE, deeplab((12,), True)),
    ("deeplab_aspp", {}, SIZE, deeplab((6, 12, 18, 24), False)),
    ("parsenet", {}, SIZE, parsenet),
    ("dilation_context", {}, SIZE, dilation(True)),
    ("dilation_context", {"geometry": "reference"}, (195, 191), dilation(False)),
    ("fcn_resnet50", {}, SIZE, fcn_resnet),
    ("deeplabv3_resnet50", {}, SIZE, deeplabv3),
    ("pspnet", {}, SIZE, pspnet),
    ("same_resolution", {}, SIZE, same_resolution),
]  # fmt: skip
