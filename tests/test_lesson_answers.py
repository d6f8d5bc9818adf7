"""The answers to the questions that the lessons end in, computed, and the numbers they are about.

Each test is the answer to the lesson of its number.
"""

from __future__ import annotations

import functools
import itertools
import math
from typing import Any

import numpy as np
import pytest

import tinyfcn
import tinyfcn.functional as F
from tinyfcn import backend, gradcheck, models, nn, tensor
from tinyfcn.backend.cpu.conv.winograd import matrices
from tinyfcn.backend.cuda.emulator import BuildError
from tinyfcn.cli.lessons import folder
from tinyfcn.gradcheck import GradientError
from tinyfcn.lessons.notebook import run, scripts
from tinyfcn.metrics import ConfusionMatrix
from tinyfcn.models.geometry import coordinate_map, output_size, receptive_field

SCRIPTS = {script.number: script for script in scripts(folder())}


@functools.cache
def names(number: int) -> dict[str, Any]:
    """What a lesson computed."""
    script = SCRIPTS[number]
    try:
        return run((cell.code for cell in script.cells), script.text)
    except BuildError as missing:
        pytest.skip(str(missing))


def test_every_lesson_has_its_answer() -> None:
    answered = {name.split("_")[2] for name in globals() if name.startswith("test_lesson_")}
    assert answered == {str(number) for number in SCRIPTS}


# What the texts say under "Change one line": as it is, as it becomes, and a number that tells.
CHANGES = [
    (1, "KERNEL = 7", "KERNEL = 15", lambda n: n["sees"][0] == 41),
    (
        2,
        "HEIGHT, WIDTH = 3, 2, 5, 6",
        "HEIGHT, WIDTH = 3, 2, 4, 7",
        lambda n: len(n["of_pixels"]) == 28,
    ),
    (3, "STRIDE = 5, 3, 1", "STRIDE = 5, 3, 2", lambda n: n["copies"].max() == 4),
    (3, "STRIDE = 5, 3, 1", "STRIDE = 5, 3, 3", lambda n: n["copies"].max() == 1),
    (4, "STRIDE = 7, 1", "STRIDE = 7, 2", lambda n: (n["gx"].numpy()[0, 0, 2:5, 2:5] > 0).all()),
    (
        5,
        "STRIDE, PADDING = 5, 2",
        "STRIDE, PADDING = 5, 1",
        lambda n: n["matrix"].shape == (25, 25),
    ),
    (6, "= 7, 2, 2", "= 7, 3, 2", lambda n: len(np.unique(n["indices"].numpy())) < 9),
    (
        7,
        "= 2, (2, 3, 4, 5)",
        "= 3, (3, 4, 6, 7)",
        lambda n: n["ratios"] == {3: 1, 4: 4, 6: 1, 7: 2.25},
    ),
    (8, "PADDING = 0", "PADDING = 1", lambda n: n["difference"].min() > 1e-4),
    (9, "PADDING = 100", "PADDING = 90", lambda n: n["crop"] == 9),
    (10, "(48.0, 96.0)", "(24.0, 48.0)", lambda n: n["bound"][32] < 0.4),
    (10, "(48.0, 96.0)", "(128.0, 200.0)", lambda n: n["bound"][32] > 0.75),
    (11, "FACTOR, CLASSES = 2", "FACTOR, CLASSES = 4", lambda n: n["kernel"] == 8),
    (11, "FACTOR, CLASSES = 2", "FACTOR, CLASSES = 8", lambda n: sum(n["phases"]) == 8),
    (12, "(24.0, 64.0)", "(16.0, 24.0)", lambda n: n["scores"].pixel_accuracy > 0.9),
    (13, "KINK = False", "KINK = True", lambda n: n["errors"]["float64"][2] > 1e-3),
    (14, "(2, 2, 3, 3, 3)", "(2, 2, 3)", lambda n: n["field"] == 92),
    (15, "CHANNELS, SIDE = 64", "CHANNELS, SIDE = 256", lambda n: n["errors"]["winograd4"] > 1e-6),
    (16, "COUNT, PARTS = 100_000", "COUNT, PARTS = 1000", lambda n: len(set(n["own"])) == 1),
    (17, "SIZE = 64", "SIZE = 128", lambda n: n["counts"]["gemm_1"]["global"][0] > 1e5),
    (18, '"// __sync', '"__sync', lambda n: n["found"] == "no race" and not np.any(n["wrong"])),
]


@pytest.mark.parametrize(("number", "old", "new", "tells"), CHANGES)
def test_the_line_that_a_reader_changes(number: int, old: str, new: str, tells: Any) -> None:
    script = SCRIPTS[number]
    codes = [cell.code for cell in script.cells]
    assert "\n".join(codes).count(old) == 1
    try:
        assert tells(run((code.replace(old, new) for code in codes), script.text))
    except BuildError as missing:
        pytest.skip(str(missing))


def test_every_lesson_has_a_line_to_change() -> None:
    assert {number for number, *_ in CHANGES} == {*SCRIPTS}


def test_lesson_1_it_takes_202_convolutions() -> None:
    lesson = names(1)
    fields = [receptive_field([nn.Conv2d(1, 1, 3)] * count)[0] for count in (201, 202)]
    assert fields[0] < lesson["sees"][5] <= fields[1]
    assert lesson["work"][0] > 300 * lesson["work"][5]


def test_lesson_2_it_has_4097000_parameters_and_sees_36_examples() -> None:
    layer = nn.Conv2d(4096, 1000, 1)
    assert nn.count_parameters(layer) == nn.count_parameters(nn.Linear(4096, 1000)) == 4_097_000
    small, x = nn.Conv2d(4, 3, 1), tinyfcn.tensor(np.ones((1, 4, 6, 6), np.float32))
    small(x).sum().backward()
    assert small.bias.grad.numpy().tolist() == [36, 36, 36]  # 1 of each example
    lesson = names(2)
    assert (lesson["of_image"].numpy() == sum(lesson["of_pixels"])).all()
    assert len(lesson["of_pixels"]) == lesson["HEIGHT"] * lesson["WIDTH"]


def test_lesson_3_nine_pixels_are_copied_four_times() -> None:
    copies = np.zeros((9, 9))
    for row, column in itertools.product(range(0, 7, 2), repeat=2):
        copies[row : row + 3, column : column + 3] += 1
    assert (copies == 4).sum() == 9
    assert copies.mean() == 144 / 81
    lesson = names(3)
    assert lesson["copies"].max() == 9
    assert (lesson["product"] == lesson["convolved"]).all()
    assert lesson["patches"] == 576_000_000


def test_lesson_4_the_gradient_of_27_pixels_is_0() -> None:
    x = tensor(np.ones((1, 1, 6, 6)), requires_grad=True)
    F.conv2d(x, tensor(np.ones((1, 1, 1, 1))), stride=2).sum().backward()
    assert (x.grad.numpy() == 0).sum() == 27
    lesson = names(4)
    assert (lesson["gx"].numpy()[0, 0, 1:4, 1:4] == lesson["KERNEL"]).all()
    assert (lesson["gw"].numpy() == lesson["x"].numpy()[..., 1:4, 1:4]).all()
    assert lesson["pixel"] == lesson["KERNEL"].sum() == 45
    assert (lesson["by_hand"] == lesson["gx"].numpy()).all()


def test_lesson_5_it_returns_to_7_and_with_output_padding_to_8() -> None:
    kernel = tensor(np.ones((1, 1, 3, 3)))
    for side, more in ((7, 0), (8, 1)):
        y = F.conv2d(tensor(np.ones((1, 1, side, side))), kernel, None, 2, 1)
        back = F.conv_transpose2d(y, kernel, None, 2, 1, output_padding=more)
        assert y.shape[2:] == (4, 4) and back.shape[2:] == (side, side)
    lesson = names(5)
    assert (lesson["larger"] == lesson["by_matrix"]).all()
    assert (lesson["larger"] == lesson["gradient"].numpy()).all()
    assert lesson["zeros"] > 0.75 and lesson["lost"] > 0.5


def test_lesson_6_nothing_but_zeros_comes_out() -> None:
    x = tensor(-1.0 - np.arange(36.0).reshape(1, 1, 6, 6))
    y, indices = F.max_pool2d(x, 2, return_indices=True)
    again = F.max_pool2d(F.max_unpool2d(y, indices, 2), 2)
    assert (y.numpy() < 0).all() and (again.numpy() == 0).all()
    lesson = names(6)
    assert (lesson["again"] == lesson["y"].numpy()).all()
    assert (lesson["gradient"].numpy() == lesson["back"]).all()
    assert lesson["windows"] * 2 / 8 * 64 == 4 * lesson["maps"]  # bytes: a 64th


def test_lesson_7_by_nine_quarters() -> None:
    y = F.conv_transpose2d(
        tensor(np.ones((1, 1, 9, 9))), tensor(np.ones((1, 1, 7, 7))), stride=3
    ).numpy()[0, 0, 7:-7, 7:-7]
    assert y.max() / y.min() == 9 / 4
    lesson = names(7)
    assert lesson["ratios"] == {2: 1, 3: 4, 4: 1, 5: 2.25}


def test_lesson_8_the_image_has_512_pixels() -> None:
    with backend.using("meta"):
        dense = models.convolutionalize(models.vgg16())
    assert output_size(dense, 512) == 10 and output_size(dense, 511) == 9
    assert output_size(dense, 384) == 6
    lesson = names(8)
    assert lesson["once"].shape == (6, 6) and len(lesson["crops"]) == 36
    assert lesson["difference"].max() < 1e-5
    assert lesson["saved"] > 10


def test_lesson_9_the_crop_would_start_at_minus_80() -> None:
    lesson = names(9)
    layers = [layer for _, layer in lesson["layers"](1)]
    assert coordinate_map(layers).shift == -80
    assert (
        lesson["crop"]
        == 19
        == models.fcn32s(width=1 / 64, geometry="reference").offsets["upscore"][0]
    )
    paddings = lesson["paddings"]
    assert paddings[lesson["left"] >= 0][0] == paddings[lesson["right"] >= 0][0] == 81
    assert paddings[lesson["least"] == 1][0] == 97
    with pytest.raises(ValueError):
        nn.Sequential(*(layer for _, layer in lesson["layers"](96)))(
            tensor(np.ones((1, 1, 1, 1), "f"))
        )
    nn.Sequential(*(layer for _, layer in lesson["layers"](97)))(tensor(np.ones((1, 1, 1, 1), "f")))


def test_lesson_10_background_and_a_tenth_of_its_share() -> None:
    lesson = names(10)
    seen, truth = lesson["at_stride"](lesson["SIZE"]), lesson["truth"]
    assert (seen == 0).all()
    matrix = ConfusionMatrix(10)
    matrix.update(seen, truth)
    share = (truth == 0).sum() / (truth != 255).sum()
    assert matrix.scores().mean_iu == pytest.approx(share / 10)
    assert sorted(lesson["bound"].values()) == list(lesson["bound"].values())
    with backend.using("meta"):
        plain = sum(p.size for n, p in models.fcn32s().named_parameters() if "upscore" not in n)
        skips = sum(p.size for n, p in models.fcn8s().named_parameters() if "upscore" not in n)
    assert lesson["skips"] == skips - plain == 16_170


def test_lesson_11_they_add_up_to_1024() -> None:
    weight = nn.init.bilinear_(tensor(np.empty((1, 1, 64, 64))))
    assert weight.sum().item() == 1024 == 32**2
    lesson = names(11)
    assert lesson["difference"][lesson["inside"]].max() == 0
    assert (lesson["outputs"]["bilinear"][lesson["inside"]] == 1).all()
    assert (lesson["outputs"]["all pairs"][lesson["inside"]] == lesson["CLASSES"]).all()


def test_lesson_12_it_is_the_logarithm_of_four_thirds() -> None:
    logits = tensor(np.log(np.stack([np.full((2, 2), 3.0), np.ones((2, 2))]))[None])
    losses = {}
    for label in (255, 1):
        truth = tensor(np.array([[[0, 0], [0, label]]]))
        losses[label] = F.cross_entropy(logits, truth, ignore_index=255).item()
    assert losses[255] == pytest.approx(math.log(4 / 3))
    assert losses[1] == pytest.approx((3 * math.log(4 / 3) + math.log(4)) / 4)
    for background, percent in ((730, 3.5), (750, 3.6)):  # of its text
        matrix = ConfusionMatrix(21)
        rest = np.arange(1000 - background) % 20 + 1
        matrix.update(np.zeros(1000, int), np.r_[np.zeros(background, int), rest])
        assert round(100 * matrix.scores().mean_iu, 1) == percent
    lesson = names(12)
    assert ((lesson["gradient"] == 0) == (lesson["truth"][0] == 255)).all()
    assert lesson["scores"].mean_iu == pytest.approx(lesson["scores"].pixel_accuracy / 10)


def test_lesson_13_by_about_100_and_yes() -> None:
    lesson = names(13)
    errors, steps = lesson["errors"]["float64"], lesson["steps"]
    assert steps[2] == pytest.approx(0.01) and steps[4] == pytest.approx(0.001)
    assert 90 < errors[2] / errors[4] < 110
    assert lesson["errors"]["float32"].min() > 1e4 * errors.min()
    x = tensor([0.5, -1.0], dtype="float64", requires_grad=True)
    assert gradcheck(lambda t: t.tanh(), x)
    with pytest.raises(GradientError):
        gradcheck(lambda t: t.tanh() * 1.01 - t.tanh().detach() * 0.01, x)


def test_lesson_14_by_64_pixels() -> None:
    lesson = names(14)
    layers = lesson["layers"]
    before = layers[: lesson["names"]["pool5"]]
    fields = [receptive_field(chain)[0] for chain in (before, [*before, nn.Conv2d(20, 8, 3)])]
    assert fields[1] - fields[0] == 64
    assert lesson["field"] == 404
    assert lesson["side"][0.5] < 404 / 2 < lesson["side"][0.95] < 404
    assert (lesson["touched"][0], lesson["touched"][-1]) == (0, 403)


def test_lesson_15_it_takes_64_36ths_5_times_less() -> None:
    data, kernel, output = matrices((0, 1, -1, 2, -2, 0.5, -0.5))
    rng = np.random.default_rng(0)
    d, g = rng.normal(size=8), rng.normal(size=3)
    np.testing.assert_allclose(output @ ((kernel @ g) * (data @ d)), np.correlate(d, g, "valid"))
    products = len(data) ** 2 / 6**2
    assert products == 64 / 36 and 9 / products == 81 / 16
    lesson = names(15)
    assert lesson["work"] == {"tiles": 9, "winograd2": 4, "winograd4": 2.25}
    errors = lesson["errors"]
    assert errors["winograd4"] > 5 * errors["winograd2"] and errors["winograd2"] < 1e-6


def test_lesson_16_it_can_be_0_1_or_2_and_2_is_right() -> None:
    numbers = [np.float32(x) for x in (1, 1, 1e8, -1e8)]
    found = {float(((a + b) + c) + d) for a, b, c, d in itertools.permutations(numbers)}
    assert found == {0, 1, 2}
    lesson = names(16)
    assert len(set(lesson["prints"].values())) == 1
    assert len(set(lesson["own"])) == 1 < len(set(map(float, lesson["sums"])))


def test_lesson_17_gemm_2_reads_it_4_times_gemm_1_64_times() -> None:
    lesson = names(17)
    reads = {
        name: [c.accesses for c in costs if (c.memory, c.access) == ("global", "reads")]
        for name, costs in lesson["costs"].items()
    }
    # Those of A and B are as many; gemm_1 has both on one line.
    assert sum(reads["gemm_2"]) / 2 == 4 * 64**2
    assert sum(reads["gemm_1"]) / 2 == 64 * 64**2
    requests = [lesson["counts"][name]["global"][0] for name in lesson["counts"]]
    assert requests == sorted(requests, reverse=True)


def test_lesson_18_in_one_order() -> None:
    right = 0
    for order in itertools.permutations(range(4)):
        written: set[int] = set()
        good = True
        for thread in order:
            written.add(thread)
            good = good and (thread == 0 or thread - 1 in written)
        right += good
    assert right == 1
    lesson = names(18)
    assert lesson["counts"][0] == 0 and lesson["counts"][1:].min() > 0
    assert lesson["found"].startswith("race: neighbours (neighbours.cu:6), ")
