"""A dataset stays what it is in every format: the same splits, classes and labels, read back without being told."""

import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from atrous.contract import IGNORE, AtrousError, LabelSpace
from atrous.data import Dataset, Pair, open_dataset, read_sample, write_image
from atrous.data.conversion import FORMATS, Converted, convert
from atrous.data.conversion.placing import places

RASTERS = [name for name in FORMATS if name in ("masks", "voc", "cvat", "coco", "coco-polygons", "yolo")]
MIXED = ("masks", "voc", "cvat")
"""The formats that tell an image without mask from one of background in a split where others have one."""

SIZES = ((1, 1), (1, 7), (9, 1), (13, 21), (40, 33), (5, 6))
NAMES = ("with spaces", "한국어", "🙂", "city/deep/x", "a.b.c", "a, b")


def labels_of(size, classes, seed, ignore=True):
    random = np.random.default_rng(seed)
    coarse = random.integers(0, classes, (size[0] // 4 + 1, size[1] // 4 + 1)).astype(np.uint8)
    labels = coarse.repeat(4, 0).repeat(4, 1)[: size[0], : size[1]]
    if ignore:
        labels[random.random(size) < 0.1] = IGNORE
    return labels


def index_set(root, *, classes=4, names=None, ignore=True, masked_test=True):
    """Make images/{split} and masks/{split} with an index mask each, but for one image of test, or all of them."""
    for number, (name, size) in enumerate(zip(NAMES, SIZES, strict=True)):
        split = ("train", "val", "test")[number % 3]
        image = np.random.default_rng(number).integers(0, 256, (*size, 3)).astype(np.uint8)
        write_image(root / "images" / split / f"{name}.png", image)
        if masked_test or split != "test":
            write_image(root / "masks" / split / f"{name}.png", labels_of(size, classes, number, ignore))
    write_image(root / "images" / "test" / "bare.png", np.zeros((3, 4), np.uint8))
    names = names or [f"thing {index}" for index in range(classes)]
    (root / "classes.json").write_text(json.dumps({"names": names, "values": list(range(classes)), "ignore": IGNORE}))
    return open_dataset(root)


def keyed(dataset):
    """Return the pairs by split and by the name that flat formats give them, in small letters."""
    return {(place.split, place.name.lower()): place.pair for place in places(dataset, flat=True)}


def assert_same(old, new, *, but_ignore=None):
    """Compare splits, names and every label and pixel; `but_ignore` is what ignored pixels may have become."""
    assert new.space.names == old.space.names
    assert {split for split, pairs in new.splits.items() if pairs} == {
        split for split, pairs in old.splits.items() if pairs
    }
    first, second = keyed(old), keyed(new)
    assert first.keys() == second.keys()
    for key, pair in first.items():
        before, after = read_sample(pair, old.space), read_sample(second[key], new.space)
        assert before.image.dtype == after.image.dtype, key
        assert np.array_equal(before.image, after.image), key
        assert (before.labels is None) == (after.labels is None), key
        if before.labels is not None:
            wanted = before.labels
            if but_ignore is not None:
                wanted = np.where(wanted == IGNORE, but_ignore, wanted)
            assert np.array_equal(wanted, after.labels), key


@pytest.mark.parametrize("to", RASTERS)
def test_index_masks_of_all_names_and_sizes(tmp_path, to):
    old = index_set(tmp_path / "old", masked_test=to in MIXED)
    before = {path: path.read_bytes() for path in (tmp_path / "old").rglob("*") if path.is_file()}
    told = []
    made = convert(old, tmp_path / "new", to=to, progress=lambda done, total: told.append((done, total)))
    assert (made.format, made.images, told[-1]) == (to, 7, (7, 7))
    assert made.files == sum(path.is_file() for path in (tmp_path / "new").rglob("*"))
    assert_same(old, open_dataset(tmp_path / "new"))
    assert before == {path: path.read_bytes() for path in (tmp_path / "old").rglob("*") if path.is_file()}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new", "old"]


@pytest.mark.parametrize("to", RASTERS)
@pytest.mark.parametrize("first", ["thing", "background"])
def test_ignored_pixels(tmp_path, to, first):
    old = index_set(tmp_path / "old", classes=3, names=[first, "a b", "한국어"], masked_test=to in MIXED)
    made = convert(old, tmp_path / "new", to=to)
    lost = to == "yolo" and first == "background"
    assert_same(old, open_dataset(tmp_path / "new"), but_ignore=0 if lost else None)
    said = [note for note in made.notes if "ignored pixels in" in note]
    assert len(said) == (to not in ("masks", "voc"))
    assert lost == any("YOLO cannot tell them from background, which they became" in note for note in said)


@pytest.mark.parametrize("to", RASTERS)
def test_zero_and_255(tmp_path, to):
    for name in "ab":
        write_image(tmp_path / "old" / "images" / f"{name}.png", np.arange(48, dtype=np.uint8).reshape(6, 8))
        write_image(tmp_path / "old" / "masks" / f"{name}.png", np.tri(6, 8, dtype=np.uint8) * np.uint8(255))
    old = open_dataset(tmp_path / "old")
    assert old.space.values == (0, 255)
    made = convert(old, tmp_path / "new", to=to)
    assert_same(old, open_dataset(tmp_path / "new"))
    assert made.notes[0] == "the source has no split: one in five is val, by a hash of the name"


@pytest.mark.parametrize("to", RASTERS)
def test_colour_masks(tmp_path, to):
    colours = np.array([(0, 0, 0), (0, 255, 0), (255, 0, 0)], np.uint8)
    for split in ("train", "val"):
        write_image(tmp_path / "old" / split / "images" / "a.png", np.zeros((9, 8, 3), np.uint8))
        labels = labels_of((9, 8), 3, 5, ignore=False)
        labels[0, :3] = 0, 1, 2
        write_image(tmp_path / "old" / split / "masks" / "a.png", colours[labels])
    old = open_dataset(tmp_path / "old")
    assert old.space.encoding == "colours"
    convert(old, tmp_path / "new", to=to)
    assert_same(old, open_dataset(tmp_path / "new"))


@pytest.mark.parametrize("to", RASTERS)
def test_images_of_other_depths_and_channels(tmp_path, to):
    random = np.random.default_rng(0)
    images = {
        "deep.png": random.integers(0, 65536, (6, 5)).astype(np.uint16),
        "deep_colour.png": random.integers(0, 65536, (6, 5, 3)).astype(np.uint16),
        "floats.tif": random.random((6, 5)).astype(np.float32),
        "seven.tif": random.integers(0, 65536, (6, 5, 7)).astype(np.uint16),
        "grey.pgm": random.integers(0, 256, (6, 5)).astype(np.uint8),
        "grey.bmp.gif": random.integers(0, 256, (6, 5)).astype(np.uint8),
    }
    for name, image in images.items():
        write_image(tmp_path / "old" / "images" / name, image)
        write_image(tmp_path / "old" / "masks" / f"{name.rsplit('.', 1)[0]}.png", labels_of((6, 5), 2, 1, ignore=False))
    old = open_dataset(tmp_path / "old", classes=("background", "foreground"))
    convert(old, tmp_path / "new", to=to)
    assert_same(old, open_dataset(tmp_path / "new"))


@pytest.mark.parametrize("to", RASTERS)
@pytest.mark.parametrize("size", [(12, 20), (16, 16)])
@pytest.mark.parametrize("orientation", [3, 6])
def test_images_that_exif_turns(tmp_path, to, size, orientation):
    exif = Image.Exif()
    exif[274] = orientation
    stored = np.random.default_rng(1).integers(0, 256, (*size, 3)).astype(np.uint8)
    for split in ("train", "val"):
        folder = tmp_path / "old" / split
        (folder / "images").mkdir(parents=True)
        Image.fromarray(stored).save(folder / "images" / "a.jpg", exif=exif)
        seen = size[::-1] if orientation == 6 else size
        # One mask lies as the image is seen, the other, where sizes tell, as the sensor did.
        lying = seen if split == "train" else size
        write_image(folder / "masks" / "a.png", labels_of(lying, 2, 3, ignore=False))
    old = open_dataset(tmp_path / "old", classes=("background", "foreground"))
    made = convert(old, tmp_path / "new", to=to)
    assert_same(old, open_dataset(tmp_path / "new"))
    assert any(note.startswith("2 images turned by EXIF, copied byte by byte") for note in made.notes)
    copied = next(path for path in (tmp_path / "new").rglob("*.jpg"))
    assert copied.read_bytes() == (tmp_path / "old" / "train" / "images" / "a.jpg").read_bytes()


@dataclass(frozen=True)
class Slice:
    """A part whose pixels hang on its number alone."""

    path: Path
    number: int
    labels: bool = False

    def read(self):
        random = np.random.default_rng(self.number)
        if self.labels:
            return labels_of((7, 9), 3, self.number, ignore=False)
        return random.integers(-1000, 1000, (7, 9, 1)).astype(np.int16)


@pytest.mark.parametrize("to", RASTERS)
def test_parts_are_written_from_their_pixels(tmp_path, to):
    path = tmp_path / "old" / "volume.nii.gz"
    pairs = tuple(
        Pair(f"imagesTr/volume/{n:03}", Slice(path, n), Slice(path, n, labels=True), group="volume") for n in range(4)
    )
    space = LabelSpace(names=("background", "liver", "spleen"))
    old = Dataset(tmp_path / "old", "made", {"train": pairs[:3], "val": pairs[3:]}, space, made_split=False)
    convert(old, tmp_path / "new", to=to)
    assert_same(old, open_dataset(tmp_path / "new"))
    assert len(list((tmp_path / "new").rglob("*.tif"))) == 4


def test_names_that_collide_stay_apart(tmp_path):
    for number in range(7):
        write_image(tmp_path / "old" / "elsewhere" / f"{number}.png", np.full((2, 2), number, np.uint8))
    files = sorted((tmp_path / "old" / "elsewhere").iterdir())
    names = ("images/city/a", "city_a", "CITY_A", "other/a", "z/.hidden", "x.png", "tail ")
    pairs = tuple(Pair(name, path, path) for name, path in zip(names, files, strict=True))
    space = LabelSpace(names=tuple("abcdefg"))
    old = Dataset(tmp_path / "old", "made", {"train": pairs[:5], "val": pairs[5:]}, space, made_split=False)
    assert [place.name for place in places(old, flat=True)] == [
        "city_a", "city_a-2", "CITY_A-3", "other_a", "z__hidden", "x.png_", "tail_",
    ]  # fmt: skip
    assert [place.name for place in places(old)] == [
        "city/a", "city_a", "CITY_A-2", "other/a", "z/_hidden", "x.png", "tail ",
    ]  # fmt: skip
    for to in RASTERS:
        convert(old, tmp_path / to, to=to)
        new = open_dataset(tmp_path / to)
        assert {name: len(pairs) for name, pairs in new.splits.items()} == {"train": 5, "val": 2}
        for place in places(new):
            sample = read_sample(place.pair, new.space)
            assert (sample.labels == sample.image[..., 0]).all()


def test_images_without_mask_are_left_out_aloud(tmp_path):
    old = index_set(tmp_path / "old")
    alone = replace(old.splits["train"][0], mask=None)
    dataset = replace(old, splits={**old.splits, "train": (alone, *old.splits["train"][1:])})
    made = convert(dataset, tmp_path / "new", to="masks")
    assert made.notes == (f"1 image of train without a mask left out, first {alone.name}",)
    assert len(open_dataset(tmp_path / "new").splits["train"]) == len(old.splits["train"]) - 1


def test_unlabelled_among_labelled_images_are_told_of(tmp_path):
    made = convert(index_set(tmp_path / "old", ignore=False), tmp_path / "new", to="yolo")
    fate = "YOLO takes an image without text for one without objects"
    assert made.notes == (f"1 image without a mask beside others with one, first bare: {fate}",)


def test_unlabelled_among_labelled_images_survive_coco(tmp_path):
    made = convert(index_set(tmp_path / "old", ignore=False), tmp_path / "new", to="coco")
    assert made.notes == ()
    masks = {pair.name: pair.mask is not None for pair in open_dataset(tmp_path / "new").splits["test"]}
    assert masks.pop("images/test/bare") is False
    assert masks
    assert all(masks.values())


def test_what_is_refused(tmp_path):
    old = index_set(tmp_path / "old")
    with pytest.raises(ValueError, match=r"format 'pascal' came; there are masks, voc, cvat, coco"):
        convert(old, tmp_path / "new", to="pascal")
    for out in (tmp_path / "old", tmp_path / "old" / "new", tmp_path / "x" / ".." / "old"):
        with pytest.raises(ValueError, match=r"this is in the source, .*old, which stays as it is. Name a folder else"):
            convert(old, out, to="masks")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "a.txt").write_text("mine")
    with pytest.raises(ValueError, match=r"full: the folder is not empty, and nothing is overwritten. Name a new"):
        convert(old, tmp_path / "full", to="masks")
    with pytest.raises(ValueError, match=r"a.txt: this is a file, and a new folder is wanted"):
        convert(old, tmp_path / "full" / "a.txt", to="masks")
    with pytest.raises(ValueError, match=r"values came with 'voc'; only masks can hold the numbers of the source"):
        convert(old, tmp_path / "new", to="voc", values=True)
    with pytest.raises(ValueError, match=r"the dataset has no images. Nothing was written"):
        convert(replace(old, splits={"train": ()}), tmp_path / "new", to="masks")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["full", "old"]
    (tmp_path / "empty").mkdir()
    convert(old, tmp_path / "empty", to="masks")
    assert open_dataset(tmp_path / "empty").layout == "folders"


def test_a_failure_leaves_nothing_and_says_how_far_it_came(tmp_path):
    old = index_set(tmp_path / "old")
    broken = old.splits["test"][0].image
    broken.write_bytes(broken.read_bytes()[:60])
    with pytest.raises(AtrousError, match=r"truncated or damaged.* [0-6] of 7 images were done; .*new was not made\."):
        convert(old, tmp_path / "new", to="masks")
    assert [path.name for path in tmp_path.iterdir()] == ["old"]


def test_an_error_keeps_its_kind(tmp_path):
    old = index_set(tmp_path / "old")
    write_image(old.splits["train"][0].mask, np.zeros((50, 50), np.uint8))
    with pytest.raises(AtrousError, match=r"the mask is 50 x 50") as error:
        convert(old, tmp_path / "new", to="coco")
    assert error.value.kind == "size-differs"


def test_an_interrupt_leaves_nothing(tmp_path):
    def stop(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        convert(index_set(tmp_path / "old"), tmp_path / "new", to="masks", progress=stop)
    assert [path.name for path in tmp_path.iterdir()] == ["old"]


def test_what_is_said_of_it():
    made = Converted("coco", Path("새 폴더"), 1234, 1000, ("a note",))
    assert made.as_text() == "새 폴더: 1,000 images as coco, 1,234 files\n  a note"
    assert made.as_json() == {
        "format": "coco", "out": "새 폴더", "files": 1234, "images": 1000, "notes": ["a note"],
    }  # fmt: skip


@pytest.mark.parametrize("to", RASTERS)
@pytest.mark.parametrize(("folder", "step"), [("voc2012_animals", 60), ("cwfid", 20), ("camvid11", 100)])
def test_real_data(data_dir, tmp_path, to, folder, step):
    whole = open_dataset(data_dir / folder)
    old = replace(whole, splits={split: pairs[::step] for split, pairs in whole.splits.items()})
    convert(old, tmp_path / "new", to=to)
    assert_same(
        old,
        open_dataset(tmp_path / "new"),
        but_ignore=0 if to == "yolo" and whole.space.names[0] == "background" else None,
    )
