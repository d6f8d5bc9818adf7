"""A classifier slid over a larger image must say what it says about every crop."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

import tinyfcn
from tinyfcn import models, nn


def unpadded(dtype=np.float32):
    """No padding, total stride 4; 17 × 15 images give 3 × 2 maps and one score, not square."""
    return nn.Sequential(
        {
            "features": nn.Sequential(
                nn.Conv2d(3, 6, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 5, (2, 3)),
                nn.BatchNorm2d(5), nn.ReLU(), nn.MaxPool2d(2),
            ),
            "flatten": nn.Flatten(),
            "classifier": nn.Sequential(
                nn.Linear(5 * 3 * 2, 12), nn.ReLU(), nn.Dropout(), nn.Linear(12, 7, bias=False),
            ),
        }
    ).astype(dtype).eval()  # fmt: skip


def crops(x, height, width, step):
    rows = range(0, x.shape[2] - height + 1, step)
    columns = range(0, x.shape[3] - width + 1, step)
    return [[x[:, :, i : i + height, j : j + width] for j in columns] for i in rows]


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-12), (np.float32, 1e-5)])
def test_the_score_map_is_the_sliding_window(rng, dtype, tolerance):
    classifier = unpadded(dtype)
    for p in classifier.parameters():  # biases count too
        p.data += 0.1
    dense = models.convolutionalize(classifier, map_size=(3, 2))
    assert dense.classifier[0].weight.dtype == dtype
    x = rng.standard_normal((2, 3, 17 + 4 * 4, 15 + 4 * 5)).astype(dtype)
    y = dense(tinyfcn.tensor(x)).numpy()
    grid = crops(x, 17, 15, 4)
    assert y.shape == (2, 7, 5, 6) == (2, 7, len(grid), len(grid[0]))
    for i, row in enumerate(grid):
        for j, crop in enumerate(row):
            one = classifier(tinyfcn.tensor(crop)).numpy()
            assert np.abs(one - y[:, :, i, j]).max() <= tolerance * np.abs(y).max()
            assert np.array_equal(dense(tinyfcn.tensor(crop)).numpy().shape, (2, 7, 1, 1))


def test_names_stay_and_weights_are_copies():
    classifier = unpadded()
    dense = models.convolutionalize(classifier, map_size=(3, 2))
    before, after = classifier.state_dict(), dense.state_dict()
    assert list(before) == list(after)
    assert after["classifier.0.weight"].shape == (12, 5, 3, 2)
    assert after["classifier.3.weight"].shape == (7, 12, 1, 1)
    assert all(np.array_equal(after[k].reshape(v.shape), v) for k, v in before.items())
    assert not dense.training
    for p in dense.parameters():
        p.data[...] = 0
    assert all(np.array_equal(v, before[k]) for k, v in classifier.state_dict().items())


def test_vgg16_gives_one_score_at_its_native_size_and_maps_above(rng):
    classifier = models.vgg16(num_classes=4, width=1 / 64).eval()
    dense = models.convolutionalize(classifier)
    assert dense.classifier[0].weight.shape == (64, 8, 7, 7)
    assert isinstance(dense.features, models.backbones.vgg.VGGBackbone)
    x = tinyfcn.tensor(rng.standard_normal((2, 3, 224, 224)).astype(np.float32))
    expected = classifier(x).numpy()
    assert np.allclose(dense(x).numpy()[:, :, 0, 0], expected, rtol=1e-4, atol=1e-5)
    for n, side in ((256, 2), (384, 6)):
        assert dense(tinyfcn.tensor(np.zeros((1, 3, n, 224), np.float32))).shape == (1, 4, side, 1)


def test_a_global_average_becomes_a_sliding_one(rng):
    def make():
        conv = nn.Conv2d(3, 4, 5, stride=2)
        return nn.Sequential(conv, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))

    classifier = make().double()
    with pytest.raises(ValueError, match=r"hides the size of the map .* pass it as map_size"):
        models.convolutionalize(classifier)
    dense = models.convolutionalize(classifier, map_size=6)  # images of 15 × 15
    x = rng.standard_normal((1, 3, 23, 19))
    y = dense(tinyfcn.tensor(x)).numpy()
    grid = crops(x, 15, 15, 2)
    assert y.shape[2:] == (5, 3) == (len(grid), len(grid[0]))
    for i, row in enumerate(grid):
        for j, crop in enumerate(row):
            one = classifier(tinyfcn.tensor(crop)).numpy()[0]
            assert np.allclose(one, y[0, :, i, j], rtol=0, atol=1e-12)


def test_the_example_finds_36_crops_in_one_pass(capsys):
    path = Path(__file__).parents[2] / "examples" / "convolutionalize.py"
    spec = importlib.util.spec_from_file_location("convolutionalize_example", path)
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    example.timed = lambda fn, *arguments: (fn(*arguments), 1.0)  # once is enough here
    example.main(size=384, seed=0)
    text = capsys.readouterr().out
    assert "384 x 384 image, 6 x 6 map of scores of 1000 classes" in text
    assert "211 x 211 pixels of the image; the next is 32 pixels on" in text
    difference = float(text.split("largest difference ")[1].split(",")[0])
    assert 0 <= difference <= 1e-5


def test_the_example_rejects_what_it_cannot_do(call):
    path = Path(__file__).parents[2] / "examples" / "convolutionalize.py"
    for arguments, words in (
        (["--size", "100"], "--size: expected an integer of at least 224, got '100'"),
        (["--seed", "-1"], "--seed: expected an integer of at least 0, got '-1'"),
    ):
        status, _, complaint = call(path, *arguments)
        assert status == 2
        assert complaint.startswith("error: ") and words in complaint
        assert complaint.count("\n") == 1


def test_errors():
    def chain(*layers):
        return lambda **o: models.convolutionalize(nn.Sequential(*layers), **o)

    with pytest.raises(TypeError, match="expected a Sequential classifier, got Linear"):
        models.convolutionalize(nn.Linear(2, 2))
    with pytest.raises(ValueError, match="12 numbers, which is not 4 channels of a square map"):
        chain(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(12, 2))()
    with pytest.raises(
        ValueError, match=r"36 numbers, which is not 4 channels of a map of size \(3, 2\)"
    ):
        chain(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(36, 2))(map_size=(3, 2))
    with pytest.raises(ValueError, match="must come after convolutions and Flatten"):
        chain(nn.Conv2d(3, 4, 3), nn.Linear(36, 2))()
    with pytest.raises(ValueError, match="Flatten must join the axes 1 to -1"):
        chain(nn.Conv2d(3, 4, 3), nn.Flatten(2))()
    with pytest.raises(ValueError, match=r"cuts a \(5, 5\) map into \(2, 2\) windows of unequal"):
        chain(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(4, 2))(map_size=5)
