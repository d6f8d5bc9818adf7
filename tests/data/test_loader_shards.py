"""Batches cut into shards: each sample goes to one rank, as it would be with a single one."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinyfcn.data import DataLoader, Sample


def augment(sample, rng):
    """Another picture, of another size where the mask is more than one pixel."""
    h, w = (int(rng.integers(1, side + 1)) for side in sample.mask.shape)
    return Sample(sample.id, rng.integers(0, 256, (h, w, 3)).astype("u1"), sample.mask[:h, :w])


def loaders(ranks, images, size, shards, side=1, **more):
    """Those of all ranks; of one that has all shards; and of one that knows of none."""
    data = [
        Sample(str(n), np.zeros((side, side, 3), "u1"), np.full((side, side), n % 200, "u1"))
        for n in range(images)
    ]
    edges = [shards * rank // ranks for rank in range(ranks + 1)]
    own = [range(a, b) for a, b in itertools.pairwise(edges)]
    more = {"shuffle": True, "transform": augment, "seed": 3, "workers": 0} | more
    cut = [DataLoader(data, size, shards=shards, own=part, **more) for part in own]
    whole = DataLoader(data, size, shards=shards, own=range(shards), **more)
    return cut, whole, DataLoader(data, size, **more)


def by_batch(loader):
    """The shards of each batch that are left of this epoch."""
    parts, n = list(loader), len(loader.own)
    return [parts[i : i + n] for i in range(0, len(parts), n)]


def equal(ours, theirs):
    assert ours.ids == theirs.ids
    np.testing.assert_array_equal(ours.images, theirs.images)
    np.testing.assert_array_equal(ours.labels, theirs.labels)


sizes = {"images": st.integers(1, 40), "size": st.integers(1, 17), "shards": st.integers(1, 9)}


@given(**sizes, ranks=st.integers(1, 5), drop_last=st.booleans(), shuffle=st.booleans())
def test_the_shards_of_all_ranks_are_the_batch(images, size, shards, ranks, drop_last, shuffle):
    ranks = min(ranks, shards)
    drop_last = drop_last and images >= size
    cut, _, plain = loaders(ranks, images, size, shards, drop_last=drop_last, shuffle=shuffle)
    for _ in range(2):
        seen = []
        batches = list(plain)
        of_ranks = [by_batch(loader) for loader in cut]
        assert {len(found) for found in of_ranks} == {len(batches)} == {len(plain)}
        for batch, *parts in zip(batches, *of_ranks, strict=True):
            found = list(itertools.chain(*parts))
            assert len(found) == shards
            whole = (np.concatenate([part[i] for part in found]) for i in (0, 1, 2))
            for ours, theirs in zip(whole, batch, strict=True):
                np.testing.assert_array_equal(ours, theirs)
            assert all(part.images.shape[1:] == batch.images.shape[1:] for part in found)
            check_sizes([len(part.ids) for part in found], size, len(batch.ids))
            seen += itertools.chain(*(part.ids for part in found))
        whole = len(plain) * size if drop_last else images
        assert len(seen) == len({*seen}) == whole


def check_sizes(found, size, images):
    """Nearly equal; a single one only where the batch size or the batch leaves no choice."""
    used = [n for n in found if n]
    assert max(used) - min(used) <= 1
    assert len(used) == min(len(found), images if size < 2 * len(found) else max(1, images // 2))
    if size >= 2 * len(found) and images > 1:
        assert min(used) > 1


@given(**sizes, before=st.integers(1, 5), after=st.integers(1, 5), data=st.data())
def test_another_number_of_ranks_goes_on(images, size, shards, before, after, data):
    before, after = min(before, shards), min(after, shards)
    cut, whole, _ = loaders(before, images, size, shards)
    others = loaders(after, images, size, shards)[0]
    taken = data.draw(st.integers(0, len(whole)))
    expected = by_batch(whole)[taken:]
    states = []
    for loader in cut:
        parts = iter(loader)
        for _ in range(taken * len(loader.own)):
            next(parts)
        parts.close()
        states.append(loader.state_dict())
    assert all(state == states[0] for state in states)
    found = []
    for loader in others:
        loader.load_state_dict(states[-1])
        found.append(by_batch(loader))
    for wanted, *parts in zip(expected, *found, strict=True):
        for ours, theirs in zip(itertools.chain(*parts), wanted, strict=True):
            equal(ours, theirs)
    assert all(loader.state_dict() == {"epoch": 1, "position": 0} for loader in others)


@pytest.mark.parametrize(("images", "size", "shards"), [(7, 4, 2), (9, 4, 4), (5, 8, 3)])
def test_augmentation_follows_the_sample(images, size, shards):
    """A shard is padded to its own largest image; what has no images, to the first of the batch."""
    cut, _, plain = loaders(shards, images, size, shards, side=9, workers=2)
    alone = {b.ids[0]: b for b in loaders(1, images, 1, 1, side=9)[2]}
    assert len({batch.images.shape for batch in alone.values()}) > 1
    for batch, *parts in zip(plain, *(by_batch(loader) for loader in cut), strict=True):
        for (part,) in parts:
            for name, image, label in zip(*part, strict=True):
                _, (expected,), (mask,) = alone[name]
                h, w = mask.shape
                np.testing.assert_array_equal(image[:, :h, :w], expected)
                np.testing.assert_array_equal(label[:h, :w], mask)
                assert not image[:, h:].any() and not image[:, :, w:].any()
                assert (label[h:] == 255).all() and (label[:, w:] == 255).all()
            of = [alone[name].labels.shape[1:] for name in part.ids or batch.ids[:1]]
            assert part.labels.shape == (len(part.ids), *np.max(of, axis=0))
            assert part.images.shape == (len(part.ids), 3, *np.max(of, axis=0))
