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
    assert sorted(index for batch in batches for _, index, *_ in batch) == list(range(9))
    assert all(epoch == 0 for batch in batches for epoch, *_ in batch)
    assert batches == order_of(9)
    indices = [[index for batch in order_of(9, epoch=epoch) for _, index, *_ in batch] for epoch in range(4)]
    assert len({tuple(each) for each in indices}) == 4
    assert batches != order_of(9, seed=1)


@pytest.mark.parametrize(("count", "batch", "steps"), [(7, 3, 3), (9, 3, 3), (1, 4, 1), (10, 4, 3)])
def test_the_last_batch_is_filled_up(count, batch, steps):
    batches = order_of(count, batch=batch)
    assert len(batches) == len(Order(count, batch=batch, seed=0)) == steps
    assert {len(each) for each in batches} == {batch}
    assert {index for each in batches for _, index, *_ in each} == set(range(count))


@pytest.mark.parametrize("skip", [0, 1, 2, 3])
def test_skipping_goes_on_exactly(skip):
    assert order_of(7, epoch=2, skip=skip) == order_of(7, epoch=2)[skip:]


def test_shards_partition_every_batch():
    whole = order_of(14, batch=6, epoch=1)
    shards = [order_of(14, batch=6, epoch=1, shard=(rank, 3)) for rank in range(3)]
    for batch, *parts in zip(whole, *shards, strict=True):
        assert {len(part) for part in parts} == {2}
        assert sorted(item for part in parts for item in part) == sorted(batch)


def test_a_step_is_several_batches_that_partition_its_crops():
    whole = [item for batch in order_of(14, batch=6) for item in batch]
    order = Order(14, batch=3, accumulate=2, seed=0)
    assert (len(order), order.steps) == (6, 3)
    assert [len(batch) for batch in order] == [3] * 6
    assert [item for batch in order for item in batch] == whole
    order.skip = 2
    assert [item for batch in order for item in batch] == whole[12:]


def test_a_sample_that_comes_again_in_an_epoch_is_another_crop():
    first, again = order_of(2, batch=4)[0][0], order_of(2, batch=4)[0][2]
    assert (first.sample, first.turn, again.turn) == (again.sample, 0, 1)
    given = crops()
    assert not torch.equal(given[first].images, given[again].images)


def test_every_step_draws_one_of_the_sizes():
    sizes = ((9, 9), (17, 17), (25, 25))
    order = Order(40, batch=2, accumulate=2, seed=0, sizes=sizes)
    drawn_sizes = [{item.size for item in batch} for batch in order]
    assert all(len(each) == 1 for each in drawn_sizes)
    assert [drawn_sizes[i] == drawn_sizes[i + 1] for i in range(0, 20, 2)] == [True] * 10  # both batches of a step
    assert set.union(*drawn_sizes) == set(sizes)
    batch = next(iter(loader(replace(crops(), sizes=((9, 9), (25, 25))), workers=0)))
    assert batch.images.shape[2:] in ((9, 9), (25, 25))
    assert batch.images.shape[2:] == batch.labels.shape[1:]


def test_labels_are_counted():
    batch = next(iter(loader(crops(), workers=0)))
    assert torch.equal(batch.seen, torch.bincount(batch.labels.flatten().long(), minlength=256))
    assert batch.indices.shape == (3,)


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
    image, labels, *_ = crops(channels=4, read=partial(drawn, channels=4, dtype=dtype))[(0, 0)]
    assert image.dtype == (torch.uint8 if dtype == np.uint8 else torch.float32)
    assert (image.shape, labels.shape, labels.dtype) == ((4, 17, 17), (17, 17), torch.uint8)


def test_grey_is_repeated_for_a_network_of_three():
    image, *_ = crops(read=partial(drawn, channels=1))[(0, 0)]
    assert image.shape == (3, 17, 17)
    assert torch.equal(image[0], image[2])


def test_loading_draws_nothing_from_the_global_generator():
    before = torch.get_rng_state()
    list(loader(crops(), workers=0))
    assert torch.equal(torch.get_rng_state(), before)


def objects(index, *, channels=3):
    """A sample with a class in each of its quarters; of which one is labelled as an object."""
    labels = np.kron(np.array([[0, 1], [2, 255]]), np.ones((10, 12), int)).astype(np.uint8)
    image = np.repeat((labels[..., None] // 2 + index).astype(np.uint8), channels, 2)
    return Sample(image=image, labels=labels, instances=np.where(labels == 2, index + 1, 0).astype(np.int32))


def brightened(sample, random):
    return replace(sample, image=sample.image + np.uint8(random.integers(1, 9)))


STRONG = {
    "augment": "strong",
    "elastic": 3.0,
    "crops": "balanced",
    "mosaic": 0.5,
    "copy_paste": 0.5,
}


@pytest.mark.parametrize(("channels", "of_sample"), [(3, 3), (3, 1), (1, 1), (4, 4)])
def test_mixed_crops_are_a_function_of_seed_epoch_and_index(channels, of_sample):
    given = replace(crops(read=partial(objects, channels=of_sample), channels=channels, **STRONG), transform=brightened)
    again = replace(crops(read=partial(objects, channels=of_sample), channels=channels, **STRONG), transform=brightened)
    for epoch in range(3):
        for index in range(7):
            one, two = given[(epoch, index)], again[(epoch, index)]
            assert (one[0].shape, one[1].shape) == ((channels, 17, 17), (17, 17))
            torch.testing.assert_close(one, two, rtol=0, atol=0)
    assert not torch.equal(given[(0, 0)][0], given[(1, 0)][0])


def test_workers_change_nothing_of_what_is_mixed_and_transformed():
    from torchvision.transforms import v2

    from atrous.data.augmentation import from_torchvision

    given = replace(crops(read=objects, **STRONG), transform=from_torchvision(v2.ColorJitter(0.5)))
    alone, shared = list(loader(given, workers=0)), list(loader(given, workers=2))
    assert len(alone) == len(shared) == 3
    for one, two in zip(alone, shared, strict=True):
        torch.testing.assert_close(one, two, rtol=0, atol=0)


def test_a_transform_comes_before_the_crop():
    def white(sample, random):
        return Sample(image=np.full((40, 40, 3), 255, np.uint8), labels=np.full((40, 40), 7, np.uint8))

    image, labels, *_ = replace(crops(augment="none"), transform=white)[(0, 0)]
    assert (image == 255).all()
    assert (labels == 7).all()
    with pytest.raises(ValueError, match="a sample without labels came"):
        replace(crops(), transform=lambda sample, random: replace(sample, labels=None))[(0, 0)]


def test_mosaics_and_pasted_objects_come_as_often_as_asked():
    plain = crops(100, read=objects, augment="none")
    mixed = crops(100, read=objects, augment="none", mosaic=0.3)
    same = [torch.equal(plain[(0, index)][0], mixed[(0, index)][0]) for index in range(100)]
    assert 0.55 < np.mean(same) < 0.85
    pasted = crops(100, read=objects, augment="none", copy_paste=1.0)
    changed = [not torch.equal(plain[(0, index)][0], pasted[(0, index)][0]) for index in range(100)]
    assert np.mean(changed) > 0.9


def test_limits_are_the_range_of_gamma_and_noise():
    read = partial(drawn, dtype=np.uint16)
    one = replace(crops(read=read, augment="strong"), limits=(0.0, 4095.0))
    two = replace(crops(read=read, augment="strong"), limits=(0.0, 65535.0))
    assert any(not torch.equal(one[(0, index)][0], two[(0, index)][0]) for index in range(5))


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 5])
def test_planes_are_the_transposed_image(channels):
    image, *_ = crops(channels=channels, read=partial(drawn, channels=channels), augment="none", crop=(20, 24))[(0, 1)]
    np.testing.assert_array_equal(image.numpy(), drawn(1, channels=channels).image.transpose(2, 0, 1))


def test_a_transform_that_returns_something_else_is_named():
    from atrous.training.batches import checked

    sample = Sample(image=np.zeros((4, 6, 3), np.uint8), labels=np.zeros((4, 6), np.uint8), path="a.png")
    assert checked(sample, sample, classes=1).labels is sample.labels
    with pytest.raises(ValueError, match=r"a.png: the transform returned NoneType; it takes \(Sample, Generator\)"):
        checked(None, sample)
    halved = Sample(image=sample.image[::2], labels=sample.labels)
    with pytest.raises(ValueError, match=r"the transform returned an image \(2, 6, 3\) and labels of another size"):
        checked(halved, sample)


@pytest.mark.parametrize(
    ("label", "words"),
    [
        (3, r"a.png: the transform returned the label 3; with 3 classes they are 0 to 2, and 255 is ignored"),
        (-1, r"a.png: the transform returned the label -1; with 3 classes they are 0 to 2, and 255 is ignored"),
        (0.5, r"a.png: the transform returned labels of float64; with 3 classes they are 0 to 2"),
    ],
)
def test_labels_of_a_transform_that_are_of_no_class(label, words):
    from atrous.training.batches import checked

    sample = Sample(image=np.zeros((4, 6, 3), np.uint8), labels=np.zeros((4, 6), np.uint8), path="a.png")
    with pytest.raises(ValueError, match=words):
        checked(replace(sample, labels=np.full((4, 6), label)), sample, classes=3)
    for right in (2, 255):
        labels = checked(replace(sample, labels=np.full((4, 6), right)), sample, classes=3).labels
        assert (labels.dtype, labels[0, 0]) == (np.uint8, right)


def test_a_single_size_that_is_not_the_crops_is_drawn():
    order = Order(4, batch=2, seed=1, sizes=[(16, 16)])
    assert {item.size for batch in order for item in batch} == {(16, 16)}


def test_a_worker_leaves_ctrl_c_alone():
    import signal

    from atrous.training.batches import _alone

    before, threads = signal.getsignal(signal.SIGINT), torch.get_num_threads()
    try:
        _alone(0)
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
        torch.set_num_threads(threads)
