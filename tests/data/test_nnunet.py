"""nnU-Net and Decathlon folders: channels, classes of both versions, folds, and what is broken in them."""

import json
from itertools import chain
from unicodedata import normalize

import nibabel
import numpy as np
import pytest

from atrous.contract import AtrousError
from atrous.data import open_dataset, read_sample, write_image
from atrous.data.layouts import nnunet, recognise
from atrous.data.parts import Channels


def picture(root, *names, value=1):
    for name in names:
        write_image(root / name, np.eye(4, dtype=np.uint8) * value)


def volume(root, *names, shape=(4, 5, 6)):
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        array = np.zeros(shape, np.uint8)
        array[0] = 1
        nibabel.save(nibabel.Nifti1Image(array, np.diag((1, 1, 3, 1))), path)


def describe(root, **content):
    root.mkdir(parents=True, exist_ok=True)
    (root / "dataset.json").write_text(json.dumps(content), encoding="utf-8-sig")


def names(dataset):
    return {split: [pair.name for pair in pairs] for split, pairs in dataset.splits.items()}


def test_pictures_with_two_channels_and_a_test_set(tmp_path):
    picture(tmp_path, *(f"imagesTr/한 {case}_000{channel}.png" for case in "ab" for channel in range(2)))
    picture(tmp_path, "labelsTr/한 a.png", "labelsTr/한 b.png", "imagesTs/c_0000.png", "imagesTs/c_0001.png")
    describe(tmp_path, channel_names={"0": "red", "1": "infrared"}, labels={"background": 0, "leaf": 1}, numTraining=2)
    dataset = open_dataset(tmp_path)
    assert (dataset.layout, dataset.space.names, dataset.space.values) == ("nnunet", ("background", "leaf"), (0, 1))
    assert sorted(chain.from_iterable(names(dataset).values())) == ["imagesTr/한 a", "imagesTr/한 b", "imagesTs/c"]
    sample = read_sample(dataset.splits["train"][0], dataset.space)
    assert (sample.image.shape, int(sample.labels.sum())) == ((4, 4, 2), 4)
    assert dataset.splits["test"][0].mask is None
    assert isinstance(dataset.splits["test"][0].image, Channels)


def test_volumes_become_slices_of_a_group(tmp_path):
    volume(tmp_path, *(f"imagesTr/{case}_000{channel}.nii.gz" for case in "ab" for channel in range(2)))
    volume(tmp_path, "labelsTr/a.nii.gz", "labelsTr/b.nii.gz")
    describe(tmp_path, modality={"0": "CT", "1": "PET"}, labels={"0": "background", "1": "liver"})
    dataset = open_dataset(tmp_path)
    assert {split: len(pairs) for split, pairs in dataset.splits.items()} == {"train": 6, "val": 6}
    pair = dataset.splits["train"][2]
    assert (pair.name, pair.group) == (f"{pair.group}/002", pair.group)
    sample = read_sample(pair, dataset.space)
    assert (sample.image.shape, sample.place.slice, sample.labels.shape) == ((5, 4, 2), 3.0, (5, 4))


def test_decathlon_files_hold_all_channels_and_end_in_four_digits(tmp_path):
    volume(tmp_path, "imagesTr/BRATS_0457.nii.gz", "imagesTs/BRATS_0568.nii.gz", shape=(4, 5, 6, 4))
    volume(tmp_path, "labelsTr/BRATS_0457.nii.gz")
    described = {"modality": {str(i): "x" for i in range(4)}, "labels": {"0": "background", "1": "edema"}}
    training = [{"image": "./imagesTr/BRATS_0457.nii.gz", "label": "./labelsTr/BRATS_0457.nii.gz"}]
    describe(tmp_path, **described, training=training, test=["./imagesTs/BRATS_0568.nii.gz"])
    found = recognise(tmp_path)
    assert (found.layout, found.problems, len(found.splits["train"].pairs)) == ("nnunet", (), 6)
    assert found.splits["train"].pairs[0].image.read().shape == (5, 4, 4)


def test_decathlon_lists_with_folders_of_other_names(tmp_path):
    volume(tmp_path, "scans/a.nii.gz", "scans/b.nii.gz", "truth/a.nii.gz", "scans/t.nii.gz")
    training = [{"image": f"./scans/{case}.nii.gz", "label": f"./truth/{case}.nii.gz"} for case in "ab"]
    describe(tmp_path, labels={"0": "background", "1": "x"}, training=training, test=["scans/t.nii.gz", "no.nii.gz"])
    found = nnunet.recognise(tmp_path)
    assert [pair.name for pair in found.splits["train"].pairs] == ["scans/a"]
    assert found.splits["train"].missing == ("truth/b",)
    assert [pair.name for pair in found.splits["test"].pairs] == ["scans/t"]
    with pytest.raises(AtrousError, match="first truth/b"):
        open_dataset(tmp_path)


def test_without_dataset_json_the_masks_tell(tmp_path):
    picture(tmp_path, "imagesTr/a_0000.png", "imagesTr/b_0000.png", "labelsTr/a.png", "labelsTr/b.png")
    dataset = open_dataset(tmp_path)
    assert (dataset.layout, dataset.space.names) == ("nnunet", ("class 0", "class 1"))


@pytest.mark.parametrize(
    ("labels", "classes", "values", "ignore"),
    [
        ({"0": "background", "2": "b", "1": "a"}, ("background", "a", "b"), (0, 1, 2), None),
        ({"background": 0, "b": 2, "a": 1, "ignore": 3}, ("background", "a", "b"), (0, 1, 2), 3),
        ({"background": "0", "a": "1"}, ("background", "a"), (0, 1), None),
        ({"0": "background", "1": "a", "2": "ignore"}, ("background", "a"), (0, 1), 2),
        ({"0": "background", "1": "10", "2": "3"}, ("background", "10", "3"), (0, 1, 2), None),
        ({"a": 1}, ("background", "a"), (0, 1), None),
        ({"background": 0, "1": 1, "2": 2}, ("background", "1", "2"), (0, 1, 2), None),
    ],
)
def test_labels_of_both_versions(tmp_path, labels, classes, values, ignore):
    picture(tmp_path, "imagesTr/a_0000.png", "labelsTr/a.png")
    describe(tmp_path, labels=labels)
    found = nnunet.recognise(tmp_path)
    assert (found.told.classes, found.told.values, found.told.ignore) == (classes, values, ignore)
    assert found.problems == ()
    assert bool(found.notes) == ("background" not in str(labels))


@pytest.mark.parametrize(
    "labels",
    [[], [1], "background", 3, {}, {"background": None}, {"background": True}, {"a": -1}, {"a": 1, "b": 1}, {"a": 0.5},
     {"0": "a", "1": "a"}, {"0": "a", "1": {}}],
)  # fmt: skip
def test_labels_that_are_none_are_a_problem_and_the_masks_tell(tmp_path, labels):
    picture(tmp_path, "imagesTr/a_0000.png", "labelsTr/a.png")
    describe(tmp_path, labels=labels)
    found = nnunet.recognise(tmp_path)
    assert found.told.classes is None
    assert [(problem.kind, problem.path.name) for problem in found.problems] == [("broken-annotation", "dataset.json")]
    assert "are not names and numbers" in found.problems[0].detail


def test_regions_are_refused(tmp_path):
    picture(tmp_path, "imagesTr/a_0000.png", "labelsTr/a.png")
    describe(tmp_path, labels={"background": 0, "whole tumour": [1, 2], "core": 2})
    with pytest.raises(AtrousError, match=r"dataset\.json: the class 'whole tumour' is a region .*regions overlap"):
        nnunet.recognise(tmp_path)


@pytest.mark.parametrize("content", ["{", "[]", "null", "[" * 100_000, "\ufeff"])
def test_a_broken_dataset_json_does_not_keep_the_images(tmp_path, content):
    picture(tmp_path, "imagesTr/a_0000.png", "labelsTr/a.png")
    (tmp_path / "dataset.json").write_text(content, encoding="utf-8")
    found = nnunet.recognise(tmp_path)
    assert len(found.splits["train"].pairs) == 1
    assert [problem.kind for problem in found.problems] == ["broken-annotation"] * (content not in ("[]", "null"))


@pytest.mark.parametrize(
    "content",
    [{"training": 3}, {"training": ["a"]}, {"training": [{"image": 1, "label": 2}]}, {"labels": [1]}, [1], {},
     {"training": [{"image": "a.nii", "label": "b.nii"}]}, {"images": [], "annotations": []}],
)  # fmt: skip
def test_a_dataset_json_of_others_is_not_recognised(tmp_path, content):
    (tmp_path / "dataset.json").write_text(json.dumps(content))
    assert nnunet.recognise(tmp_path) is None
    (tmp_path / "dataset.json").write_text("{")
    assert nnunet.recognise(tmp_path) is None


def test_the_first_fold_makes_the_split(tmp_path):
    picture(tmp_path, *(f"imagesTr/{case}_0000.png" for case in "abcd"), *(f"labelsTr/{case}.png" for case in "abcd"))
    folds = [{"train": ["a", "c", "a"], "val": ["b"]}, {"train": ["b"], "val": ["a"]}]
    (tmp_path / "splits_final.json").write_text(json.dumps(folds))
    dataset = open_dataset(tmp_path)
    assert not dataset.made_split
    assert names(dataset) == {"train": ["imagesTr/a", "imagesTr/c"], "val": ["imagesTr/b"]}
    assert nnunet.recognise(tmp_path).notes == (
        "splits_final.json: fold 0 of 2 makes the split",
        "splits_final.json: 1 cases are in neither part of fold 0, and were left out",
    )
    folds[0]["val"] = ["gone"]
    (tmp_path / "splits_final.json").write_text(json.dumps(folds))
    assert nnunet.recognise(tmp_path).splits["val"].missing == ("gone",)


@pytest.mark.parametrize(
    "folds", [[], {}, [1], [{"train": ["a"]}], [{"train": "a", "val": "b"}], [{"train": [1], "val": [2]}]]
)
def test_broken_folds(tmp_path, folds):
    picture(tmp_path, "imagesTr/a_0000.png", "labelsTr/a.png")
    (tmp_path / "splits_final.json").write_text(json.dumps(folds))
    found = nnunet.recognise(tmp_path)
    assert list(found.splits) == ["train"]
    assert [(problem.kind, problem.path.name) for problem in found.problems] == [
        ("broken-annotation", "splits_final.json")
    ]


def test_val_folders(tmp_path):
    picture(tmp_path, "imagesTr/a_0000.png", "labelsTr/a.png", "imagesVa/b_0000.png", "labelsVa/b.png")
    assert names(open_dataset(tmp_path)) == {"train": ["imagesTr/a"], "val": ["imagesVa/b"]}


def test_what_cannot_be_paired(tmp_path):
    picture(tmp_path, "imagesTr/a_0000.png", "imagesTr/a_0001.png", "labelsTr/a.png")
    picture(tmp_path, "imagesTr/b_0000.png", "labelsTr/b.png")  # a channel is missing
    picture(tmp_path, "imagesTr/c_0000.png", "imagesTr/c_0001.png")  # no label
    picture(tmp_path, "labelsTr/d.png")  # no image
    picture(tmp_path, "labelsTr/a.bmp")  # twice
    found = nnunet.recognise(tmp_path)
    train = found.splits["train"]
    assert [pair.name for pair in train.pairs] == ["imagesTr/a"]
    assert [path.name for path in train.images_alone] == ["c_0000.png"]
    assert [path.name for path in train.masks_alone] == ["d.png"]
    assert [path.name for path in train.doubles[0]] == ["a.bmp", "a.png"]
    (problem,) = found.problems
    assert (problem.kind, problem.path.name) == ("mixed-channels", "b_0000.png")
    assert problem.detail == "case b has b_0000.png, and others have 2 channels from 0000 on"


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_names_of_another_system(tmp_path, form):
    other = {"NFC": "NFD", "NFD": "NFC"}[form]
    for case in ("도로a", "도로b"):
        picture(tmp_path, normalize(form, f"imagesTr/{case}_0000.png"), normalize(other, f"labelsTr/{case}.png"))
    folds = [{"train": [normalize(other, "도로a")], "val": [normalize(form, "도로b")]}]
    (tmp_path / "splits_final.json").write_text(json.dumps(folds))
    dataset = open_dataset(tmp_path)
    assert {split: len(pairs) for split, pairs in dataset.splits.items()} == {"train": 1, "val": 1}


@pytest.mark.parametrize("name", ["x" * 400, "", ".", "..", "/", "a\0b", "\ud800", "/etc", "../../none"])
def test_names_that_no_file_has(tmp_path, name):
    picture(tmp_path, "p/a.png", "q/a.png")
    training = [{"image": "./p/a.png", "label": "./q/a.png"}, {"image": name, "label": "./q/a.png"}]
    describe(tmp_path, labels={"0": "background", "1": "x"}, training=training, test=[name])
    found = nnunet.recognise(tmp_path).splits
    assert ([pair.name for pair in found["train"].pairs], len(found["train"].missing)) == (["p/a"], 1)
    assert found["train"].missing[0]
    describe(tmp_path, labels={"0": "background", "1": "x"}, training=training[1:])
    assert nnunet.recognise(tmp_path) is None


def test_a_listed_image_that_lies_elsewhere(tmp_path):
    picture(tmp_path, "far/a.png", "far/b.png", "data/q/a.png")
    entries = [{"image": "../far/a.png", "label": "q/a.png"}, {"image": f"{tmp_path}/far/b.png", "label": "q/a.png"}]
    describe(tmp_path / "data", labels={"0": "background", "1": "x"}, training=entries)
    names = [pair.name for pair in nnunet.recognise(tmp_path / "data").splits["train"].pairs]
    assert [name.endswith(f"far/{letter}") for name, letter in zip(names, "ab", strict=True)] == [True, True]
    assert not any(name.startswith("/") or ".." in name for name in names)
