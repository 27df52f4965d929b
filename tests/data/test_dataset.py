"""Classes worked out from masks, masks decoded, samples read; and words for masks that hold no classes."""

import json

import numpy as np
import pytest
from PIL import Image

from atrous.contract import AtrousError, LabelSpace
from atrous.data import Pair, decode, fingerprint, open_dataset, read_sample
from atrous.data.dataset import dataset_in
from atrous.data.found import Found
from atrous.data.pairs import Matched
from atrous.data.wishes import Wishes


def make(root, masks, *, image=None):
    for index, mask in enumerate(masks):
        picture = np.full((*mask.shape[:2], 3), index, np.uint8) if image is None else image
        for kind, array in (("images", picture), ("masks", mask)):
            (root / kind).mkdir(parents=True, exist_ok=True)
            Image.fromarray(array).save(root / kind / f"{index}.png")
    return root


def grey(*values):
    return np.array([values], np.uint8)


@pytest.mark.parametrize(
    ("masks", "values", "ignore", "names"),
    [
        ([grey(0, 255), grey(0, 0)], (0, 255), None, ("background", "foreground")),
        ([grey(0, 1, 255), grey(0, 0, 0)], (0, 1), 255, ("class 0", "class 1")),
        ([grey(0, 3), grey(1, 1)], (0, 1, 2, 3), 255, ("class 0", "class 1", "class 2", "class 3")),
        ([grey(0, 128, 254), grey(0, 0, 0)], (0, 128, 254), 255, ("class 0", "class 128", "class 254")),
        ([grey(0, 1), grey(0, 0)], (0, 1), 255, ("class 0", "class 1")),
    ],
)
def test_classes_from_grey(tmp_path, masks, values, ignore, names):
    space = open_dataset(make(tmp_path, masks)).space
    assert (space.values, space.ignore, space.names) == (values, ignore, names)


def test_given_names_and_ignore(tmp_path):
    root = make(tmp_path, [grey(0, 1, 2), grey(0, 0, 0)])
    assert open_dataset(root, classes=["a", "b", "c", "d"]).space.names == ("a", "b", "c", "d")
    space = open_dataset(root, classes=["b", "c"], ignore=0).space
    assert (space.values, space.ignore) == ((1, 2), 0)
    with pytest.raises(
        AtrousError,
        match=r"masks/0.png: label 2 is outside 0..1 and is not the ignore value 255. 1 pixel has it. Is this a colour",
    ):
        open_dataset(root, classes=["a", "b"])
    with pytest.raises(TypeError, match="a sequence of names is wanted"):
        open_dataset(root, classes="road")
    with pytest.raises(ValueError, match="indices, colours and instances are possible"):
        open_dataset(root, labels="colors")


def test_colours(tmp_path):
    mask = np.array([[[0, 0, 0], [0, 255, 0], [255, 0, 0]]], np.uint8)
    root = make(tmp_path, [mask, np.zeros((1, 3, 3), np.uint8)])
    dataset = open_dataset(root, classes=["soil", "crop", "weed"])
    assert dataset.space.values == ((0, 0, 0), (0, 255, 0), (255, 0, 0))
    pairs = sorted((pair for pairs in dataset.splits.values() for pair in pairs), key=lambda pair: pair.name)
    assert [read_sample(pair, dataset.space).labels.tolist() for pair in pairs] == [[[0, 1, 2]], [[0, 0, 0]]]
    assert open_dataset(root, ignore=(0, 0, 0)).space.names == ("class 0", "class 1")
    with pytest.raises(AtrousError, match=r"2 classes were given and the masks hold 3 colours: \(0,0,0\)"):
        open_dataset(root, classes=["a", "b"])
    with pytest.raises(AtrousError, match=r"0.png: colours came, and indices were asked for. Try --labels colours"):
        open_dataset(root, labels="indices")
    with pytest.raises(AtrousError, match=r"colour \(0, 255, 0\) is none of the 2 classes and not ignore. 1 pixels"):
        decode(mask, LabelSpace(names=("a", "b"), values=((0, 0, 0), (255, 0, 0)), encoding="colours"), root)


def test_palette_read_as_colours(tmp_path):
    root = make(tmp_path, [grey(0, 1), grey(0, 0)])
    image = Image.fromarray(grey(0, 1))
    image.putpalette([0, 0, 0, 200, 100, 50])
    image.save(root / "masks" / "0.png")
    assert open_dataset(root, labels="colours").space.values == ((0, 0, 0), (200, 100, 50))


def test_smoothed_colours_and_soft_masks_are_refused(tmp_path):
    smooth = np.random.default_rng(0).integers(0, 255, (20, 20, 3), dtype=np.uint8)
    with pytest.raises(AtrousError, match=r"the masks hold 400 colours, .* smoothed or saved with loss"):
        open_dataset(make(tmp_path / "colours", [smooth]))
    ramp = np.tile(np.arange(256, dtype=np.uint8), (4, 1))
    with pytest.raises(AtrousError, match=r"the masks hold 256 grey levels between 0 and 255, as a smoothed or soft"):
        open_dataset(make(tmp_path / "ramp", [ramp]))
    edge = np.repeat(grey(0, 64, 128, 191, 255), [100, 1, 1, 1, 100], axis=1)
    with pytest.raises(AtrousError, match=r"the masks hold 5 grey levels"):
        open_dataset(make(tmp_path / "edge", [edge]))


def test_numbers_of_objects_are_told_from_classes(tmp_path, caplog):
    masks = [np.arange(count, dtype=np.uint8)[None] for count in (30, 25, 3)]
    dataset = open_dataset(make(tmp_path / "cells", masks))
    assert (dataset.space.names, dataset.space.encoding) == (("background", "object"), "instances")
    assert "with --labels indices, numbers are classes" in caplog.text
    named = open_dataset(tmp_path / "cells", classes=["medium", "cell"])
    assert (named.space.names, named.space.encoding) == (("medium", "cell"), "instances")
    same = [np.arange(30, dtype=np.uint8)[None] for _ in range(3)]
    assert open_dataset(make(tmp_path / "classes", same)).space.encoding == "indices"


def test_object_numbers_want_to_be_named(tmp_path):
    masks = [np.arange(count, dtype=np.uint8)[None] for count in (30, 40)]
    root = make(tmp_path / "a", masks)
    with pytest.raises(AtrousError, match=r"numbers that run from 1 to 39 .* Try --labels instances"):
        open_dataset(root)
    wide = make(tmp_path / "b", [np.array([[0, 7, 3000]], np.uint16)])
    with pytest.raises(AtrousError, match=r"values from 0 to 3,000; classes are 0..254. .*--labels instances"):
        open_dataset(wide)
    dataset = open_dataset(wide, labels="instances")
    assert dataset.space.names == ("background", "object")
    sample = read_sample(dataset.splits["train"][0], dataset.space)
    assert sample.labels.tolist() == [[0, 1, 1]]
    assert sample.instances.tolist() == [[0, 7, 3000]]
    with pytest.raises(AtrousError, match="object numbers tell two apart"):
        open_dataset(wide, labels="instances", classes=["a", "b", "c"])


def test_classes_file(tmp_path):
    root = make(tmp_path, [grey(0, 7, 9), grey(0, 0, 0)])
    path = root / "classes.json"
    path.write_text(json.dumps({"names": ["a", "b"], "values": [0, 7], "colours": [[1, 2, 3], [4, 5, 6]], "ignore": 9}))
    space = open_dataset(root).space
    assert (space.names, space.values, space.ignore) == (("a", "b"), (0, 7), 9)
    assert space.colours == ((1, 2, 3), (4, 5, 6))
    for text, words in [
        ("{", "this is not JSON"),
        ("[]", "a list of names is missing"),
        ('{"names": ["a"], "color": 1}', "the field 'color' is not known"),
        ('{"names": ["a"], "labels": "rgb"}', "labels 'rgb' came"),
        ('{"names": ["a", "a"], "values": [0, 1]}', "names repeat 'a'"),
    ]:
        path.write_text(text)
        with pytest.raises(AtrousError, match=words):
            open_dataset(root)


def test_stored_split_is_kept_exactly(tmp_path):
    root = make(tmp_path, [grey(0, 1)] * 5)
    stored = {"train": ["images/4", "images/0"], "val": ["images/2"]}
    dataset = open_dataset(root, split=stored)
    assert {name: [pair.name for pair in pairs] for name, pairs in dataset.splits.items()} == stored
    with pytest.raises(AtrousError, match=r"2 of the names in the stored split are not there, first images/8"):
        open_dataset(root, split={"train": ["images/8", "images/9"]})


def test_given_space_asks_nothing_of_the_masks(tmp_path):
    root = make(tmp_path, [grey(0, 1), grey(0, 0)])
    (root / "masks" / "0.png").write_bytes(b"broken")
    space = LabelSpace(names=("a", "b"))
    assert open_dataset(root, space=space).space is space
    with pytest.raises(AtrousError, match=r"0.png: this is not an image"):
        open_dataset(root)


def test_progress_is_told(tmp_path):
    told = []
    open_dataset(make(tmp_path, [grey(0, 1)] * 4), progress=lambda done, total: told.append((done, total)))
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_decode_refuses_labels_outside(tmp_path):
    space = LabelSpace(names=tuple("abcdefghijklmnopqrstu"))
    mask = np.zeros((40, 40), np.uint8)
    mask.flat[:1204] = 22
    words = r"^masks/0007.png: label 22 is outside 0..20 and is not the ignore value 255. 1,204 pixels have it. Is this"
    for dtype in (np.uint8, np.uint16, np.int32):
        with pytest.raises(AtrousError, match=words):
            decode(mask.astype(dtype), space, "masks/0007.png")
    with pytest.raises(AtrousError, match="a colour mask came, and the classes are indices"):
        decode(np.zeros((2, 2, 3), np.uint8), space, "m.png")
    huge = LabelSpace(names=("a", "b"), values=(100000, 7), ignore=-1)
    assert decode(np.array([[7, 100000, -1]], np.int32), huge, "m.png").tolist() == [[1, 0, 255]]


def test_sizes_that_differ_name_both_files(tmp_path):
    root = make(tmp_path, [grey(0, 1)], image=np.zeros((5, 6, 3), np.uint8))
    pair = Pair("0", root / "images" / "0.png", root / "masks" / "0.png")
    with pytest.raises(AtrousError, match=r"masks/0.png: the mask is 1 x 2 .* image .*images/0.png is 5 x 6. Make"):
        read_sample(pair, LabelSpace(names=("a", "b")))


def test_a_mask_without_exif_is_turned_like_its_image(tmp_path):
    labels = np.arange(15, dtype=np.uint8).reshape(3, 5)
    exif = Image.Exif()
    exif[274] = 6
    Image.fromarray(labels).save(tmp_path / "image.png", exif=exif)
    Image.fromarray(labels).save(tmp_path / "raw.png")
    Image.fromarray(labels).save(tmp_path / "own.png", exif=exif)
    Image.fromarray(np.rot90(labels, -1).copy()).save(tmp_path / "seen.png")
    space = LabelSpace(names=tuple(str(index) for index in range(15)))
    for name in ("raw.png", "own.png", "seen.png"):
        sample = read_sample(Pair("a", tmp_path / "image.png", tmp_path / name), space)
        np.testing.assert_array_equal(sample.labels, sample.image[..., 0])


def test_fingerprint(tmp_path):
    deep = np.arange(0, 60000, 1000, dtype=np.uint16)[None]
    root = make(tmp_path, [np.arange(60, dtype=np.uint8)[None] % 3] * 3, image=deep)
    dataset = open_dataset(root)
    told = json.loads(json.dumps(fingerprint(dataset)))
    assert told["sizes"] == {"minimum": [1, 60], "median": [1, 60], "maximum": [1, 60]}
    assert (told["channels"], told["dtypes"]) == ([1], ["uint16"])
    every, learnt = {"pixels": 60, "images": 3, "share": 1 / 3}, {"learnt": 40, "among": 120}  # 2 of 3 are to train on
    assert told["classes"][1] == {"name": "class 1", **every, **learnt}
    np.testing.assert_allclose([told["mean"][0], told["std"][0]], [deep.mean(), deep.std()])
    values = np.concatenate([deep[0]] * len(dataset.splits["train"]))
    np.testing.assert_allclose([told["low"], told["high"]], np.percentile(values, (0.5, 99.5)))
    assert told["sha256"] == fingerprint(dataset, limit=1)["sha256"]
    assert fingerprint(dataset, limit=1)["classes"][0]["images"] == 2


def test_two_pairs_of_one_name_are_refused(tmp_path):
    root = make(tmp_path, [grey(0, 1), grey(0, 0)])
    pairs = tuple(Pair("a", root / "images" / f"{name}.png", root / "masks" / f"{name}.png") for name in "01")
    found = Found({"train": Matched(pairs)}, layout="folders", root=root)
    with pytest.raises(AtrousError, match=r"the name 'a' is that of two pairs, .*0.png and .*1.png. Rename") as caught:
        dataset_in(found, Wishes())
    assert caught.value.kind == "name-twice"


def test_a_folder_says_that_it_is_not_to_be_divided(tmp_path):
    root = make(tmp_path / "whole", [np.eye(3, dtype=np.uint8)] * 4)
    assert open_dataset(root).made_split
    (root / "classes.json").write_text('{"names": ["off", "on"], "divide": false}', "utf-8")
    dataset = open_dataset(root)
    assert ({split: len(pairs) for split, pairs in dataset.splits.items()}, dataset.made_split) == ({"train": 4}, False)
    (root / "classes.json").write_text('{"names": ["off", "on"], "divide": 1}', "utf-8")
    with pytest.raises(AtrousError, match=r"classes.json: divide 1 came; true or false is accepted"):
        open_dataset(root)


def test_a_stray_value_in_one_mask_of_many_makes_no_classes(tmp_path):
    masks = [np.repeat(np.arange(4, dtype=np.uint8)[None], 4, axis=0) for _ in range(11)]
    masks[3] = masks[3].copy()
    masks[3][0, 0] = 37
    root = make(tmp_path / "stray", masks)
    dataset = open_dataset(root)
    assert len(dataset.space) == 4
    with pytest.raises(AtrousError, match=r"label 37 is outside 0..3 and is not the ignore value 255. 1 pixel has it"):
        [read_sample(pair, dataset.space) for pairs in dataset.splits.values() for pair in pairs]
    masks[5] = masks[3]
    assert len(open_dataset(make(tmp_path / "two", masks)).space) == 38
