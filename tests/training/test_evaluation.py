"""Evaluation over images of any size, and class weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tinyfcn import Tensor, is_grad_enabled, nn
from tinyfcn.data import CAFFE, DataError, Preprocessing, Sample
from tinyfcn.metrics import ConfusionMatrix
from tinyfcn.training import evaluation
from tinyfcn.training.evaluation import evaluate, predict

PLAIN = Preprocessing("RGB", 1.0, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))


class Brightest(nn.Module):
    """Predicts the brightest channel of each pixel, and notes how it was called."""

    def __init__(self) -> None:
        self.calls: list[tuple[tuple[int, ...], bool, bool]] = []

    def forward(self, x: Tensor) -> Tensor:
        self.calls.append((x.shape, self.training, is_grad_enabled()))
        return x


class Data(list[Sample]):
    num_classes = 3

    @property
    def ids(self) -> list[str]:
        return [sample.id for sample in self]


def samples(*sizes: tuple[int, int]) -> Any:
    random = np.random.default_rng(0)
    made = Data()
    for number, size in enumerate(sizes):
        mask = random.integers(0, 3, size).astype(np.uint8)
        mask[random.random(size) < 0.1] = 255
        image = random.integers(0, 256, (*size, 3)).astype(np.uint8)
        made.append(Sample(str(number), image, mask))
    return made


def test_scores_do_not_depend_on_the_batch_size(monkeypatch: pytest.MonkeyPatch) -> None:
    data = samples((5, 7), (5, 7), (5, 7), (4, 9), (5, 7), (1, 1))
    matrix = ConfusionMatrix(3)
    for sample in data:
        matrix.update(sample.image.argmax(axis=2), sample.mask)
    for batch_size in (1, 2, 8):
        model = Brightest()
        monkeypatch.setattr(evaluation, "AT_ONCE", batch_size)
        result = evaluate(model, data, PLAIN).scores
        assert result.iu.tolist() == matrix.scores().iu.tolist()
        assert [shape[0] for shape, _, _ in model.calls] == {
            1: [1, 1, 1, 1, 1, 1], 2: [2, 1, 1, 1, 1], 8: [3, 1, 1, 1],
        }[batch_size]  # fmt: skip


@pytest.mark.parametrize(("resize", "seen"), [((50,), (25, 50)), ((35, 50), (35, 50))])
def test_a_network_sees_images_as_large_as_in_training(
    resize: tuple[int, ...], seen: tuple[int, int]
) -> None:
    """Blocks of one colour, 5 x 10 of them: each is found again at the size of the image."""
    (coarse,) = samples((5, 10))
    image = coarse.image.repeat(20, axis=0).repeat(20, axis=1)
    model = Brightest()
    (mask,) = predict(model, [image], replace(PLAIN, resize=resize))
    assert [shape for shape, _, _ in model.calls] == [(1, 3, *seen)]
    assert mask.shape == (100, 200)
    middles = mask[10::20, 10::20]
    np.testing.assert_array_equal(middles, coarse.image.argmax(axis=2))
    data: Any = Data([Sample("a", image, mask)])
    assert evaluate(model, data, replace(PLAIN, resize=resize)).scores.pixel_accuracy == 1


@pytest.mark.parametrize(
    ("size", "number", "at_once"),
    [
        ((375, 500), 3, [1, 1, 1]),
        ((500, 375), 2, [1, 1]),
        ((128, 128), 10, [8, 2]),
        ((128, 129), 9, [7, 1, 1]),
        ((256, 256), 3, [2, 1]),
        ((1, 1), 9, [8, 1]),
        ((1, 1 << 17), 2, [1, 1]),
        ((1000, 1000), 2, [1, 1]),
    ],
)
def test_the_images_of_a_batch_have_few_pixels(
    size: tuple[int, int], number: int, at_once: list[int]
) -> None:
    model = Brightest()
    evaluate(model, samples(*[size] * number), PLAIN)
    assert [shape[0] for shape, _, _ in model.calls] == at_once


@pytest.mark.parametrize("batch_size", [1, 2, 3, 10])
def test_a_training_scores_in_batches_of_another_size_than_its_own(
    batch_size: int, tmp_path: Path, make_trainer: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    at_once: list[int] = []

    def noted(model: Any, images: Any, preprocessing: Any) -> Any:
        at_once.append(len(images))
        return predict(model, images, preprocessing)

    monkeypatch.setattr(evaluation, "predict", noted)
    monkeypatch.setattr(evaluation, "PIXELS", 3 * 32 * 32)
    run = make_trainer(tmp_path)
    run.loader.batch_size = batch_size
    monkeypatch.setattr(evaluation, "SIDE", 10)
    found = evaluate(run.model, run.validation, run.loader.preprocessing, run.group)
    assert at_once == [3, 1]
    # What is kept of images does not grow with them.
    for triples in found.sheet, found.worst.values():
        assert {part.shape[:2] for triple in triples for part in triple} == {(10, 10)}


def test_runs_in_eval_mode_without_graph_and_restores_the_mode() -> None:
    model = Brightest()
    for training in (True, False):
        model.train(training)
        predict(model, [samples((4, 4))[0].image], PLAIN)
        assert model.calls[-1][1:] == (False, False)
        assert model.training is training


def test_a_layer_that_was_frozen_in_eval_mode_stays_so() -> None:
    model = nn.Sequential(nn.Conv2d(3, 2, 1), nn.BatchNorm2d(2))
    model[1].eval()
    predict(model, [samples((4, 4))[0].image], PLAIN)
    assert [module.training for module in model.modules()] == [True, True, False]


def test_preprocessing_is_that_of_the_model() -> None:
    image = np.zeros((2, 2, 3), np.uint8)
    image[..., 0] = 200  # red is channel 0 of RGB, channel 2 of BGR
    assert predict(Brightest(), [image], PLAIN).tolist() == [[[0, 0], [0, 0]]]
    assert predict(Brightest(), [image], CAFFE).tolist() == [[[2, 2], [2, 2]]]


def test_rejects() -> None:
    data = samples((3, 3))
    with pytest.raises(ValueError, match=r"label \d.*2 classes"):
        wrong: Any = Data([data[0]._replace(mask=np.full((3, 3), 2, np.uint8))])
        wrong.num_classes = 2
        evaluate(Brightest(), wrong, PLAIN)
    void = data[0]._replace(mask=np.full((3, 3), 255, np.uint8))
    for samples_of_none in ([], [void]):
        empty: Any = Data(samples_of_none)
        with pytest.raises(DataError, match="no pixel that is not void"):
            evaluate(Brightest(), empty, PLAIN)

    class Smaller(Brightest):
        def forward(self, x: Tensor) -> Tensor:
            return x[:, :, 1:]

    with pytest.raises(ValueError, match=r"logits \(1, 3, 2, 3\) for images \(1, 3, 3, 3\)"):
        predict(Smaller(), [data[0].image], PLAIN)


@pytest.mark.parametrize("spoilt", [(0, 0, 0, 0), (1, 2, 3, 4), (1, ...), ...])
def test_nan_is_no_class(spoilt: Any) -> None:
    class Gives(Brightest):
        def __init__(self, value: float) -> None:
            super().__init__()
            self.value = value

        def forward(self, x: Tensor) -> Tensor:
            x.data[...] = -np.inf  # is one, of a class that cannot be
            x.data[spoilt] = self.value
            return x

    images = [sample.image for sample in samples((5, 7), (5, 7))]
    assert predict(Gives(1.0), images, PLAIN).shape == (2, 5, 7)
    with pytest.raises(DataError, match="gave NaN"):
        predict(Gives(np.nan), images, PLAIN)
