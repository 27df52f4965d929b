"""From a source to files: what is found, what results are called, and what a scorer must answer."""

import errno

import numpy as np
import pytest
import torch
from PIL import Image

from atrous.contract import AtrousError, LabelSpace, Prediction, Sample
from atrous.prediction import ahead, find, from_numpy, predicted, to_numpy, write_prediction

SPACE = LabelSpace(names=("dark", "light"), colours=((0, 0, 90), (200, 200, 0)))


def bright(images):
    light = images[:, 0].astype(np.float32) / 255
    return np.stack([1 - light, light], 1)


def touch(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.eye(3, dtype=np.uint8)).save(root / name)
    return root


def names_of(sources):
    return [source.name for source in sources]


def test_a_file_a_folder_and_a_pattern(tmp_path):
    root = touch(tmp_path / "photos", "a.png", "b/c.jpg", "b/.d.jpg", "b/e.JPG")
    (root / "notes.txt").write_text("no image")
    assert names_of(find(root / "b" / "c.jpg")) == ["c"]
    assert names_of(find(root)) == ["a", "b/c", "b/e"]
    assert names_of(find(f"{root}/*")) == ["a"]
    assert names_of(find(f"{root}/**/*.jpg")) == ["b/c"]
    assert names_of(find(f"{root}/b/?.*")) == ["c", "e"]


def test_a_pattern_below_the_current_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(touch(tmp_path, "a.png", "b/c.png"))
    assert names_of(find("*.png")) == ["a"]
    assert names_of(find("b/*.png")) == ["c"]
    touch(tmp_path, "odd[1].png")
    assert names_of(find("odd[1].png")) == ["odd[1]"]


def test_names_that_meet_keep_their_suffix(tmp_path):
    root = touch(tmp_path, "1.jpg", "1.png", "2.png", "b/1.png")
    assert names_of(find(root)) == ["1.jpg", "1.png", "2", "b/1"]
    touch(root, "1.jpg.png")
    names = names_of(find(root))
    assert sorted(names) == ["1.jpg", "1.jpg.png", "1.png", "2", "b/1"]


def test_results_below_the_source_are_no_images(tmp_path):
    root = touch(tmp_path, "a.png", "masks/a.png", "overlays/b/c.jpg")
    assert names_of(find(root, apart_from=[root / "masks", root / "overlays"])) == ["a"]
    with pytest.raises(AtrousError, match=r"masks/a.png: lies where the results go; choose another folder for them"):
        find(root / "masks" / "a.png", apart_from=[root / "masks"])
    with pytest.raises(AtrousError, match=r"masks: no images in this folder; images end in .jpg"):
        find(root / "masks", apart_from=[root / "masks"])


def test_sources_that_are_nothing(tmp_path):
    with pytest.raises(AtrousError, match=r"gone.png: no such file or folder; a file, a folder or a pattern like"):
        find(tmp_path / "gone.png")
    with pytest.raises(AtrousError, match=r"no images in this folder; images end in .jpg, .jpeg"):
        find(tmp_path)
    with pytest.raises(AtrousError, match=r"\*.png: matches no images; images end in"):
        find(f"{tmp_path}/*.png")


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (7, 5)])
def test_predicted_at_the_samples_size(shape):
    image = np.random.default_rng(0).integers(0, 255, (*shape, 3), dtype=np.uint8)
    found = predicted(bright, Sample(image=image, path="a"), SPACE, probabilities=True)
    np.testing.assert_array_equal(found.labels, image[..., 0] > 127)
    assert (found.labels.dtype, found.path, found.space) == (np.uint8, "a", SPACE)
    assert (found.probabilities.shape, found.probabilities.dtype) == ((2, *shape), np.float32)
    assert predicted(bright, Sample(image=image), SPACE).probabilities is None


def test_labels_are_preferred_where_they_are_enough():
    class Scorer:
        def __call__(self, images):
            return bright(images)

        def labels(self, images):
            return np.ones((1, *images.shape[2:]), np.uint8)

    sample = Sample(image=np.zeros((2, 2, 1), np.uint8))
    assert predicted(Scorer(), sample, SPACE).labels.all()
    assert not predicted(Scorer(), sample, SPACE, probabilities=True).labels.any()


def test_answers_of_another_shape():
    sample = Sample(image=np.zeros((4, 5, 1), np.uint8))
    with pytest.raises(ValueError, match=r"the scorer returned \(3, 4, 5\) for an image of 4x5; .*must be \(2, 4, 5\)"):
        predicted(lambda images: np.zeros((1, 3, 4, 5)), sample, SPACE)
    with pytest.raises(ValueError, match=r"the scorer returned \(2, 2, 2\) for an image of 4x5"):
        predicted(lambda images: np.zeros((1, 2, 2, 2)), sample, SPACE)

    def scorer(images):
        return bright(images)

    scorer.labels = lambda images: np.zeros((1, 5, 4), np.uint8)
    with pytest.raises(ValueError, match=r"the scorer returned labels of \(5, 4\) for an image of 4x5"):
        predicted(scorer, sample, SPACE)


def test_a_torch_network_builds_no_gradient():
    seen = []

    class Scorer:
        def __call__(self, images):
            seen.append(torch.is_grad_enabled())
            return images.float().repeat(1, 2, 1, 1)

        def from_numpy(self, images):
            return torch.from_numpy(images)

    assert torch.is_grad_enabled()
    predicted(Scorer(), Sample(image=np.zeros((2, 2, 1), np.uint8)), SPACE, probabilities=True)
    assert seen == [False]
    assert torch.is_grad_enabled()


def test_a_tie_goes_to_the_lowest_class():
    sample = Sample(image=np.zeros((2, 2, 1), np.uint8))
    assert not predicted(lambda images: np.full((1, 2, 2, 2), 0.5, np.float32), sample, SPACE).labels.any()


@pytest.mark.parametrize("dtype", [np.uint16, np.int16, np.float32])
def test_other_depths_arrive_as_float32_of_the_same_values(dtype):
    images = np.array([[[[0, 300]]]], dtype)
    given = from_numpy(bright, images)
    assert given.dtype == np.float32
    np.testing.assert_array_equal(given, images)
    assert from_numpy(bright, images.astype(np.uint8)).dtype == np.uint8
    assert to_numpy(images) is images


def test_ahead_keeps_the_order_and_yields_what_failed():
    def work(item):
        if item % 3 == 0:
            raise AtrousError(f"{item} is broken")
        return item * 10

    found = list(ahead(range(8), work, count=2))
    assert [item for item, _ in found] == list(range(8))
    assert [str(result) for _, result in found] == [
        f"{item} is broken" if item % 3 == 0 else str(item * 10) for item in range(8)
    ]
    with pytest.raises(ZeroDivisionError, match="division by zero"):
        list(ahead([1, 0], lambda item: 1 / item))
    assert list(ahead([], work)) == []


def test_files_that_are_written(tmp_path):
    sample = Sample(image=np.zeros((4, 6, 3), np.uint8))
    scores = np.random.default_rng(0).random((2, 4, 6), np.float32)
    prediction = Prediction(labels=np.eye(4, 6, dtype=np.uint8), space=SPACE, probabilities=scores)
    paths = write_prediction(tmp_path, "b/c", prediction, sample, save=("masks", "overlays", "probabilities"))
    written = sorted(path for path in tmp_path.rglob("*") if path.is_file())
    assert [path.relative_to(tmp_path).as_posix() for path in written] == [
        "masks/b/c.png",
        "overlays/b/c.jpg",
        "probabilities/b/c.npz",
    ]
    assert sorted(paths) == written
    with Image.open(written[0]) as mask:
        assert mask.mode == "P"
        np.testing.assert_array_equal(np.array(mask), prediction.labels)
        assert mask.getpalette()[:6] == [0, 0, 90, 200, 200, 0]
    with np.load(written[2], allow_pickle=False) as stored:
        np.testing.assert_array_equal(stored["probabilities"], scores.astype(np.float16))
        assert stored["names"].tolist() == ["dark", "light"]


def test_a_full_disk_leaves_no_half_file(tmp_path, monkeypatch):
    def full(file, **arrays):
        file.write(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(np, "savez_compressed", full)
    prediction = Prediction(
        labels=np.zeros((2, 2), np.uint8), space=SPACE, probabilities=np.zeros((2, 2, 2), np.float32)
    )
    with pytest.raises(AtrousError, match=r"a.npz: could not be written \(No space left on device\)"):
        write_prediction(tmp_path, "a", prediction, Sample(image=np.zeros((2, 2, 3))), save=("probabilities",))
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
