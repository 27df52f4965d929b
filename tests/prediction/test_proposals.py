"""Proposals around what stands out, and the scores of many boxes put together, against a slow loop."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from atrous.contract import AtrousError, Preprocessing, Sample
from atrous.data import open_dataset, read_sample
from atrous.data.scenes import street_scene, street_space
from atrous.models import Segmenter, fcn8s
from atrous.models.deconvnet import deconvnet
from atrous.prediction import averaged, edge_boxes, predicted, proposed, selective_search
from atrous.prediction import proposals as module
from atrous.prediction.arrays import resized, softmax

FINDERS = (selective_search, edge_boxes)
RED, GREEN = (60, 70, 120, 150), (140, 30, 200, 80)


def picture(dtype=np.uint8, channels=3):
    """Return a grey image with a red and a green box in it, a little noisy."""
    image = np.full((240, 180, 3), 90)
    for (top, left, bottom, right), colour in ((RED, (220, 40, 40)), (GREEN, (30, 180, 60))):
        image[top:bottom, left:right] = colour
    image += np.random.default_rng(0).integers(-5, 6, image.shape)
    return image[:, :, :channels].astype(dtype)


def overlap(first, second):
    high, wide = np.minimum(first[2:], second[2:]) - np.maximum(first[:2], second[:2])
    common = max(high, 0) * max(wide, 0)
    return common / (sum((b - t) * (r - left) for t, left, b, r in (first, second)) - common)


class Colours:
    """Score grey, red and green by how far a pixel is from them: a hand-made scorer with logits."""

    def __init__(self, gain=1.0):
        self.gain, self.seen = gain, []

    def logits(self, images):
        self.seen.append(tuple(images.shape))
        wanted = np.array([(90, 90, 90), (220, 40, 40), (30, 180, 60)], np.float32)
        pixels = images.astype(np.float32)[:, None]
        return self.gain * (1 - np.abs(pixels - wanted[:, :, None, None]).sum(2) / 100).astype(np.float32)

    def __call__(self, images):
        return softmax(self.logits(images))


def boxes(*rows):
    return lambda image, *, count: np.array(rows, int).reshape(-1, 4)[:count]


# Finding boxes --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("find", FINDERS)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16, np.float32])
def test_boxes_lie_around_what_stands_out(find, dtype):
    image = picture(dtype) * (200 if dtype == np.uint16 else 1)
    before = image.copy()
    found = find(image, count=20)
    np.testing.assert_array_equal(image, before)
    assert found.dtype == np.int64
    assert 1 <= len(found) <= 20
    for thing in (RED, GREEN):
        assert max(overlap(np.array(box), np.array(thing)) for box in found) > 0.7
    assert (found[:, 2:] - found[:, :2] >= 32).all()
    assert (found >= 0).all()
    assert (found[:, 2:] <= image.shape[:2]).all()


@pytest.mark.parametrize("find", FINDERS)
def test_the_same_image_gives_the_same_boxes(find):
    image = street_scene(3, size=(200, 260)).image
    first = find(image, count=30)
    for _ in range(3):
        np.testing.assert_array_equal(find(image, count=30), first)
    np.testing.assert_array_equal(find(image, count=7), first[:7])


@pytest.mark.parametrize("find", FINDERS)
def test_boxes_of_one_size_come_in_one_order(find):
    image = np.full((240, 240, 3), 90, np.uint8)
    for top in (20, 100, 180):
        for left in (20, 100, 180):
            image[top : top + 40, left : left + 40] = (220, 20 + top, 20 + left)
    first = find(image)
    assert (
        sum(
            max(overlap(box, np.array([t, s, t + 40, s + 40])) for box in first) > 0.7
            for t in (20, 100, 180)
            for s in (20, 100, 180)
        )
        == 9
    )
    for _ in range(4):
        np.testing.assert_array_equal(find(image), first)


@pytest.mark.parametrize("find", FINDERS)
@pytest.mark.parametrize("channels", [1, 2, 4])
def test_any_number_of_channels(find, channels):
    image = np.repeat(picture(channels=1), channels, 2)
    assert max(overlap(np.array(box), np.array(RED)) for box in find(image)) > 0.7


@pytest.mark.parametrize("find", FINDERS)
@pytest.mark.parametrize("size", [(1, 1), (1, 200), (31, 31), (64, 64), (3, 2)])
def test_where_nothing_is_found_the_whole_image_is_the_box(find, size):
    assert find(np.full((*size, 3), 7, np.uint8)).tolist() == [[0, 0, *size]]
    assert find(np.full((*size, 1), np.nan, np.float32)).tolist() == [[0, 0, *size]]


@pytest.mark.parametrize("find", FINDERS)
def test_the_least_side(find):
    image = street_scene(3, size=(200, 260)).image
    sides = [(box[2:] - box[:2]).min() for box in find(image, minimum=8, count=200)]
    assert min(sides) < 32
    assert min((box[2:] - box[:2]).min() for box in find(image, minimum=60, count=200)) >= 60


def test_the_largest_region_comes_first_and_none_twice():
    found = selective_search(street_scene(3, size=(200, 260)).image, count=40, overlap=0.5)
    areas = [(bottom - top) * (right - left) for top, left, bottom, right in found]
    assert areas == sorted(areas, reverse=True)
    assert max(overlap(one, other) for k, one in enumerate(found) for other in found[:k]) <= 0.5


def test_edges_are_thin_and_know_their_direction():
    image = np.zeros((40, 50, 3), np.uint8)
    image[:, 25:] = 200
    strength, angle = module._edges(image, 1.0)
    assert strength[20].max() == 1
    assert np.count_nonzero(strength[20]) <= 2
    assert min(angle[20, 25], np.pi - angle[20, 25]) < 0.01
    _, angle = module._edges(image.transpose(1, 0, 2).copy(), 1.0)
    assert angle[25, 20] == pytest.approx(np.pi / 2, abs=0.01)
    slanted = np.tri(40, dtype=np.uint8)[..., None].repeat(3, 2) * 200
    _, angle = module._edges(slanted, 1.0)
    assert angle[20, 20] == pytest.approx(3 * np.pi / 4, abs=0.05)


def test_without_the_contributed_modules(monkeypatch):
    monkeypatch.delattr(module.cv2, "ximgproc")
    with pytest.raises(AtrousError, match=r"this OpenCV has no ximgproc.*install opencv-contrib-python-headless"):
        selective_search(picture())


@pytest.mark.parametrize("find", FINDERS)
@pytest.mark.parametrize(
    ("image", "options", "words"),
    [
        (np.zeros((4, 5)), {}, r"an image of shape \(4, 5\) came; \(h, w, c\) is wanted"),
        (np.zeros((0, 5, 3)), {}, r"an image of shape \(0, 5, 3\) came"),
        (picture(), {"count": 0}, "count 0 came; it is 1 or more"),
        (picture(), {"minimum": 0}, "minimum 0 came"),
        (picture(), {"side": 0}, "side 0 came"),
        (picture(), {"overlap": 0}, "overlap 0 came; it is an intersection over union"),
    ],
)
def test_finders_refuse(find, image, options, words):
    with pytest.raises(ValueError, match=words):
        find(image, **options)


def test_a_blur_of_nothing():
    with pytest.raises(ValueError, match="blur 0 came; it is the width of a Gaussian"):
        edge_boxes(picture(), blur=0)


@pytest.mark.parametrize("find", FINDERS)
def test_proposals_of_photographs_overlap_the_labelled_objects(data_dir, find):
    dataset = open_dataset(data_dir / "voc2012_animals")
    best = []
    for pair in dataset.splits["val"][:40:8]:
        sample = read_sample(pair, dataset.space)
        found = find(sample.image)
        for label in np.unique(sample.labels[(sample.labels > 0) & (sample.labels < 255)]):
            rows, columns = np.nonzero(sample.labels == label)
            thing = np.array([rows.min(), columns.min(), rows.max() + 1, columns.max() + 1])
            best.append(max(overlap(box, thing) for box in found))
    assert np.mean(np.array(best) >= 0.5) >= 0.6, best


# Resizing and softmax -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "target"), [((7, 9), (3, 20)), ((30, 50), (22, 22)), ((1, 1), (4, 5)), ((5, 4), (1, 1)), ((6, 6), (6, 6))]
)
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_numpy_resizes_as_torch_does(size, target, dtype):
    images = np.random.default_rng(0).integers(0, 256, (2, 3, *size)).astype(dtype)
    found = resized(images, target)
    expected = functional.interpolate(torch.from_numpy(images).float(), target, mode="bilinear", antialias=True)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected.numpy(), atol=2e-3)
    torch.testing.assert_close(resized(torch.from_numpy(images), target), expected)


def test_softmax_of_large_logits():
    logits = np.array([1000.0, 0.0, 1000.0], np.float32).reshape(1, 3, 1, 1)
    np.testing.assert_allclose(softmax(logits).ravel(), [0.5, 0, 0.5])
    torch.testing.assert_close(softmax(torch.from_numpy(logits)), torch.from_numpy(logits).softmax(1))


# Putting scores together ----------------------------------------------------------------------------------------------


def slowly(scorer, image, rows, *, size, fuse):
    """Return the fused logits (classes, h, w) of an image (c, h, w), pixel by pixel."""
    height, width = image.shape[1:]
    fused = np.zeros((3, height, width), np.float32)
    for top, left, bottom, right in ([0, 0, height, width], *rows):
        crop = resized(image[None, :, top:bottom, left:right], (size, size))
        scores = resized(scorer.logits(crop), (bottom - top, right - left))[0]
        for row in range(top, bottom):
            for column in range(left, right):
                for label in range(3):
                    score = scores[label, row - top, column - left]
                    old = fused[label, row, column]
                    fused[label, row, column] = max(old, score) if fuse == "max" else old + score
    return fused


@pytest.mark.parametrize("fuse", ["max", "sum"])
def test_against_a_loop(fuse):
    image = picture().transpose(2, 0, 1)[:, ::8, ::8]
    rows = ((2, 3, 20, 22), (0, 0, 8, 9), (15, 1, 30, 12))
    scorer = Colours()
    wrapped = proposed(scorer, boxes(*rows), size=16, fuse=fuse)
    logits = wrapped.logits(image[None])
    np.testing.assert_allclose(logits[0], slowly(scorer, image, rows, size=16, fuse=fuse), atol=1e-5)
    assert logits.dtype == np.float32
    assert (logits >= 0).all() == (fuse == "max")
    np.testing.assert_allclose(wrapped(image[None]), softmax(logits), atol=1e-6)


def test_small_things_are_named_by_their_own_boxes_only():
    image = np.full((200, 200, 3), 90, np.uint8)
    image[101:104, 51:54] = (220, 40, 40)
    images = image.transpose(2, 0, 1)[None]
    coarse = proposed(Colours(), boxes(), size=20)(images).argmax(1)
    assert not coarse.any()
    labels = proposed(Colours(), boxes((90, 40, 110, 60)), size=20)(images).argmax(1)
    np.testing.assert_array_equal(labels[0] == 1, (image == (220, 40, 40)).all(2))


@pytest.mark.parametrize("propose", FINDERS)
def test_the_right_pixels_are_named(propose):
    image = picture()
    labels = proposed(Colours(), propose, size=64, count=10)(image.transpose(2, 0, 1)[None]).argmax(1)[0]
    for label, (top, left, bottom, right) in ((1, RED), (2, GREEN)):
        expected = np.zeros(labels.shape, bool)
        expected[top:bottom, left:right] = True
        union = ((labels == label) | expected).sum()
        assert ((labels == label) & expected).sum() / union > 0.9


def test_sum_and_maximum_differ_where_boxes_overlap():
    image = np.full((1, 3, 40, 40), 90, np.uint8)
    twice = boxes((0, 0, 20, 40), (10, 0, 30, 40))
    maximum = proposed(Colours(), twice, size=20).logits(image)[0, 0, :, 5]
    total = proposed(Colours(), twice, size=20, fuse="sum").logits(image)[0, 0, :, 5]
    np.testing.assert_allclose(maximum, 1, atol=1e-5)
    np.testing.assert_allclose(total, [2] * 10 + [3] * 10 + [2] * 10 + [1] * 10, atol=1e-5)


def test_logarithms_serve_the_sum_as_well_as_logits():
    images = picture().transpose(2, 0, 1)[None, :, ::4, ::4]
    rows = boxes((3, 5, 40, 30), (20, 10, 60, 45))
    with_logits = proposed(Colours(), rows, size=24, fuse="sum")(images)
    without = proposed(Colours().__call__, rows, size=24, fuse="sum")(images)
    np.testing.assert_allclose(without, with_logits, atol=1e-5)


def test_a_class_that_is_impossible_stays_finite():
    certain = proposed(lambda crops: np.eye(2, dtype=np.float32)[:1, :, None, None] + 0 * crops[:, :1], fuse="sum")
    found = certain(np.zeros((1, 3, 40, 40), np.uint8))
    np.testing.assert_allclose(found[0, :, 0, 0], [1, 0], atol=1e-6)


@pytest.mark.parametrize("size", [(1, 1), (1, 50), (37, 1), (45, 33)])
def test_any_size_comes_back(size):
    images = np.random.default_rng(0).integers(0, 256, (2, 3, *size), dtype=np.uint8)
    before = images.copy()
    scorer = proposed(Colours(), size=16, count=5)
    found = scorer(images)
    assert (found.shape, found.dtype) == ((2, 3, *size), np.float32)
    np.testing.assert_allclose(found.sum(1), 1, atol=1e-5)
    np.testing.assert_array_equal(images, before)
    np.testing.assert_allclose(found, np.concatenate([scorer(images[:1]), scorer(images[1:])]))


def test_eight_crops_at_a_time():
    scorer = Colours()
    rows = [(k, k, k + 10, k + 10) for k in range(20)]
    proposed(scorer, boxes(*rows, (0, 0, 40, 40)), size=12, count=30).logits(np.zeros((1, 3, 40, 40), np.uint8))
    assert [shape[0] for shape in scorer.seen] == [8, 8, 5]
    assert {shape[1:] for shape in scorer.seen} == {(3, 12, 12)}


def test_count_is_handed_on():
    scorer = Colours()
    rows = [(k, k, k + 10, k + 10) for k in range(20)]
    proposed(scorer, boxes(*rows), size=12, count=3).logits(np.zeros((1, 3, 40, 40), np.uint8))
    assert [shape[0] for shape in scorer.seen] == [4]


@pytest.mark.parametrize(
    ("propose", "words"),
    [
        (boxes((0, 0, 41, 40)), r"the proposal \[0, 0, 41, 40\] is not .* in 40 x 40 pixels"),
        (boxes((5, 5, 5, 9)), r"the proposal \[5, 5, 5, 9\] is not"),
        (boxes((-1, 5, 5, 9)), r"the proposal \[-1, 5, 5, 9\] is not"),
        (lambda image, *, count: np.zeros((2, 3), int), r"the proposals are int64 of shape \(2, 3\); \(k, 4\) whole"),
        (lambda image, *, count: np.array([[0, 0, 2.5, 2]]), r"the proposals are float64 of shape \(1, 4\)"),
    ],
)
def test_proposals_that_are_no_boxes(propose, words):
    with pytest.raises(ValueError, match=words):
        proposed(Colours(), propose).logits(np.zeros((1, 3, 40, 40), np.uint8))


def test_scores_of_another_shape():
    scorer = proposed(lambda crops: crops[:, :, ::2], boxes(), size=8, fuse="sum")
    with pytest.raises(
        ValueError, match=r"the scorer returned \(1, 3, 4, 8\) for 1 crops of 8 x 8; \(1, classes, 8, 8"
    ):
        scorer(np.ones((1, 3, 9, 9), np.float32))


def test_what_proposed_refuses():
    with pytest.raises(ValueError, match="fuse 'mean' came; it is 'max' or 'sum'"):
        proposed(Colours(), fuse="mean")
    with pytest.raises(ValueError, match="size 0 came; it is 1 or more"):
        proposed(Colours(), size=0)
    with pytest.raises(ValueError, match="count 0 came; it is 1 or more"):
        proposed(Colours(), count=0)
    with pytest.raises(TypeError, match=r"the maximum over proposals needs a scorer with `logits`.*or fuse='sum'"):
        proposed(lambda images: images)


# Beside a network -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def segmenters():
    torch.manual_seed(0)
    nets = deconvnet(8, width=1 / 32), fcn8s(8, width=1 / 32)
    for net in nets:
        for weight in net.parameters():
            if not weight.detach().any():
                torch.nn.init.normal_(weight, std=0.1)
    return [Segmenter(net, street_space(), Preprocessing()).eval() for net in nets]


def test_deconvnet_over_proposals_with_fcn(segmenters):
    scene = street_scene(5, size=(90, 120))
    ensemble = averaged(proposed(segmenters[0], count=6), segmenters[1])
    images = ensemble.from_numpy(scene.image.transpose(2, 0, 1)[None])
    before = images.clone()
    found = ensemble(images)
    assert (tuple(found.shape), found.dtype, found.requires_grad) == ((1, 8, 90, 120), torch.float32, False)
    torch.testing.assert_close(found.sum(1), torch.ones(1, 90, 120))
    torch.testing.assert_close(ensemble(images), found, rtol=0, atol=0)
    assert torch.equal(images, before)
    prediction = predicted(ensemble, Sample(image=scene.image), street_space(), probabilities=True)
    np.testing.assert_array_equal(prediction.labels, found[0].argmax(0))


@torch.no_grad()
def test_a_network_scores_as_the_loop_says(segmenters):
    images = torch.from_numpy(street_scene(5, size=(60, 50)).image.transpose(2, 0, 1)[None].copy())
    rows = ((4, 5, 40, 44), (20, 0, 60, 31))
    found = proposed(segmenters[0], boxes(*rows)).logits(images)
    expected = torch.zeros(1, 8, 60, 50)
    for top, left, bottom, right in ((0, 0, 60, 50), *rows):
        crop = images[:, :, top:bottom, left:right].float()
        crop = functional.interpolate(crop, (224, 224), mode="bilinear", antialias=True)
        scores = functional.interpolate(
            segmenters[0].logits(crop), (bottom - top, right - left), mode="bilinear", antialias=True
        )
        window = expected[:, :, top:bottom, left:right]
        window.copy_(torch.maximum(window, scores))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)
