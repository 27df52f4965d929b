"""Callables of torchvision and albumentations: seeded by the generator, ignored outside, refused with words."""

import pickle

import numpy as np
import pytest

from atrous.contract import Sample
from atrous.data.augmentation import from_albumentations, from_torchvision

torch = pytest.importorskip("torch")
v2 = pytest.importorskip("torchvision.transforms.v2")


@pytest.fixture(autouse=True)
def _at_home(monkeypatch):
    monkeypatch.setenv("NO_ALBUMENTATIONS_UPDATE", "1")  # it asks a server for news when it is imported


def sample(dtype=np.uint8, channels=3, *, objects=False):
    random = np.random.default_rng(0)
    labels = np.kron(random.integers(0, 5, (6, 8)), np.ones((8, 8), int)).astype(np.uint8)
    labels[:8, :8] = 255
    image = np.repeat(labels[..., None], channels, 2).astype(dtype) * dtype(40 if dtype != np.uint8 else 1)
    numbers = np.where(labels == 255, 0, labels.astype(np.int32) * 70_000 + 5) if objects else None
    return Sample(image=image, labels=labels, instances=numbers, path="a.png")


def albumentations_of(*operations):
    peer = pytest.importorskip("albumentations")
    return peer, from_albumentations(peer.Compose([operation(peer) for operation in operations]))


def transforms():
    yield "torchvision", from_torchvision(v2.Compose([v2.RandomRotation(40), v2.RandomHorizontalFlip()]))
    yield (
        "torchvision, filled",
        from_torchvision(v2.RandomRotation(40, fill={torch_image(): 0, torch_mask(): 255})),
    )
    for name, fill in (("albumentations", 0), ("albumentations, filled", 255)):
        yield name, albumentations_of(lambda a, fill=fill: a.Affine(rotate=(-40, 40), p=1, fill_mask=fill))[1]


def torch_image():
    from torchvision import tv_tensors

    return tv_tensors.Image


def torch_mask():
    from torchvision import tv_tensors

    return tv_tensors.Mask


@pytest.mark.filterwarnings("default")  # theirs are theirs
@pytest.mark.parametrize("index", range(4))
@pytest.mark.parametrize("objects", [False, True])
def test_image_and_labels_turn_together_and_the_outside_is_ignored(index, objects):
    if index >= 2:
        pytest.importorskip("albumentations")
    _, transform = list(transforms())[index]
    given, state = sample(objects=objects), torch.get_rng_state()
    changed = transform(given, np.random.default_rng(1))
    again = pickle.loads(pickle.dumps(transform))(given, np.random.default_rng(1))
    other = transform(given, np.random.default_rng(2))
    assert torch.equal(torch.get_rng_state(), state)
    assert (changed.image.dtype, changed.labels.dtype, changed.path) == (np.uint8, np.uint8, "a.png")
    assert changed.labels.shape == changed.image.shape[:2]
    np.testing.assert_array_equal(changed.image, again.image)
    np.testing.assert_array_equal(changed.labels, again.labels)
    assert not np.array_equal(changed.labels, other.labels)
    outside = changed.labels == 255
    assert 0.1 < outside.mean() < 0.6
    corners = changed.labels[[0, 0, -1, -1], [0, -1, 0, -1]]
    assert (corners == 255).sum() >= 2
    same = changed.image[..., 0] == changed.labels
    assert same[~outside].mean() > 0.8  # bilinear between the blocks
    if objects:
        np.testing.assert_array_equal(
            np.where(outside, 0, changed.labels.astype(np.int32) * 70_000 + 5), changed.instances
        )
    else:
        assert changed.instances is None


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
@pytest.mark.parametrize("channels", [1, 3])
def test_flips_of_any_image(dtype, channels):
    given = sample(dtype, channels)
    changed = from_torchvision(v2.RandomHorizontalFlip(p=1))(given, np.random.default_rng(0))
    np.testing.assert_array_equal(changed.image, given.image[:, ::-1])
    np.testing.assert_array_equal(changed.labels, given.labels[:, ::-1])
    _, transform = albumentations_of(lambda a: a.HorizontalFlip(p=1))
    changed = transform(given, np.random.default_rng(0))
    np.testing.assert_array_equal(changed.image, given.image[:, ::-1])
    np.testing.assert_array_equal(changed.labels, given.labels[:, ::-1])


class Returning:
    """Something like albumentations that returns what it was told to."""

    def __init__(self, result):
        self.result = result

    def set_random_seed(self, seed):
        pass

    def __call__(self, image, mask):
        return self.result(image, mask)


def test_what_is_no_transform_is_refused():
    with pytest.raises(TypeError, match=r"str came; a callable of torchvision\.transforms\.v2 is accepted"):
        from_torchvision("flip")
    with pytest.raises(TypeError, match=r"function came; a callable of albumentations with `set_random_seed`"):
        from_albumentations(lambda image, mask: None)


@pytest.mark.parametrize(
    ("result", "error", "words"),
    [
        (lambda image, mask: image, TypeError, "the transform returned Image; an image and a mask are needed"),
        (lambda image, mask: (image.float(), mask), ValueError, "made float32 of an image of uint8; leave out what"),
        (lambda image, mask: (image[:, :9], mask), ValueError, r"made \(9, 64, 3\) and \(48, 64, 2\) of an image"),
        (lambda image, mask: (image, mask[0]), ValueError, r"returned shapes \(3, 48, 64\) and \(48, 64\)"),
    ],
)
def test_what_torchvision_must_not_return(result, error, words):
    with pytest.raises(error, match=words):
        from_torchvision(result)(sample(), np.random.default_rng(0))


@pytest.mark.parametrize(
    ("result", "error", "words"),
    [
        (lambda image, mask: image, TypeError, "the transform returned ndarray; a dictionary with image and mask"),
        (lambda image, mask: {"image": image}, TypeError, "the transform returned dict; a dictionary with image and"),
        (lambda image, mask: {"image": image / 255, "mask": mask}, ValueError, "made float64 of an image of uint8"),
        (lambda image, mask: {"image": image[:9], "mask": mask}, ValueError, r"made \(9, 64, 3\) and \(48, 64, 2\)"),
    ],
)
def test_what_albumentations_must_not_return(result, error, words):
    with pytest.raises(error, match=words):
        from_albumentations(Returning(result))(sample(), np.random.default_rng(0))


def test_masks_that_were_mixed_are_refused_where_it_shows():
    mixing = Returning(lambda image, mask: {"image": image, "mask": np.where(mask == mask[0, 0], mask, 200)})
    with pytest.raises(ValueError, match="the transform mixed the mask's values; masks must be resampled with the"):
        from_albumentations(mixing)(sample(objects=True), np.random.default_rng(0))


def test_samples_need_labels():
    bare = Sample(image=np.zeros((4, 4, 3), np.uint8), path="b.png")
    for transform in (from_torchvision(v2.Identity()), from_albumentations(Returning(None))):
        with pytest.raises(ValueError, match=r"b.png: a sample without labels came; training needs a mask"):
            transform(bare, np.random.default_rng(0))


def read_only(sample):
    for array in (sample.image, sample.labels):
        array.setflags(write=False)
    return sample


@pytest.mark.parametrize("channels", [1, 3])
def test_what_works_in_place_does_not_touch_the_sample(channels):
    def in_place(image, mask):
        image.fill_(7)
        mask[0] = 1
        return image, mask

    class InPlace:
        def set_random_seed(self, seed):
            self.seed = seed

        def __call__(self, image, mask):
            image[:] = 7
            mask[..., 0] = 1
            return {"image": image, "mask": mask}

    for transform in (from_torchvision(in_place), from_albumentations(InPlace())):
        before = read_only(sample(channels=channels))
        after = transform(before, np.random.default_rng(0))
        assert (after.image == 7).all()
        assert (after.labels == 1).all()
        np.testing.assert_array_equal(before.image, sample(channels=channels).image)


def test_what_a_transform_raises_names_the_image():
    def fails(image, mask):
        raise KeyError("boxes")

    class Fails:
        def set_random_seed(self, seed):
            self.seed = seed

        def __call__(self, image, mask):
            raise RuntimeError("no such crop")

    with pytest.raises(ValueError, match=r"a.png: the transform failed: KeyError: 'boxes'") as error:
        from_torchvision(fails)(sample(), np.random.default_rng(0))
    assert isinstance(error.value.__cause__, KeyError)
    with pytest.raises(ValueError, match=r"a.png: the transform failed: RuntimeError: no such crop"):
        from_albumentations(Fails())(sample(), np.random.default_rng(0))
    with pytest.raises(TypeError, match=r"a.png: the transform returned int"):
        from_torchvision(lambda image, mask: 3)(sample(), np.random.default_rng(0))
