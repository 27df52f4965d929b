"""A corrected copy holds what the data should have held, says what was done, and leaves the data as they are."""

import hashlib
import re

import numpy as np
import pytest
from PIL import Image

from atrous import inspect
from atrous.contract import LabelSpace
from atrous.data import open_dataset, read_sample
from atrous.data.diagnosis import mending
from atrous.data.scenes import write_scenes


def healthy(root):
    write_scenes(root, train=8, val=3, size=(96, 96), seed=3)
    return root


@pytest.fixture
def broken(tmp_path):
    return healthy(tmp_path / "broken")


@pytest.fixture(scope="session")
def truth(tmp_path_factory):
    """The labels of the healthy set, by the image's name."""
    return labels_in(healthy(tmp_path_factory.mktemp("truth") / "healthy"))


def labels_in(root):
    dataset = open_dataset(root)
    pairs = [pair for pairs in dataset.splits.values() for pair in pairs]
    return {pair.name: read_sample(pair, dataset.space).labels for pair in pairs}


def mask_of(root, index):
    return root / "masks" / "train" / f"{index:04d}.png"


def image_of(root, index):
    return root / "images" / "train" / f"{index:04d}.png"


def change(path, function):
    array = function(np.array(Image.open(path)))
    Image.fromarray(np.ascontiguousarray(array)).save(path)


def hashes(root):
    return {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in root.rglob("*") if path.is_file()}


def fixed(root, **options):
    before = hashes(root)
    found = inspect(root, fix=root.parent / "fixed", **options)
    assert hashes(root) == before
    return found


def agreement(root, truth, name="images/train/0001"):
    return float((labels_in(root.parent / "fixed")[name] == truth[name]).mean())


def kinds(found):
    return {finding.kind for finding in found.findings}


def test_labels_outside_become_ignore(broken, truth):
    change(mask_of(broken, 1), lambda mask: np.concatenate([np.full_like(mask[:5], 99), mask[5:]]))
    found = fixed(broken, classes=("sky", "building", "road", "pavement", "tree", "car", "pedestrian", "pole"))
    assert found.fixed.done == ("label-outside (1): such pixels made ignore; a mask of nothing else left out",)
    labels = labels_in(broken.parent / "fixed")["images/train/0001"]
    assert (labels[:5] == 255).all()
    np.testing.assert_array_equal(labels[5:], truth["images/train/0001"][5:])


def test_a_smaller_mask_is_enlarged(broken, truth):
    change(mask_of(broken, 1), lambda mask: mask[::2, ::2])
    assert fixed(broken).fixed.done[0].startswith("size-differs (1): the mask resized with nearest neighbour")
    assert agreement(broken, truth) > 0.95


def test_a_mask_of_other_proportions_is_left_out(broken):
    change(mask_of(broken, 1), lambda mask: mask[:50])
    assert fixed(broken).fixed.images == 10
    assert "images/train/0001" not in labels_in(broken.parent / "fixed")


def test_a_jpeg_mask_gets_its_classes_back(broken, truth):
    mask = Image.open(mask_of(broken, 1)).convert("RGB")
    colours = {tuple(np.array(mask)[row, column]) for row in range(96) for column in range(96)}
    assert len(colours) > 2
    for path in (broken / "masks").rglob("*.png"):
        Image.open(path).convert("RGB").save(path)
    (broken / "classes.json").unlink()
    Image.open(mask_of(broken, 1)).save(mask_of(broken, 1).with_suffix(".jpg"), quality=90)
    mask_of(broken, 1).unlink()
    found = fixed(broken)
    assert "jpeg-mask" in kinds(found)
    repaired = open_dataset(broken.parent / "fixed")
    original = np.array(mask)
    (pair,) = (pair for pair in repaired.splits["train"] if pair.name == "images/train/0001")
    sample = read_sample(pair, repaired.space)
    colours_back = np.array([*repaired.space.colours], np.uint8)[sample.labels]
    assert (colours_back == original).all(axis=2).mean() > 0.96


def test_a_jpeg_of_other_levels_is_not_guessed(broken):
    Image.open(mask_of(broken, 1)).convert("L").save(mask_of(broken, 1).with_suffix(".jpg"), quality=95)
    mask_of(broken, 1).unlink()
    found = fixed(broken)
    assert found.fixed.left == (
        "jpeg-mask (1): their levels are not those of the classes; left out, with their images",
    )
    assert (found.fixed.images, found.fixed.done) == (10, ())


def test_soft_masks_are_rounded(tmp_path):
    root = tmp_path / "soft"
    rows, columns = np.mgrid[:64, :64]
    for index in range(6):
        inside = (rows - 30 - index) ** 2 + (columns - 30) ** 2 < (10 + index) ** 2
        image = (
            np.random.default_rng(index).integers(0, 90, (64, 64, 3)).astype(np.uint8)
            + np.uint8(90) * inside[..., None]
        )
        soft = Image.fromarray((255 * inside).astype(np.uint8)).resize((32, 32), 2).resize((64, 64), 2)
        for kind, picture in (("images", Image.fromarray(image)), ("masks", soft)):
            (root / kind).mkdir(parents=True, exist_ok=True)
            picture.save(root / kind / f"{index}.png")
    found = fixed(root)
    assert any(line.startswith("soft-mask (6): rounded at one half") for line in found.fixed.done)
    after = inspect(tmp_path / "fixed")
    assert not kinds(after) & {"soft-mask", "anti-aliased-mask", "classes-unknown"}
    assert [entry["name"] for entry in after.classes] == ["background", "foreground"]


def test_files_that_cannot_be_read_are_left_out(broken):
    image_of(broken, 1).write_bytes(image_of(broken, 1).read_bytes()[:200])
    mask_of(broken, 2).write_bytes(b"")
    found = fixed(broken)
    assert found.fixed.images == 9
    assert found.fixed.done == ("unreadable-file (2): left out, with what belongs to it",)
    assert not inspect(broken.parent / "fixed").findings


def test_copies_are_kept_once(broken):
    for kind in ("images", "masks"):
        (broken / kind / "val" / "0000.png").write_bytes((broken / kind / "train" / "0001.png").read_bytes())
    found = fixed(broken)
    assert "identical-files (2): the first of each taken" in found.fixed.done
    assert found.fixed.images == 10
    assert "identical-files" not in kinds(inspect(broken.parent / "fixed"))


def test_swapped_axes_are_turned_back(broken, truth, tmp_path):
    root = tmp_path / "wide"
    write_scenes(root, train=6, val=2, size=(96, 128), seed=3)
    wanted = labels_in(root)["images/train/0001"]
    change(mask_of(root, 1), lambda mask: mask.T)
    assert "axes-swapped (1): turned so that borders lie on edges" in fixed(root).fixed.done
    assert (labels_in(tmp_path / "fixed")["images/train/0001"] == wanted).mean() > 0.99


def test_a_way_that_nothing_tells_is_not_guessed(tmp_path):
    root = tmp_path / "flat"
    for index in range(6):
        mask = np.zeros((60, 90), np.uint8)
        mask[5:15, 10:30] = 1
        save(root, str(index), np.full((60, 90, 3), 100 + 20 * index, np.uint8), mask if index else np.rot90(mask))
    found = fixed(root)
    assert found.fixed.images == 5
    assert found.fixed.left == (
        "axes-swapped (1): no way of turning them lays borders on edges clearly best; left out, with their images",
    )


def save(root, name, image, mask, *, suffix=".png", **options):
    """Write an image and its mask, without a split."""
    for kind, array, end in (("images", image, ".png"), ("masks", mask, suffix)):
        (root / kind).mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.ascontiguousarray(array)).save(
            root / kind / f"{name}{end}", **(options if kind == "masks" else {})
        )


def lines(seed, values, *, size=128, width=2):
    """Return a mask of lines of two pixels, each in one of the values, on 0, with a disc of each value."""
    import cv2

    random, mask = np.random.default_rng(seed), np.zeros((size, size), np.uint8)
    for place in range(6):
        first, second = random.integers(0, size, (2, 2)).tolist()
        cv2.line(mask, first, second, values[place % len(values)], width)
    for place, value in enumerate(values):
        cv2.circle(mask, (20 + 40 * place, size - 24), 12, value, -1)
    return mask


def picture_of(mask, seed):
    """Return a noisy photo (h, w, 3) in which the parts of a mask have colours of their own."""
    colours = np.random.default_rng(5).integers(30, 220, (256, 3))
    noisy = colours[mask] + np.random.default_rng(seed).normal(0, 8, (*mask.shape, 3))
    return np.clip(noisy, 0, 255).astype(np.uint8)


def found_again(truth, got):
    """Return the share of the pixels of lines and discs that have their class again."""
    return float((got == truth)[truth > 0].mean())


def test_soft_lines_are_cut_at_one_half(tmp_path):
    import cv2

    root, soft = tmp_path / "soft", {}
    for index in range(6):
        mask = lines(index, [255])
        soft[str(index)] = cv2.GaussianBlur(mask, (0, 0), 0.8)
        save(root, str(index), picture_of(mask, index), soft[str(index)])
    assert fixed(root).fixed.done == ("soft-mask (6): rounded at one half",)
    for name, labels in labels_in(tmp_path / "fixed").items():
        np.testing.assert_array_equal(labels, soft[name.rsplit("/", 1)[-1]] >= 128)


@pytest.mark.parametrize("values", [[255], [60, 120, 180]])
def test_thin_lines_survive_jpeg(tmp_path, values):
    root, truth = tmp_path / "jpeg", {}
    for index in range(6):
        mask = lines(index, values)
        truth[str(index)] = np.searchsorted([0, *values], mask)
        save(root, str(index), picture_of(mask, index), mask)
        if index < 3:
            (root / "masks" / f"{index}.png").unlink()
            save(root, str(index), picture_of(mask, index), mask, suffix=".jpg", quality=95)
    assert fixed(root).fixed.left == ()
    for name, labels in labels_in(tmp_path / "fixed").items():
        assert found_again(truth[name.rsplit("/", 1)[-1]], labels) > 0.99


def test_thin_lines_survive_an_enlargement(tmp_path):
    import cv2

    root, truth = tmp_path / "enlarged", {}
    for index in range(8):
        mask = lines(index, [80, 200])
        large = cv2.resize(mask, (192, 192), interpolation=cv2.INTER_NEAREST)
        truth[str(index)] = np.searchsorted([0, 80, 200], large)
        smooth = cv2.resize(mask, (192, 192), interpolation=cv2.INTER_LINEAR)
        save(root, str(index), picture_of(large, index), smooth if index < 3 else large)
    found = fixed(root)
    assert found.fixed.done[0].startswith("anti-aliased-mask (3): each pixel of a border")
    labels = {name.rsplit("/", 1)[-1]: each for name, each in labels_in(tmp_path / "fixed").items()}
    for name in "012":
        assert found_again(truth[name][:120], labels[name][:120]) > 0.87  # lines alone; measured: 0.91, 0.93, 0.91
        assert (labels[name] == truth[name]).mean() > 0.96


def test_lines_too_thin_to_tell_are_ignored_and_said(tmp_path):
    import cv2

    root = tmp_path / "thin"
    for index in range(8):
        mask = np.zeros((192, 192), np.uint8)
        cv2.circle(mask, (60, 60), 30, 40, -1)
        cv2.circle(mask, (130, 120), 30, 120, -1)
        cv2.line(mask, (10, 180 - 3 * index), (180, 100), 200, 2)
        small = cv2.resize(mask, (96, 96), interpolation=cv2.INTER_AREA)
        smooth = cv2.resize(small, (192, 192), interpolation=cv2.INTER_LINEAR)
        save(root, str(index), picture_of(mask, index), smooth if index < 2 else mask)
    left = fixed(root).fixed.left
    assert "anti-aliased-mask (2): have parts too thin to tell their class, made ignore; look at the copy" in left
    labels = {name.rsplit("/", 1)[-1]: each for name, each in labels_in(tmp_path / "fixed").items()}
    assert (labels["0"] == 255).any()
    assert not (labels["5"] == 255).any()


def test_a_class_between_two_others_is_not_made_of_their_border():
    mask = np.repeat(np.uint8([[0] * 8 + [5, 9] + [14] * 8]), 12, axis=0)
    space = LabelSpace(names=("a", "b", "c", "d"), values=(0, 4, 9, 14))
    assert set(np.unique(mending.snapped(mask, space, lossy=False).labels)) == {0, 3}


@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
def test_masks_that_lie_as_the_sensor_did_are_kept(tmp_path, orientation):
    root = tmp_path / "turned"
    for index in range(5):
        mask = lines(index, [1, 2])[:90]
        save(root, str(index), picture_of(mask, index), mask)
        exif = Image.Exif()
        exif[274] = orientation
        path = root / "images" / f"{index}.png"
        Image.open(path).save(path.with_suffix(".jpg"), quality=95, exif=exif)
        path.unlink()
    before = labels_in(root)
    found = fixed(root)
    assert (found.findings, found.fixed.done, found.fixed.left) == ((), (), ())
    after = labels_in(tmp_path / "fixed")
    assert sorted(name.rsplit("/", 1)[-1] for name in after) == sorted(name.rsplit("/", 1)[-1] for name in before)
    for name, labels in after.items():
        np.testing.assert_array_equal(labels, before[f"images/{name.rsplit('/', 1)[-1]}"])


def test_object_numbers_are_lost_in_words(tmp_path):
    root = tmp_path / "cells"
    for index in range(4):
        save(root, str(index), picture_of(lines(index, [1]), index), lines(index, [1, 2, 3]))
    found = fixed(root, labels="instances")
    assert any("numbered objects: masks hold classes only" in note for note in found.fixed.notes)
    assert "  note: 12 numbered objects" in found.as_text()
    assert found.as_json()["fixed"]["notes"]


def test_equal_slices_of_a_volume_are_kept(tmp_path):
    nibabel = pytest.importorskip("nibabel")
    root = tmp_path / "volumes"
    for volume in range(3):
        image = np.random.default_rng(volume).integers(0, 1000, (32, 32, 6)).astype(np.int16)
        image[:, :, 3] = image[:, :, 2]
        mask = np.zeros(image.shape, np.uint8)
        mask[8:20, 8:20, :5] = 1
        for kind, array in (("images", image), ("labels", mask)):
            (root / kind).mkdir(parents=True, exist_ok=True)
            nibabel.save(nibabel.Nifti1Image(array, np.eye(4)), root / kind / f"v{volume}.nii.gz")
    found = fixed(root)
    assert (found.images, found.fixed.images, found.fixed.left) == (18, 18, ())


def test_one_image_with_two_masks_is_no_choice_of_ours(tmp_path):
    root = tmp_path / "twice"
    for index in range(6):
        mask = lines(index % 5, [1, 2])
        save(root, str(index), picture_of(mask, index % 5), mask if index < 5 else np.where(mask == 1, 2, mask))
    found = fixed(root)
    (finding,) = found.findings
    assert finding.kind == "identical-files"
    assert all(detail.endswith(", and their masks differ") for detail in finding.details)
    assert (found.fixed.images, found.fixed.done) == (6, ())
    assert found.fixed.left == ("identical-files (2): their masks differ, and only you know which is right; all kept",)


def test_two_names_are_black_and_white_in_jpegs(tmp_path):
    root = tmp_path / "jpegs"
    for index in range(5):
        mask = lines(index, [255])
        save(root, str(index), picture_of(mask, index), mask, suffix=".jpg", quality=95)
    found = fixed(root, classes=("ground", "line"))
    assert (found.fixed.images, found.fixed.left) == (5, ())
    assert open_dataset(tmp_path / "fixed").space.names == ("ground", "line")
    for name, labels in labels_in(tmp_path / "fixed").items():
        assert found_again(lines(int(name[-1]), [1]), labels) > 0.99
    with_three = inspect(root, fix=tmp_path / "again", classes=("ground", "line", "other"))
    assert "Say their values too, as `names` and `values` in a classes.json." in with_three.as_text()


def test_images_that_are_only_alike_are_kept(broken):
    train, val = image_of(broken, 1), broken / "images" / "val" / "0001.png"
    array = np.array(Image.open(train))
    strong = np.random.default_rng(0).normal(0, 21, array.shape)
    Image.fromarray(np.clip(array + strong, 0, 255).astype(np.uint8)).save(val)
    found = fixed(broken)
    assert "near-duplicate" in kinds(found)
    assert "near-duplicate (1): alike, and not surely copies; kept" in found.fixed.left
    assert found.fixed.images == 11
    Image.open(train).save(val.with_suffix(".jpg"), quality=90)
    val.unlink()
    again = inspect(broken, fix=broken.parent / "again").fixed
    assert again.done == ("near-duplicate (1): left out, those of train kept",)
    assert again.images == 10


def test_masks_of_the_rarer_encoding_are_left_out(tmp_path):
    root = tmp_path / "mixed"
    for index in range(12):
        mask = lines(index, [1])
        save(root, str(index), picture_of(mask, index), mask if index < 8 else mask * np.uint8(255))
    found = fixed(root)
    assert found.fixed.done == ("mixed-encodings (4): left out, with their images",)
    assert found.fixed.images == 8


def test_what_is_not_mended_is_said(broken):
    for path in (broken / "masks" / "train").glob("*.png"):
        change(path, lambda mask: np.where(mask == 5, 0, mask))
    found = fixed(broken)
    assert any(line.startswith("class-missing-in-train (1)") for line in found.fixed.left)
    assert "  not mended: class-missing-in-train (1)" in found.as_text()
    assert found.as_json()["fixed"]["images"] == 11


def test_refusals(broken, run):
    with pytest.raises(ValueError, match=r"the folder is not empty, and nothing is overwritten. Name a new folder."):
        inspect(broken, fix=broken.parent)
    (broken / "classes.json").unlink()
    for index, path in enumerate((broken / "masks").rglob("*.png")):
        Image.fromarray((np.arange(96 * 96).reshape(96, 96) // (150 + 20 * index) * 900).astype(np.uint16)).save(path)
    code, out, _ = run("inspect", broken, "--fix", broken.parent / "fixed")
    assert code == 1
    assert re.search(r"no corrected copy: the masks do not tell their classes \([a-z-]+.*\). Say them with", out)
    assert not (broken.parent / "fixed").exists()


def test_no_image_left(broken):
    for path in (broken / "images").rglob("*.png"):
        path.write_bytes(b"nothing")
    found = inspect(broken, fix=broken.parent / "fixed")
    assert found.as_text().endswith("no corrected copy: no image would be left once the broken ones are out")
