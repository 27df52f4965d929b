"""A corrected copy holds what the data should have held, says what was done, and leaves the data as they are."""

import hashlib
import re

import numpy as np
import pytest
from PIL import Image

from atrous import inspect
from atrous.data import open_dataset, read_sample
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
    assert found.fixed.done == ("label-outside (1): such pixels made ignore",)
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
    assert (colours_back == original).all(axis=2).mean() > 0.93


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
    (broken / "images" / "val" / "0000.png").write_bytes(image_of(broken, 1).read_bytes())
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
