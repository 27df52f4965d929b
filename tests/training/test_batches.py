"""Which sample comes when: a permutation per epoch that a resumed run, a worker and another process agree on."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

from atrous.contract import Recipe, Sample
from atrous.training import Crops
from atrous.training.batches import Order, loader


def drawn(index, *, channels=3, dtype=np.uint8):
    random = np.random.default_rng(index)
    image = random.integers(0, 255, (20, 24, channels)).astype(dtype)
    return Sample(image=image, labels=random.integers(0, 3, (20, 24), dtype=np.uint8))


def crops(count=7, *, channels=3, read=drawn, **changes):
    recipe = replace(Recipe(batch=3, crop=17, seed=4), **changes)
    return Crops(
        pairs=range(count), read=read, size=recipe.crop, channels=channels, fill=(1.0,) * channels, recipe=recipe
    )


def order_of(count, *, epoch=0, skip=0, batch=3, seed=0, shard=(0, 1)):
    order = Order(count, batch=batch, seed=seed, shard=shard)
    order.epoch, order.skip = epoch, skip
    return list(order)


def test_an_epoch_is_a_permutation():
    batches = order_of(9)
    assert sorted(index for batch in batches for _, index in batch) == list(range(9))
    assert all(epoch == 0 for batch in batches for epoch, _ in batch)
    assert batches == order_of(9)
    indices = [[index for batch in order_of(9, epoch=epoch) for _, index in batch] for epoch in range(4)]
    assert len({tuple(each) for each in indices}) == 4
    assert batches != order_of(9, seed=1)


@pytest.mark.parametrize(("count", "batch", "steps"), [(7, 3, 3), (9, 3, 3), (1, 4, 1), (10, 4, 3)])
def test_the_last_batch_is_filled_up(count, batch, steps):
    batches = order_of(count, batch=batch)
    assert len(batches) == len(Order(count, batch=batch, seed=0)) == steps
    assert {len(each) for each in batches} == {batch}
    assert {index for each in batches for _, index in each} == set(range(count))


@pytest.mark.parametrize("skip", [0, 1, 2, 3])
def test_skipping_goes_on_exactly(skip):
    assert order_of(7, epoch=2, skip=skip) == order_of(7, epoch=2)[skip:]


def test_shards_partition_every_batch():
    whole = order_of(14, batch=6, epoch=1)
    shards = [order_of(14, batch=6, epoch=1, shard=(rank, 3)) for rank in range(3)]
    for batch, *parts in zip(whole, *shards, strict=True):
        assert {len(part) for part in parts} == {2}
        assert sorted(item for part in parts for item in part) == sorted(batch)


def test_workers_change_nothing():
    given = crops()
    batches = {}
    for workers in (0, 2):
        batches[workers] = []
        loaded = loader(given, workers=workers)
        for epoch in (0, 1):
            loaded.batch_sampler.epoch = epoch
            batches[workers] += list(loaded)
    assert len(batches[0]) == 6
    for one, two in zip(batches[0], batches[2], strict=True):
        torch.testing.assert_close(one, two, rtol=0, atol=0)


def test_items_are_a_function_of_seed_epoch_and_index():
    one, two = crops(), crops()
    for left, right in zip(one[(3, 2)], two[(3, 2)], strict=True):
        torch.testing.assert_close(left, right, rtol=0, atol=0)
    assert not torch.equal(one[(3, 2)][0], one[(4, 2)][0])
    assert not torch.equal(one[(3, 2)][0], crops(seed=5)[(3, 2)][0])


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16, np.float32])
def test_items_are_tensors_a_network_takes(dtype):
    image, labels = crops(channels=4, read=partial(drawn, channels=4, dtype=dtype))[(0, 0)]
    assert image.dtype == (torch.uint8 if dtype == np.uint8 else torch.float32)
    assert (image.shape, labels.shape, labels.dtype) == ((4, 17, 17), (17, 17), torch.uint8)


def test_grey_is_repeated_for_a_network_of_three():
    image, _ = crops(read=partial(drawn, channels=1))[(0, 0)]
    assert image.shape == (3, 17, 17)
    assert torch.equal(image[0], image[2])


def test_loading_draws_nothing_from_the_global_generator():
    before = torch.get_rng_state()
    list(loader(crops(), workers=0))
    assert torch.equal(torch.get_rng_state(), before)
