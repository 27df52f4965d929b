"""BIDS folders: targets become classes, subjects stay together, and soft masks are refused."""

from unicodedata import normalize

import nibabel
import numpy as np
import pytest

from atrous.contract import AtrousError
from atrous.data import open_dataset, read_image, read_sample, write_image
from atrous.data.layouts import bids, recognise
from atrous.data.layouts.bids import Targets

LABELS = "derivatives/labels"


def image(root, *names):
    for name in names:
        write_image(root / f"{name}.png", np.full((4, 6), 9, np.uint8))


def mask(root, name, *columns, on=255):
    array = np.zeros((4, 6), np.uint8)
    array[:, list(columns)] = on
    write_image(root / LABELS / f"{name}.png", array)


def test_targets_become_classes_and_the_smaller_is_on_top(tmp_path):
    image(tmp_path, "sub-01/micr/sub-01_SEM", "sub-01/ses-02/micr/sub-01_ses-02_SEM", "sub-02/micr/sub-02_SEM")
    mask(tmp_path, "sub-01/micr/sub-01_SEM_seg-axon-manual", 0, 1, 2)
    mask(tmp_path, "sub-01/micr/sub-01_SEM_seg-myelin-manual", 2, 3)
    mask(tmp_path, "sub-01/ses-02/micr/sub-01_ses-02_SEM_seg-axon-manual", 5, on=1)
    dataset = open_dataset(tmp_path)
    assert (dataset.layout, dataset.space.names) == ("bids", ("background", "axon", "myelin"))
    (first, second) = dataset.splits["train"]
    assert (first.name, first.group) == ("sub-01/micr/sub-01_SEM", "sub-01")
    assert read_sample(first, dataset.space).labels[0].tolist() == [1, 1, 2, 2, 0, 0]
    assert read_sample(second, dataset.space).labels[0].tolist() == [0, 0, 0, 0, 0, 1]
    assert bids.recognise(tmp_path).notes == (
        "1 of 2 images with masks lack myelin: counted as without",
        "1 images have no mask and were left out",
    )


def test_volumes_of_a_subject_stay_together(tmp_path):
    array = np.zeros((4, 5, 6), np.float32)
    array[1:3] = 1
    volume = nibabel.Nifti1Image(array, np.diag((1, 1, 3, 1)))
    for subject in ("sub-01", "sub-02"):
        for contrast in ("T1w", "T2w"):
            stem = f"{subject}/anat/{subject}_{contrast}"
            for name in (
                f"{stem}.nii.gz",
                f"{LABELS}/{stem}_seg-manual.nii.gz",
                f"{LABELS}/{stem}_lesion-manual.nii.gz",
            ):
                (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
                nibabel.save(volume, tmp_path / name)
    dataset = open_dataset(tmp_path)
    assert dataset.space.names == ("background", "lesion", "seg")
    for pairs in dataset.splits.values():
        assert len(pairs) == 12
        assert len({pair.group for pair in pairs}) == 1
    sample = read_sample(dataset.splits["train"][0], dataset.space)
    assert (sample.image.dtype, sample.labels.shape, sample.place.slice) == (np.dtype(np.float32), (5, 4), 3.0)


@pytest.mark.parametrize(
    ("ending", "target"),
    [
        ("seg-manual", "seg"), ("lesion-manual", "lesion"), ("seg-axon-manual", "axon"), ("gm", "gm"),
        ("label-CSF_mask", "CSF_mask"), ("dseg", "dseg"),
    ],
)  # fmt: skip
def test_names_of_targets(ending, target):
    assert bids._target(ending) == target


def test_the_longest_image_name_has_the_mask(tmp_path):
    image(tmp_path, "sub-01/a/sub-01_T1w", "sub-01/a/sub-01_T1w_acq")
    mask(tmp_path, "sub-01/a/sub-01_T1w_acq_seg-manual", 0)
    (pair,) = bids.recognise(tmp_path).splits["train"].pairs
    assert pair.name == "sub-01/a/sub-01_T1w_acq"


def test_numbered_masks_are_read_as_they_are(tmp_path):
    image(tmp_path, "sub-01/a/sub-01_T1w")
    mask(tmp_path, "sub-01/a/sub-01_T1w_dseg", 0, on=5)
    dataset = open_dataset(tmp_path)
    assert dataset.space.values[-1] == 5
    mask(tmp_path, "sub-01/a/sub-01_T1w_seg-manual", 0)
    with pytest.raises(AtrousError, match="masks _dseg, which hold classes as numbers, and masks of seg came"):
        recognise(tmp_path)


def test_masks_without_image_and_points(tmp_path):
    image(tmp_path, "sub-01/a/sub-01_T1w")
    mask(tmp_path, "sub-01/a/sub-01_T1w_seg-manual", 0)
    mask(tmp_path, "sub-01/a/sub-01_T1w_labels-disc-manual", 0)
    mask(tmp_path, "sub-03/a/sub-03_T1w_labels-disc-manual", 0)
    found = bids.recognise(tmp_path)
    assert found.told.classes == ("background", "seg")
    assert found.notes == ("1 masks of labels-disc hold points, which are no areas, and were left out",)
    assert found.splits["train"].masks_alone == ()
    mask(tmp_path, "sub-02/a/sub-02_T1w_seg-manual", 0)
    assert [path.name for path in bids.recognise(tmp_path).splits["train"].masks_alone] == ["sub-02_T1w_seg-manual.png"]


def test_other_derivatives_are_taken_where_there_are_no_labels(tmp_path):
    image(tmp_path, "sub-01/a/sub-01_T1w", "derivatives/manual/sub-01/a/sub-01_T1w_seg")
    (tmp_path / "derivatives/empty").mkdir()
    assert len(bids.recognise(tmp_path).splits["train"].pairs) == 1


@pytest.mark.parametrize(
    "names", [(), ("sub-01/a/x",), ("derivatives/labels/sub-01/a/x_seg",), ("images/a", "masks/a")]
)
def test_other_folders_are_not_recognised(tmp_path, names):
    image(tmp_path, *names)
    assert bids.recognise(tmp_path) is None


def targets(tmp_path, *arrays):
    paths = []
    for index, array in enumerate(arrays):
        paths.append(tmp_path / f"{index}.png")
        write_image(paths[-1], np.asarray(array, np.uint8))
    return Targets(tuple(paths), tuple(range(1, len(paths) + 1)))


def test_few_pixels_between_off_and_on_are_undecided(tmp_path):
    soft = np.zeros((40, 50), np.uint8)
    soft[:20] = 255
    soft[0, :2] = 130, 233
    labels = targets(tmp_path, soft).read()
    assert (labels.dtype, labels[0, :3].tolist(), int((labels == 1).sum())) == (np.dtype(np.uint8), [255, 255, 1], 998)
    soft[1, :5] = 7
    with pytest.raises(
        AtrousError, match=r"0\.png: 7 pixels have one of 3 levels between 0 and 255.* at one half"
    ) as caught:
        targets(tmp_path, soft).read()
    assert caught.value.kind == "soft-mask"


@pytest.mark.parametrize(
    ("arrays", "kind", "words"),
    [
        ([[[0, 1, 2]]], "label-outside", r"0\.png: the values 0, 1, 2 came, .*_dseg"),
        (
            [[[0, 1]], [[0, 1, 1]]],
            "size-differs",
            r"1\.png: this mask is 1 x 3 \(height x width\) and .*0\.png is 1 x 2",
        ),
        ([np.array([[[1, 2, 3]]])], None, "a colour mask came"),
    ],
)
def test_masks_that_are_no_targets(tmp_path, arrays, kind, words):
    with pytest.raises(AtrousError, match=words) as caught:
        targets(tmp_path, *arrays).read()
    assert caught.value.kind == kind


def test_real_spinal_cord(data_dir):
    dataset = open_dataset(data_dir / "medical_ivadomed")
    assert (dataset.layout, dataset.space.names) == ("bids", ("background", "lesion", "seg"))
    pairs = dataset.splits["train"]
    assert (len(pairs), {pair.group for pair in pairs}) == (48, {"sub-unf01"})
    pixels = np.zeros(256, int)
    for pair in pairs:
        sample = read_sample(pair, dataset.space)
        assert (sample.image.shape, sample.image.dtype) == ((141, 131, 1), np.dtype(np.float32))
        pixels += np.bincount(sample.labels.ravel(), minlength=256)
    assert pixels[:3].tolist() == [882_927, 312, 3_369]


def test_real_spleen(data_dir):
    dataset = open_dataset(data_dir / "medical_ivadomed/ct_scan")
    assert (dataset.layout, len(dataset.splits["train"])) == ("bids", 26)
    sample = read_sample(dataset.splits["train"][15], dataset.space)
    assert sample.image.shape == (166, 164, 1)
    assert (*sample.place.pixel, sample.place.slice) == pytest.approx((0.795, 0.795, 5), abs=1e-3)
    spleen = sample.image[sample.labels == 1]
    assert 80 < float(np.median(spleen)) < 140  # Hounsfield units of a spleen with contrast agent


def test_real_axons(data_dir):
    dataset = open_dataset(data_dir / "medical_ivadomed/microscopy_png")
    assert (dataset.layout, dataset.space.names) == ("bids", ("background", "axon", "myelin"))
    assert {split: len(pairs) for split, pairs in dataset.splits.items()} == {"train": 1, "val": 4}
    first = read_sample(dataset.splits["train"][0], dataset.space)
    assert (first.image.shape, int((first.labels == 255).sum())) == ((725, 725, 1), 3)


def test_real_pictures_of_every_depth(data_dir):
    came = {}
    for path in sorted((data_dir / "medical_ivadomed/data_test_png_tif").rglob("*_sample-*_SEM.*")):
        pixels = read_image(path)
        came[f"{path.name.split('_')[1][7:]}{path.suffix}"] = (str(pixels.dtype), pixels.shape)
    deep, colour = "uint16", (256, 256, 3)
    assert came == {
        "16gray.png": (deep, (256, 256, 1)), "16rgb.png": (deep, colour), "16rgba.png": (deep, colour),
        "8gray.png": ("uint8", (266, 278, 1)), "8grayalhpa.png": ("uint8", (266, 278, 1)),
        "8grayalpha.png": ("uint8", (266, 278, 3)), "8rgb.png": ("uint8", colour), "8rgba.png": ("uint8", colour),
        "16gray.tif": (deep, (256, 256, 1)), "16rgb.tif": (deep, colour), "16rgba.tif": (deep, colour),
        "8gray.tif": ("uint8", (256, 256, 1)), "8rgb.tif": ("uint8", colour), "8rgba.tif": ("uint8", colour),
    }  # fmt: skip


@pytest.mark.parametrize(("picture", "drawn"), [("NFC", "NFD"), ("NFD", "NFC")])
def test_names_of_another_system(tmp_path, picture, drawn):
    image(tmp_path, normalize(picture, "sub-도로/sub-도로_SEM"))
    mask(tmp_path, normalize(drawn, "sub-도로/sub-도로_SEM_seg-manual"), 0, 1)
    assert len(recognise(tmp_path).splits["train"].pairs) == 1
