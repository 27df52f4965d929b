"""Datasets written as DICOM segmentations come back as they were, and others read them too."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest

from atrous.contract import AtrousError, LabelSpace
from atrous.data import Pair, open_dataset, read_sample, write_image
from atrous.data.conversion import dicom_seg as writer
from atrous.data.dataset import Dataset
from atrous.data.dicom import DicomSlice
from atrous.data.dicom_segments import read_segmentation

pytest.importorskip("highdicom")

SPACE = LabelSpace(names=("background", "liver", "간 🙂"), colours=((0, 0, 0), (221, 130, 101), (1, 2, 3)))


def random_masks(root, count, size=(4, 6), high=3):
    random = np.random.default_rng(0)
    paths = []
    for number in range(count):
        paths.append(root / f"masks/{number}.png")
        write_image(paths[-1], random.integers(0, high, size, dtype=np.uint8))
    return paths


def dataset_of(root, images, masks, space=SPACE):
    pairs = tuple(
        Pair(f"n{number}", image, mask) for number, (image, mask) in enumerate(zip(images, masks, strict=True))
    )
    return Dataset(root, "dicom", {"train": pairs}, space, False)


def samples(dataset):
    pairs = [pair for members in dataset.splits.values() for pair in members]
    return {
        (pair.image.path.name, getattr(pair.image, "frame", 0)): read_sample(pair, dataset.space).labels
        for pair in pairs
    }


@pytest.mark.parametrize("labelmap", [False, True])
def test_round_trip(dicom, tmp_path, labelmap):
    images = [DicomSlice(path) for path in dicom.series("ct", 4)]
    dataset = dataset_of(tmp_path, images, random_masks(tmp_path.parent / "masks", 4))
    steps = []
    (path,) = writer.write(dataset, tmp_path, progress=lambda *step: steps.append(step), labelmap=labelmap)
    assert (path.name, steps) == ("ct.dcm", [(1, 4), (2, 4), (3, 4), (4, 4)])
    again = open_dataset(tmp_path)
    assert (again.space.names, again.space.colours) == (SPACE.names, SPACE.colours)
    before, after = samples(dataset), samples(again)
    assert before.keys() == after.keys()
    assert all(np.array_equal(before[key], after[key]) for key in before)


def test_others_read_it(dicom, tmp_path):
    import highdicom

    paths = dicom.series("ct", 3)
    masks = random_masks(tmp_path, 3)
    (path,) = writer.write(dataset_of(tmp_path, [DicomSlice(one) for one in paths], masks), tmp_path / "out")
    read = highdicom.seg.segread(path)
    assert [read.get_segment_description(number).segment_label for number in (1, 2)] == ["liver", "간 🙂"]
    uids = [pydicom.dcmread(one).SOPInstanceUID for one in paths]
    labels = read.get_pixels_by_source_instance(uids, combine_segments=True)
    from atrous.data import read_mask

    assert np.array_equal(labels, [read_mask(mask) for mask in masks])
    assert pydicom.dcmread(path).SegmentationType == "BINARY"


def test_ignored_pixels_are_told(dicom, tmp_path):
    mask = tmp_path / "m.png"
    write_image(mask, np.array([[255, 1, 0, 0, 0, 2]] * 4, np.uint8))
    images = [DicomSlice(path) for path in dicom.series("ct", 1)]
    lines = []
    (path,) = writer.write(dataset_of(tmp_path, images, [mask]), tmp_path / "out", say=lines.append)
    assert lines == ["4 pixels are to be ignored: they are in no segment, as background is"]
    assert len(read_segmentation(path).frames) == 2


def test_a_series_each_and_names_of_their_own(dicom, tmp_path):
    images = [DicomSlice(path) for path in (*dicom.series("p1/ct", 2), *dicom.series("p2/ct", 2, series="1.2.2"))]
    images += [DicomSlice(path) for path in dicom.series("p2/ct2", 2, series="1.2.3")]
    images += [DicomSlice(dicom.image("p2/ct/extra", np.zeros((4, 6), np.int16), uid="1.9.9", series="1.2.9"))]
    paths = writer.write(dataset_of(tmp_path, images, random_masks(tmp_path, 7)), tmp_path / "out")
    assert [path.name for path in paths] == ["p1_ct.dcm", "p2_ct.dcm", "p2_ct-2.dcm", "p2_ct2.dcm"]
    assert len({read_segmentation(path).instance for path in paths}) == 4


def test_an_image_of_many_frames(dicom, data_dir, tmp_path):
    source = data_dir / "medical_dcmqi" / "23x38x3" / "multiframe" / "mf.dcm"
    images = [DicomSlice(source, frame) for frame in (2, 0)]  # not all of them, and not in order
    dataset = dataset_of(tmp_path, images, random_masks(tmp_path, 2, (38, 23)))
    (path,) = writer.write(dataset, tmp_path / "out")
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "mf.dcm").symlink_to(source)
    (tree / "seg.dcm").symlink_to(path)
    after = samples(open_dataset(tree))
    assert all(np.array_equal(after[key], labels) for key, labels in samples(dataset).items())
    assert not after["mf.dcm", 1].any()


def test_slices_of_volumes_are_frames_in_order_of_place(data_dir, tmp_path):
    from atrous.data.volumes import Slice

    source = data_dir / "medical_dcmqi" / "23x38x3" / "multiframe" / "mf.dcm"
    images = [Slice(source, index) for index in range(3)]
    (path,) = writer.write(dataset_of(tmp_path, images, random_masks(tmp_path, 3, (38, 23))), tmp_path / "out")
    assert path.name == "mf.dcm"
    assert read_segmentation(path).segments[0].name == "liver"


def test_an_empty_mask_and_classes_without_pixels(dicom, tmp_path):
    masks = random_masks(tmp_path, 2, high=1)
    images = [DicomSlice(path) for path in dicom.series("ct", 2)]
    writer.write(dataset_of(tmp_path, images, masks), tmp_path / "ct")
    again = open_dataset(tmp_path, layout="dicom")
    assert again.space.names == SPACE.names
    assert not any(labels.any() for labels in samples(again).values())


def test_what_anonymisation_took_away_is_no_hindrance(dicom, tmp_path):
    images = [DicomSlice(path) for path in dicom.series("ct", 2, PatientID=None, SpecificCharacterSet="")]
    (path,) = writer.write(dataset_of(tmp_path, images, random_masks(tmp_path, 2)), tmp_path / "out")
    assert pydicom.dcmread(path).PatientID == ""


def test_images_that_are_no_dicom_are_refused(tmp_path):
    masks = random_masks(tmp_path, 1)
    with pytest.raises(
        AtrousError, match=r"0\.png: this is no DICOM image, and .* Choose another format, such as masks"
    ):
        writer.write(dataset_of(tmp_path, masks, masks), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_headers_that_lack_too_much_are_refused(dicom, tmp_path):
    images = [DicomSlice(path) for path in dicom.series("ct", 1, StudyInstanceUID=None)]
    with pytest.raises(AtrousError, match=r"IMG0000\.dcm: no segmentation of this series can be written"):
        writer.write(dataset_of(tmp_path, images, random_masks(tmp_path, 1)), tmp_path / "out")


def test_nothing_to_write_is_refused(dicom, tmp_path):
    with pytest.raises(ValueError, match="the only class is background"):
        writer.write(dataset_of(tmp_path, [], [], LabelSpace(names=("all",))), tmp_path / "out")
    images = [DicomSlice(path) for path in dicom.series("ct", 2)]
    with pytest.raises(ValueError, match="no image has a mask"):
        writer.write(dataset_of(tmp_path, images, [None, None]), tmp_path / "out")


def test_long_names_are_shortened_and_told(dicom, tmp_path):
    space = replace(SPACE, names=("background", "x" * 70, "a\\b"))
    images = [DicomSlice(path) for path in dicom.series("ct", 1)]
    lines = []
    (path,) = writer.write(
        dataset_of(tmp_path, images, random_masks(tmp_path, 1), space), tmp_path / "o", say=lines.append
    )
    assert [segment.name for segment in read_segmentation(path).segments] == ["x" * 64, "a/b"]
    assert lines == [f"2 names shortened to 64 letters without backslashes, first {'x' * 70}"]


def test_names_that_do_not_come_back_are_told(dicom, tmp_path):
    images, masks = [DicomSlice(path) for path in dicom.series("ct", 1)], random_masks(tmp_path, 1)
    twins = replace(SPACE, names=("background", "x" * 64 + "1", "x" * 64 + "2"))
    with pytest.raises(ValueError, match="two classes would be called 'xxx"):
        writer.write(dataset_of(tmp_path, images, masks, twins), tmp_path / "out")
    lines = []
    second = replace(SPACE, names=("sky", "Background", "car"))
    writer.write(dataset_of(tmp_path, images, masks, second), tmp_path / "out", say=lines.append)
    assert lines == ["a class other than the first is called background: readers may take its segment for no object"]


def test_highdicom_missing(dicom, tmp_path, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "highdicom", None)
    images = [DicomSlice(path) for path in dicom.series("ct", 1)]
    with pytest.raises(AtrousError, match=r'needs highdicom: pip install "atrous\[medical\]"'):
        writer.write(dataset_of(tmp_path, images, random_masks(tmp_path, 1)), tmp_path / "out")


def test_real_series_come_back(data_dir, tmp_path):
    source = data_dir / "medical_dcmqi"
    dataset = open_dataset(source)
    paths = writer.write(dataset, tmp_path)
    assert sorted(path.name for path in paths) == ["23x38x3_image.dcm", "24x38x3_image.dcm", "ct-3slice.dcm"]
    for name in ("23x38x3/image", "24x38x3/image", "ct-3slice"):
        link = tmp_path / Path(name)
        link.parent.mkdir(exist_ok=True)
        link.symlink_to(source / name)
    again = open_dataset(tmp_path)
    assert (again.space.names, again.space.colours) == (dataset.space.names, dataset.space.colours)
    before, after = (
        {pair.name: read_sample(pair, each.space).labels for pairs in each.splits.values() for pair in pairs}
        for each in (dataset, again)
    )
    assert before.keys() == after.keys()
    assert all(np.array_equal(before[name], after[name]) for name in before)
