"""Batches: their order, their padding, workers, positions and errors."""

from __future__ import annotations

import itertools
import threading
import time

import numpy as np
import pytest

from tinyfcn.data import (
    TORCHVISION,
    ColourJitter,
    Compose,
    DataError,
    DataLoader,
    RandomCrop,
    RandomHorizontalFlip,
    RandomScale,
    Sample,
    VOCSegmentation,
)

AUGMENT = Compose(RandomScale(), RandomCrop(24), RandomHorizontalFlip(), ColourJitter())


def _equal(first, second):
    first, second = list(first), list(second)
    assert [batch.ids for batch in first] == [batch.ids for batch in second]
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one.images, other.images)
        np.testing.assert_array_equal(one.labels, other.labels)


def _threads() -> int:
    return sum(thread.name.startswith("tinyfcn-loader") for thread in threading.enumerate())


def test_batches_hold_the_samples_padded_to_the_largest(tree):
    loader = DataLoader(VOCSegmentation(tree.root), batch_size=3)
    batches = list(loader)
    assert len(batches) == len(loader) == 3
    assert [batch.ids for batch in batches] == [
        ("scene_0", "scene_1", "scene_2"), ("scene_3", "scene_4", "scene_5"), ("scene_6",),
    ]  # fmt: skip
    sizes = [(31, 23), (33, 40), (20, 31)]
    for batch, size in zip(batches, sizes, strict=True):
        assert batch.images.shape == (len(batch.ids), 3, *size)
        assert batch.images.dtype == np.float32 and batch.labels.dtype == np.uint8
        assert batch.images.transpose(0, 2, 3, 1).flags.c_contiguous
        for image, label, name in zip(batch.images, batch.labels, batch.ids, strict=True):
            number = tree.ids.index(name)
            h, w = tree.masks[number].shape
            np.testing.assert_array_equal(label[:h, :w], tree.masks[number])
            np.testing.assert_array_equal(image[:, :h, :w], TORCHVISION.apply(tree.images[number]))
            assert (label[h:] == 255).all() and (label[:, w:] == 255).all()
            assert not image[:, h:].any() and not image[:, :, w:].any()


def test_drop_last(tree):
    loader = DataLoader(VOCSegmentation(tree.root), batch_size=3, drop_last=True)
    assert len(loader) == 2 and [len(batch.ids) for batch in loader] == [3, 3]


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_batches_do_not_depend_on_the_workers(tree, workers):
    dataset = VOCSegmentation(tree.root)
    alone, helped = (
        DataLoader(dataset, 2, shuffle=True, transform=AUGMENT, seed=5, workers=count)
        for count in (0, workers)
    )
    for _ in range(2):
        _equal(alone, helped)


def test_every_epoch_has_its_own_order_and_augmentation(tree):
    loader = DataLoader(VOCSegmentation(tree.root), 7, shuffle=True, transform=AUGMENT, seed=1)
    epochs = [next(iter([*loader])) for _ in range(6)]
    for batch in epochs:
        assert sorted(batch.ids) == tree.ids
    assert len({batch.ids for batch in epochs}) > 3
    first, second = (batch.labels[batch.ids.index("scene_4")] for batch in epochs[:2])
    assert (first != second).any()
    other = DataLoader(VOCSegmentation(tree.root), 7, shuffle=True, transform=AUGMENT, seed=2)
    assert [batch.ids for batch in other] != [epochs[0].ids]


def test_augmentation_belongs_to_the_sample_and_not_to_its_place(tree):
    """Another batch size changes neighbours only."""
    dataset = VOCSegmentation(tree.root)
    for size in (1, 3):
        loader = DataLoader(dataset, size, shuffle=True, transform=AUGMENT, seed=3)
        labels = {
            name: label
            for batch in loader
            for name, label in zip(batch.ids, batch.labels, strict=True)
        }
        if size == 1:
            expected = labels
    for name in tree.ids:
        np.testing.assert_array_equal(labels[name], expected[name])


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("stop", range(9))
def test_a_saved_position_goes_on_exactly_there(tree, stop, workers):
    def make():
        return DataLoader(
            VOCSegmentation(tree.root), 2, shuffle=True, transform=AUGMENT, workers=workers
        )

    def forever(loader):
        while True:
            yield from loader

    whole = list(itertools.islice(forever(make()), 10))
    first, second = make(), make()
    start = list(itertools.islice(forever(first), stop))
    state = first.state_dict()
    second.load_state_dict(state)
    assert second.state_dict() == state
    _equal(whole, start + list(itertools.islice(forever(second), 10 - stop)))


def test_a_loop_left_early_goes_on_where_it_was(tree):
    loader = DataLoader(VOCSegmentation(tree.root), 2, shuffle=True)
    whole = list(DataLoader(VOCSegmentation(tree.root), 2, shuffle=True))
    for batch in loader:
        first = batch
        break
    assert loader.state_dict() == {"epoch": 0, "position": 1}
    _equal(whole, [first, *loader])
    assert loader.state_dict() == {"epoch": 1, "position": 0}


@pytest.mark.parametrize("state", [(-1, 0), (0, -1), (0, 5)])
def test_a_position_outside_the_epoch_is_rejected(tree, state):
    loader = DataLoader(VOCSegmentation(tree.root), 2)
    with pytest.raises(ValueError, match=r"position in \[0, 4\]"):
        loader.load_state_dict(dict(zip(("epoch", "position"), state, strict=True)))


@pytest.mark.parametrize("workers", [0, 2])
def test_a_damaged_file_is_reported_where_its_batch_is_due(tree, workers):
    tree.image("scene_5").write_bytes(b"\xff\xd8nothing")
    loader = DataLoader(VOCSegmentation(tree.root), 2, workers=workers)
    seen = []
    with pytest.raises(DataError, match=r"sample 'scene_5': .*scene_5.jpg: ") as caught:
        for batch in loader:
            seen += batch.ids
    assert seen == tree.ids[:4]
    assert isinstance(caught.value.__cause__, DataError)
    assert loader.position == 2
    del caught
    assert _threads() == 0


def test_an_error_of_a_transform_names_the_sample(tree):
    def fail(sample, rng):
        raise ZeroDivisionError("no reason")

    loader = DataLoader(VOCSegmentation(tree.root), transform=fail)
    with pytest.raises(RuntimeError, match="sample 'scene_0': ZeroDivisionError: no reason"):
        next(iter(loader))


def test_samples_of_one_batch_are_augmented_apart():
    image = np.random.default_rng(0).integers(0, 256, (9, 9, 3), dtype=np.uint8)
    same = [Sample("s", image, image[..., 0].copy())] * 8
    (batch,) = DataLoader(same, 8, transform=RandomCrop(3))
    assert len(np.unique(batch.labels, axis=0)) > 5


class Counting:
    """Samples that count how many were read."""

    def __init__(self, length: int):
        self.length, self.read = length, 0

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Sample:
        self.read += 1
        return Sample(str(index), np.zeros((4, 4, 3), np.uint8), np.zeros((4, 4), np.uint8))


def test_prefetch_is_bounded():
    dataset = Counting(100)
    batches = iter(DataLoader(dataset, 1, workers=2))
    for _ in range(3):
        next(batches)
    time.sleep(0.05)
    assert dataset.read <= 3 + 3
    batches.close()


def test_leaving_early_ends_the_threads():
    for _ in DataLoader(Counting(100), 1, workers=3):
        assert _threads() > 0
        break
    assert _threads() == 0


def test_ctrl_c_in_the_loop_ends_the_threads():
    with pytest.raises(KeyboardInterrupt):
        for _ in DataLoader(Counting(100), 1, workers=3):
            raise KeyboardInterrupt
    assert _threads() == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"batch_size": 0}, "batch_size must be at least 1, got 0"),
        ({"workers": -1}, "workers must be at least 0, got -1"),
        ({"seed": -1}, "seed must be at least 0"),
        ({"batch_size": 9, "drop_last": True}, "8 samples, batch_size=9, drop_last=True"),
    ],
)
def test_wrong_arguments_are_named(arguments, words):
    with pytest.raises(ValueError, match=words):
        DataLoader(Counting(8), **arguments)
