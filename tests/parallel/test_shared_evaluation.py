"""Scores of a data set that is shared out: the same, with the same pictures, on any ranks."""

import itertools

import numpy as np
import pytest
from thread_group import on_ranks

from tinyfcn import Tensor, nn
from tinyfcn.data import DataError, DataLoader, Preprocessing, Sample
from tinyfcn.metrics import ConfusionMatrix
from tinyfcn.parallel import Group
from tinyfcn.parallel.batch_norm import sync_batch_norm
from tinyfcn.training import batch_statistics, evaluation
from tinyfcn.training.evaluation import evaluate

PLAIN = Preprocessing("RGB", 1.0, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))


class Brightest(nn.Module):
    """Predicts the brightest channel of each pixel, and notes what it was shown."""

    def __init__(self):
        self.calls = []

    def forward(self, x):
        self.calls.append(x.data.tobytes())
        return Tensor(x.data)


class Data(list):
    num_classes = 3

    @property
    def ids(self):
        return [sample.id for sample in self]


def mixed(number, void=0.1):
    rng = np.random.default_rng(number)
    made = Data()
    for i in range(number):
        size = [(4, 5), (4, 5), (4, 5), (6, 2), (1, 1)][rng.integers(5)]
        mask = rng.integers(0, 3, size).astype("u1")
        mask[rng.random(size) < void] = 255
        made.append(Sample(f"s{i}", rng.integers(0, 256, (*size, 3)).astype("u1"), mask))
    made[0].mask[0, 0] = 255 if void == 1 else 0
    return made


def of_one(sample):
    """Pixel accuracy, mean IU and the IU of each class of one image, from sets of pixels."""
    truth, said = sample.mask.ravel(), sample.image.argmax(axis=2).ravel()
    kept = [i for i in range(truth.size) if truth[i] != 255]
    iu = []
    for c in range(3):
        true, found = ({i for i in kept if labels[i] == c} for labels in (truth, said))
        iu.append(len(true & found) / len(true | found) if true | found else np.nan)
    defined = [x for x in iu if x == x]
    right = sum(truth[i] == said[i] for i in kept)
    means = [right / len(kept), sum(defined) / len(defined)] if kept else [np.nan, np.nan]
    return pytest.approx([*means, *iu], nan_ok=True)


@pytest.mark.parametrize("number", [1, 3, 8, 9, 16, 17, 41, 70])
def test_any_number_of_ranks_gives_the_same(number):
    data = mixed(number)
    matrix = ConfusionMatrix(3)
    for sample in data:
        matrix.update(sample.image.argmax(axis=2), sample.mask)
    places = sorted({round(place) for place in np.linspace(0, number - 1, 6)})
    shown = []
    for ranks in range(1, 6):
        models = [Brightest() for _ in range(ranks)]

        def rank(group, models=models):
            turns = []

            def each_sample():  # all ranks must be here
                turns.append(group.gather(len(turns)))

            return evaluate(models[group.rank], data, PLAIN, group, each_sample), turns

        for found, turns in on_ranks(ranks, rank):
            for name, value in vars(matrix.scores()).items():
                np.testing.assert_array_equal(getattr(found.scores, name), value)
            most = max(sum(len(data[i : i + 8]) for i in range(8 * r, number, 8 * ranks))
                       for r in range(ranks))  # fmt: skip
            assert turns == [[turn] * ranks for turn in range(most)]
            assert len(found.sheet) == len(places)
            for (image, mask, prediction), place in zip(found.sheet, places, strict=True):
                np.testing.assert_array_equal(image, data[place].image)
                np.testing.assert_array_equal(mask, data[place].mask)
                np.testing.assert_array_equal(prediction, data[place].image.argmax(axis=2))
            figures = {sample.id: of_one(sample) for sample in data}
            assert found.images == figures
            assert [*found.images] == data.ids
            known = [name for name in data.ids if not np.isnan(found.images[name][1])]
            poor = sorted(known, key=lambda name: (found.images[name][1], name))
            assert [*found.worst] == poor[: evaluation.WORST]
            for name in found.worst:
                np.testing.assert_array_equal(found.worst[name][1], data[data.ids.index(name)].mask)
        shown.append(sorted(call for model in models for call in model.calls))
    assert all(calls == shown[0] for calls in shown)  # what goes through a model at once


def test_nothing_but_void_is_said_on_all_ranks():
    def rank(group):
        with pytest.raises(DataError, match="no pixel that is not void"):
            evaluate(Brightest(), mixed(3, void=1), PLAIN, group)
        return True

    assert on_ranks(2, rank) == [True] * 2


def test_few_pixels_at_once(monkeypatch):
    monkeypatch.setattr(evaluation, "PIXELS", 50)

    def rank(group):
        model = Brightest()
        evaluate(model, mixed(20), PLAIN, group)
        return model.calls

    alone = sorted(*on_ranks(1, rank))
    for ranks in (2, 3):
        assert sorted(itertools.chain(*on_ranks(ranks, rank))) == alone
    assert max(map(len, alone)) <= 50 * 3 * 4


@pytest.mark.parametrize("sync", [False, True])
def test_statistics_are_taken_anew_by_all_and_are_those_of_the_first(sync):
    def work(group):
        data = mixed(40)[group.rank :]  # as if another machine rounded otherwise
        norm = nn.BatchNorm2d(3)
        model = nn.Sequential(norm)
        if sync:
            data = mixed(40)
            sync_batch_norm(model, group)
        batch_statistics.renew(model, model, DataLoader(data, 2, workers=0), group)
        return norm.running_mean.numpy()

    first, second = on_ranks(2, work)
    assert np.array_equal(first, second)
    np.testing.assert_allclose(first, work(Group()), rtol=1e-5)
