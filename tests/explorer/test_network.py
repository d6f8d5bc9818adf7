"""The network room: what it shows is what the network computes."""

from __future__ import annotations

import base64
import contextlib
import gzip
import importlib.util
import io
import json
import re
import statistics
import time

import numpy as np
import pytest
from PIL import Image

import tinyfcn
import tinyfcn.functional as F
from tinyfcn import cli, explorer, models
from tinyfcn.data import Preprocessing
from tinyfcn.data.scenes import draw_scene
from tinyfcn.explorer import network, static
from tinyfcn.explorer import network_run as runs
from tinyfcn.metrics import ConfusionMatrix
from tinyfcn.training import checkpoint, model_spec


@pytest.fixture
def own():
    """What a test chooses is forgotten afterwards."""
    yield
    network.use(None, None)


def pixels(address: str) -> np.ndarray:
    """A picture that an answer holds."""
    data = base64.b64decode(address.removeprefix("data:image/png;base64,"))
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGBA"))


def numbers(answer) -> np.ndarray:
    return np.frombuffer(base64.b64decode(answer["numbers"]), "<f4").reshape(answer["shape"])


def network_of(scene: int, side: int = 128):
    """The network, its input and the truth, made without the room."""
    model, spec = runs.loaded()
    style = runs.SceneStyle(side, noise=5.0 if side == 128 else 0.0)
    drawn = draw_scene(np.random.default_rng(scene), style)
    x = spec.preprocessing.apply(drawn.image)[None]
    return model, tinyfcn.tensor(x, requires_grad=True), drawn.mask


def test_the_network_in_the_package():
    """It is small, and labels scenes that it has not seen."""
    assert runs.SHIPPED.stat().st_size < 1.1e6
    model, spec = runs.loaded()
    counts = ConfusionMatrix(len(spec.classes))
    for seed in range(900, 920):
        _, x, truth = network_of(seed)
        counts.update(model(x).numpy().argmax(1), truth[None])
    assert counts.scores().mean_iu > 0.75


def test_every_map_is_that_of_the_layers():
    model, x, _ = network_of(2)
    layers = network.answer({"image": "scene 2"})["layers"]
    names = [layer["name"] for layer in layers]
    rng = np.random.default_rng(0)
    for index in rng.choice(names.index("fc6"), 8, replace=False):
        last = int(names[index].removeprefix("backbone."))
        fused = "ReLU" in layers[index]["kind"]
        expected = model.backbone[: last + 1 + fused](x).numpy()[0]
        assert layers[index]["shape"] == expected.shape
        channel = int(rng.integers(len(expected)))
        asked = {"image": "scene 2", "layer": str(index), "channel": str(channel)}
        found = network.answer(asked)
        np.testing.assert_allclose(numbers(found), expected[channel], rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(
            layers[index]["range"], [expected.min(), expected.max()], 1e-3, 1e-3
        )
        assert pixels(found["png"]).shape[:2] == expected.shape[1:]
        assert pixels(layers[index]["png"]).shape[:2] == (
            layers[index]["height"],
            layers[index]["width"],
        )
    last = network.answer({"image": "scene 2", "layer": str(len(names) - 1), "channel": "4"})
    np.testing.assert_allclose(numbers(last), model(x).numpy()[0, 4], rtol=1e-4, atol=1e-4)


def test_gradients_are_those_of_the_loss_and_of_a_score():
    model, x, truth = network_of(1)
    names = [layer["name"] for layer in network.answer({})["layers"]]
    scores = model(x)
    loss = F.cross_entropy(scores, truth[None].astype(np.int64), ignore_index=255)
    (expected,) = tinyfcn.grad(loss, scores, retain_graph=True)
    asked = {"values": "loss", "layer": str(len(names) - 1), "channel": "3"}
    np.testing.assert_allclose(numbers(network.answer(asked)), expected.numpy()[0, 3], 1e-4, 1e-7)
    place = {"values": "score", "row": "40", "column": "90", "class": "3"}
    one = numbers(network.answer({**place, "layer": str(len(names) - 1), "channel": "3"}))
    assert one[40, 90] == 1 and one.sum() == 1
    # behind score_pool3 all is linear: a step of its map changes the score by step · gradient
    layer = names.index("score_pool3")
    slope = numbers(network.answer({**place, "layer": str(layer), "channel": "3"}))
    row, column = np.unravel_index(slope.argmax(), slope.shape)

    class Step(tinyfcn.Hook):
        def leave(self, module, inputs, result):
            if module is model.score_pool3:
                result.data[0, 3, row, column] += 2

    with Step(), tinyfcn.no_grad():
        moved = model(x).numpy()[0, 3, 40, 90] - scores.numpy()[0, 3, 40, 90]
    assert moved == pytest.approx(2 * slope[row, column], rel=1e-3)


@pytest.mark.parametrize("name", runs.NETWORKS)
def test_a_score_depends_on_its_window_alone(name):
    """What lies outside of the frame is changed, and the score stays; where the frame says that
    pixels are used, it is not too large: its border matters to the layers."""
    rng = np.random.default_rng(len(name))
    model, _ = runs.by_name(name)
    _, x, _ = network_of(1, 512)
    for row, column in rng.integers(0, 512, (2, 2)):
        asked = {
            "view": "field",
            "network": name,
            "side": "512",
            "row": str(row),
            "column": str(column),
        }
        answer = network.answer(asked)
        theory, measured = answer["boxes"]["theory"], answer["boxes"]["measured"]
        for (first, last), (low, high) in zip(theory, measured, strict=True):
            assert first <= low <= high <= last or high < 0  # nothing of the image mattered
        inside = np.zeros((512, 512), bool)
        inside[tuple(slice(max(0, first), last + 1) for first, last in theory)] = True
        other = np.where(inside, x.numpy(), -x.numpy())
        with tinyfcn.no_grad():
            before, after = (
                model(tinyfcn.tensor(v)).numpy()[0, :, row, column] for v in (x.numpy(), other)
            )
        np.testing.assert_allclose(before, after, rtol=1e-4, atol=1e-4)


def test_random_networks_say_so():
    for name in runs.NETWORKS:
        answer = network.answer({"view": "field", "network": name, "side": "128"})
        assert answer["trained"] == name.startswith("fcn")


@pytest.mark.parametrize(
    ("pool4", "pool3"), [("on", "on"), ("off", "on"), ("on", "off"), ("off", "off")]
)
def test_skips_can_be_taken_away(pool4, pool3):
    model, x, truth = network_of(3)
    answer = network.answer({"view": "skips", "image": "scene 3", "pool4": pool4, "pool3": pool3})
    pools = model.backbone.features(x)
    y = model.upscore2(model.score_fr(model._hidden(pools[4])))
    y = y + model.score_pool4(pools[3]) if pool4 == "on" else y
    y = model.upscore_pool4(y)
    y = y + model.score_pool3(pools[2]) if pool3 == "on" else y
    scores = model.upscore8(y).numpy()[0]
    found = [score for *_, score, _ in answer["scores"]]
    np.testing.assert_allclose(found, scores[:, 56, 56], rtol=1e-3, atol=1e-3)
    counts = ConfusionMatrix(len(scores))
    counts.update(scores.argmax(0)[None], truth[None])
    one = next(c for c in answer["combinations"] if (c["pool4"], c["pool3"]) == (pool4, pool3))
    assert one["iu"] == pytest.approx(counts.scores().mean_iu, abs=2e-3)
    assert [s["name"] for s in answer["stages"]].count("sum_pool4") == 1


def test_the_published_crops():
    crops = {
        name: [start for _, start, _ in network.answer({"view": "pad", "network": name})["crops"]]
        for name in ("fcn32s", "fcn16s", "fcn8s")
    }
    assert crops == {"fcn32s": [19], "fcn16s": [5, 27], "fcn8s": [5, 9, 31]}


@pytest.mark.parametrize("name", ["fcn32s", "fcn16s", "fcn8s"])
def test_offsets_add_up(name):
    rng = np.random.default_rng(1)
    for pad in {0, 100, 120, *map(int, rng.integers(0, 120, 4))}:
        n = int(rng.choice(network.SETTINGS["n"].values[:-3]))
        asked = {"view": "pad", "network": name, "pad": str(pad), "n": str(n)}
        answer = network.answer(asked)
        rows, crops = answer["rows"], answer["crops"]
        assert sum(row[5] for row in rows) == rows[-1][6]
        for _, k, s, p, *_ in rows:
            assert k >= 1 and s >= 1 and p >= 0
        start = crops[-1][1]
        assert (start if start is not None else rows[-1][6]) == abs(rows[-1][6])
        if pad == 100:
            model = models.create(name, num_classes=1, width=1 / 64, geometry="reference")
            assert {crop: (at, at) for crop, at, _ in crops} == model.offsets
            assert answer["covers"]
            assert model(tinyfcn.tensor(np.zeros((1, 3, n, n), np.float32))).shape == (1, 1, n, n)


def test_one_pass_gives_what_crops_give():
    answer = network.answer({"view": "crops"})
    whole, apart = np.array(answer["whole"]), np.array(answer["apart"])
    assert whole.shape == apart.shape == (10, 6, 6)
    np.testing.assert_allclose(whole, apart, rtol=1e-4, atol=1e-5)
    assert answer["multiply_adds"][0] * 5 < answer["multiply_adds"][1]


def test_it_answers_fast():
    for asked in ({}, {"view": "field", "side": "128"}, {"view": "skips"}, {"view": "pad"}):
        network.answer(asked)
        times = []
        for _ in range(7):
            begun = time.perf_counter()
            network.answer(asked)
            times.append(time.perf_counter() - begun)
        assert statistics.median(times) < 0.25, asked  # a machine that is busy with other tests


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ({"image": "photo"}, "there is no photo"),
        ({"image": "scene 99"}, "image must be one of"),
        ({"class": "77"}, "class must be less than 10, got 77"),
        ({"layer": "400"}, "there is no channel 0 of a map 400"),
        ({"layer": "0", "channel": "9"}, "there is no channel 9 of a map 0"),
        ({"row": "-1"}, "row must be one of"),
        ({"view": "attic"}, "view must be one of"),
    ],
)
def test_nonsense_ends_in_a_sentence(asked, sentence):
    with pytest.raises(ValueError, match=sentence):
        network.answer(asked)


def saved(path, name, channels=3, classes=3, **arguments):
    """A checkpoint with random weights."""
    preprocessing = Preprocessing().for_channels(channels)
    names = tuple(f"class {i}" for i in range(classes))
    spec = model_spec.ModelSpec(name, names, {**arguments, "in_channels": channels}, preprocessing)
    if channels == 3:
        del spec.arguments["in_channels"]
    checkpoint.save(path, {"model": spec.build().state_dict(), "description": spec.to_dict()})
    return path


@pytest.mark.parametrize(
    ("name", "channels", "arguments"),
    [
        ("fcn8s", 1, {"width": 1 / 32}),
        ("fcn8s", 3, {"width": 1 / 32, "geometry": "reference", "classes": 21}),
        ("fcn32s", 3, {"width": 1 / 32, "backbone": "resnet18"}),
        ("segnet_basic", 3, {}),
        ("unet", 3, {"width": 1 / 32}),  # without padding: it sees the image mirrored
        ("deeplab_largefov", 3, {"width": 1 / 32}),
        ("pspnet", 3, {"width": 1 / 32}),  # each score sees all of the image
        ("fcn8s", 4, {"width": 1 / 32}),  # which can read no scene
    ],
)
def test_a_checkpoint_and_a_photo_of_the_readers(tmp_path, own, name, channels, arguments):
    path, photo = saved(tmp_path / "best.npz", name, channels, **arguments), tmp_path / "photo.png"
    pixels = np.random.default_rng(0).integers(0, 256, (70, 40, max(3, channels)), np.uint8)
    turned = Image.fromarray(pixels)
    exif = turned.getexif()
    exif[0x0112] = 6  # it was taken upright
    turned.save(photo, exif=exif)
    if channels == 4:
        with pytest.raises(ValueError, match=r"4 channels.*give it an image"):
            network.use(path, None)
    network.use(path, photo)
    answer = network.answer({})
    assert answer["size"] == (40, 70) and len(answer["scores"]) == arguments.get("classes", 3)
    for view in answer["controls"][0]["options"]:
        found = network.answer({n: v for n, v in view[1].items() if v})
        assert json.dumps(found, allow_nan=False)
        for values in ("loss", "score"):
            network.answer({"values": values, "layer": "1"})
    theory, measured, _ = network.answer({"view": "field", "row": "20"})["boxes"].values()
    for (first, last), (low, high) in zip(theory, measured, strict=True):
        assert first <= low <= high <= last or high < 0
    recorded = static.record("network") if name == "unet" or channels == 4 else {}
    assert all(json.dumps(one, allow_nan=False) for one in recorded.values())
    if name != "fcn8s":
        with pytest.raises(ValueError, match=f"skips are those of an fcn8s, and this is a {name}"):
            network.answer({"view": "skips"})
    if channels < 4:
        network.use(path, None)
        assert network.answer({"values": "loss", "layer": "1"})["range"][1] > 0
        assert network.answer({"view": "crops", "image": "scene 2"})["difference"] < 1e-4


@pytest.mark.parametrize(("height", "width"), [(1, 1), (2, 3), (3, 900), (700, 2000)])
def test_a_photo_of_any_size(tmp_path, own, height, width):
    Image.new("L", (width, height), 90).save(tmp_path / "photo.png")
    network.use(None, tmp_path / "photo.png")
    size = network.answer({})["size"]
    assert max(size) == min(256, max(height, width)) and min(size) >= 1
    assert json.dumps(network.answer({"view": "field", "row": "300", "column": "300"}))


PROGRAMS = [
    {},
    {"values": "loss"},
    {"values": "score", "row": "40", "column": "90", "class": "3"},
    *({"view": "field", "network": name, "side": "128"} for name in ("fcn32s", "fcn16s", "fcn8s")),
    {"view": "field", "network": "unet", "side": "128"},
    {"view": "skips", "pool4": "off"},
    {"view": "pad", "pad": "40"},
    {"view": "crops"},
]


@pytest.mark.parametrize("library", ["tinyfcn", "PyTorch"])
@pytest.mark.parametrize("asked", PROGRAMS)
def test_the_code_gives_the_numbers(asked, library):
    """The lines for PyTorch run as such where it is installed; else, as it has the same names and
    arguments, with tinyfcn."""
    answer = network.answer(asked)
    text, view = answer["code"][library], answer["view"]
    if library == "PyTorch" and asked.get("network") == "unet":
        assert text.startswith("# No lines for PyTorch: it has no unet")
        return
    if library == "PyTorch" and not importlib.util.find_spec("torch"):
        if view == "pad":
            pytest.skip("needs torch")
        for theirs, ours in (("torch.nn.", "tinyfcn."), ("torch.autograd", "tinyfcn")):
            text = text.replace(theirs, ours)
        text = text.replace("import torch\n", "").replace("torch", "tinyfcn")
    names, printed = {}, io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(text, names)
    said = printed.getvalue()
    if view == "field":
        bounds = [int(n) for n in re.findall(r"\d+", said.replace("(", "#("))[:4]]
        assert bounds == [n for pair in answer["boxes"]["measured"] for n in pair]
    elif view == "pad":
        assert float(said) == pytest.approx(-answer["rows"][-1][6], abs=1e-4)
    elif view == "crops":
        one = names["one_pass"].detach().numpy()[0]
        np.testing.assert_allclose(one, np.array(answer["whole"]), rtol=1e-4, atol=1e-4)
        crop = names["crop"].detach().numpy()[0]
        np.testing.assert_allclose(crop, np.array(answer["apart"])[:, 2, 2], rtol=1e-4, atol=1e-4)
    else:
        scores = names.get("scores")
        scores = scores if scores is not None else names["model"](names["x"])
        place = asked.get("row", "56"), asked.get("column", "56")
        found = scores.detach().numpy()[0, :, int(place[0]), int(place[1])]
        np.testing.assert_allclose(found, [one[2] for one in answer["scores"]], 1e-3, 1e-3)
        if "values" in asked:
            first = numbers(network.answer({**asked, "layer": "0", "channel": "2"}))
            np.testing.assert_allclose(names["gradient"].numpy()[0, 2], first, 1e-3, 1e-6)


@pytest.mark.parametrize("what", ["nothing", "text", "pickle", "classifier", "photo"])
def test_what_cannot_be_read_is_said(tmp_path, what, capsys, own):
    import pickle

    path, more = tmp_path / "best.npz", []
    if what == "text":
        path.write_text("hello")
    elif what == "pickle":
        path.write_bytes(pickle.dumps({"a": 1}))
    elif what == "classifier":
        spec = model_spec.ModelSpec("vgg11", ("a", "b"), {"width": 1 / 64})
        state = {"model": spec.build().state_dict(), "description": spec.to_dict()}
        checkpoint.save(path, state)
    elif what == "photo":
        path = runs.SHIPPED
        (tmp_path / "photo.jpg").write_text("no photo")
        more = ["--image", str(tmp_path / "photo.jpg")]
    with pytest.raises(SystemExit) as ended:
        cli.main(["explore", str(path), *more, "--no-browser"])
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ") and "Traceback" not in said and str(tmp_path) in said


def test_what_is_recorded_is_small():
    answers = static.record("network")
    size = len(gzip.compress(json.dumps(answers, separators=(",", ":")).encode())) * 4 / 3
    assert size < 2e6, f"{size / 1e6:.2f} MB"
    assert "" in answers and explorer.room("network") is network
