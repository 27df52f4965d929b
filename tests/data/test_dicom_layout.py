"""A tree of DICOM files becomes pairs: which image belongs to which frame, and what does not fit is named."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from atrous.contract import AtrousError
from atrous.data import dicom_tree, open_dataset, read_sample
from atrous.data.inspection import inspect_dataset
from atrous.data.layouts import dicom as layout
from atrous.data.layouts import recognise

ORGAN = np.zeros((4, 6), np.uint8)
ORGAN[0:3, 0:5] = 1
TUMOUR = np.zeros((4, 6), np.uint8)
TUMOUR[1, 1:3] = 1


def labels(root):
    dataset = open_dataset(root)
    pairs = [pair for members in dataset.splits.values() for pair in members]
    return dataset, {pair.name: read_sample(pair, dataset.space) for pair in pairs}


def test_series_and_segmentation(dicom, tmp_path):
    dicom.series("ct", 3)
    dicom.segmentation("seg/a.dcm", [(1, 2, "1.2.1.2", ORGAN)], segments=((1, "liver", (41661, 41167, 40792)),))
    dataset, samples = labels(tmp_path)
    assert (dataset.layout, dataset.space.names) == ("dicom", ("background", "liver"))
    assert dataset.space.colours == ((0, 0, 0), (221, 130, 101))
    # The names run against the places, and the pixels hold the place.
    assert {name: int(sample.image.max()) for name, sample in samples.items()} == {
        "ct/IMG0002": 0,
        "ct/IMG0001": 1,
        "ct/IMG0000": 2,
    }
    assert np.array_equal(samples["ct/IMG0001"].labels, ORGAN)
    assert not samples["ct/IMG0002"].labels.any()
    assert (samples["ct/IMG0001"].place.pixel, samples["ct/IMG0001"].place.slice) == ((0.5, 0.75), 2.0)
    assert {pair.group for pair in dataset.splits["train"]} == {"1.2.1"}


def test_names_without_suffix_in_one_folder(dicom, tmp_path):
    for place in range(3):
        dicom.image(f"1.2.840.{place}", np.full((4, 6), place, np.int16), uid=f"1.2.1.{place}", z=2 * place)
    dicom.segmentation("1.2.840.77", [(1, 4, None, ORGAN)])
    (tmp_path / "DICOMDIR").write_bytes(b"\0" * 200)
    (tmp_path / "README").write_text("hello")
    _, samples = labels(tmp_path)
    assert set(samples) == {"1.2.840.0", "1.2.840.1", "1.2.840.2"}
    assert np.array_equal(samples["1.2.840.2"].labels, ORGAN)


def test_names_that_differ_in_their_suffix_alone(dicom, tmp_path):
    dicom.image("a.dcm", ORGAN.astype(np.int16), uid="1.2.1.1", z=0)
    dicom.image("a.ima", ORGAN.astype(np.int16), uid="1.2.1.2", z=2)
    dicom.segmentation("seg.dcm", [(1, 0, None, ORGAN)])
    assert set(labels(tmp_path)[1]) == {"a.dcm", "a.ima"}


def test_segments_are_classes_by_name_in_all_files(dicom, tmp_path):
    for patient, numbers in (("p1", ("liver", "spleen")), ("p2", ("spleen", "kidney"))):
        dicom.series(patient, 2, series=f"1.{patient[1]}", patient=patient, space=f"1.3.{patient[1]}")
        dicom.segmentation(
            f"{patient}/seg.dcm",
            [(1, 0, None, ORGAN), (2, 2, None, TUMOUR)],
            segments=tuple(enumerate(numbers, start=1)),
            series=f"1.{patient[1]}",
            space=f"1.3.{patient[1]}",
            patient=patient,
            uid=f"1.7.{patient[1]}",
        )
    dataset, samples = labels(tmp_path)
    assert dataset.space.names == ("background", "liver", "spleen", "kidney")
    assert [int(samples[f"p1/IMG000{name}"].labels.max()) for name in (1, 0)] == [1, 2]
    assert [int(samples[f"p2/IMG000{name}"].labels.max()) for name in (1, 0)] == [2, 3]
    # A patient is never in both splits.
    assert {split: {pair.group for pair in pairs} for split, pairs in dataset.splits.items()} in (
        {"train": {"p1"}, "val": {"p2"}},
        {"train": {"p2"}, "val": {"p1"}},
    )


def test_several_segmentations_of_a_series_are_one_mask(dicom, tmp_path):
    dicom.series("ct", 2)
    dicom.segmentation("a.dcm", [(1, 0, None, TUMOUR)], segments=((1, "tumour"),), uid="1.7.1")
    dicom.segmentation("b.dcm", [(1, 0, None, ORGAN)], segments=((1, "organ"),), uid="1.7.2")
    shutil.copy(tmp_path / "a.dcm", tmp_path / "c.dcm")
    dataset, samples = labels(tmp_path)
    assert dataset.space.names == ("background", "tumour", "organ")
    assert np.bincount(samples["ct/IMG0001"].labels.ravel()).tolist() == [9, 2, 13]
    found = recognise(tmp_path)
    assert found.notes == (
        "c.dcm: there twice by its SOP instance UID; left out",
        "a.dcm (and 1 more): segmentations of one series, drawn into one mask",
    )
    (problem,) = found.problems
    assert (problem.kind, problem.path.name) == ("overlapping-segments", "a.dcm")
    assert problem.detail.startswith("2 voxels are in several segments")
    assert [finding.kind for finding in inspect_dataset(tmp_path).findings if "overl" in finding.kind]


def test_fractions_are_told(dicom, tmp_path):
    dicom.series("ct", 2)
    dicom.segmentation("a.dcm", [(1, 0, None, ORGAN * 200)], kind="FRACTIONAL")
    assert np.array_equal(labels(tmp_path)[1]["ct/IMG0001"].labels, ORGAN)
    assert recognise(tmp_path).notes == ("a.dcm: of a FRACTIONAL segmentation, shares of one half and more count",)


def test_label_map(dicom, tmp_path):
    dicom.series("ct", 2)
    dicom.segmentation(
        "a.dcm", [(0, 2, None, ORGAN * 9)], kind="LABELMAP", segments=((0, "Background"), (9, "spine"), (12, "rib"))
    )
    dataset, samples = labels(tmp_path)
    assert dataset.space.names == ("background", "spine", "rib")
    assert np.array_equal(samples["ct/IMG0000"].labels, ORGAN)


def test_series_without_segmentation(dicom, tmp_path):
    dicom.series("a", 2)
    dicom.segmentation("seg.dcm", [(1, 0, None, ORGAN)])
    other = dicom.series("b", 2, series="1.2.2", patient="q", space="1.2.33")
    dicom.series("scout", 1, series="1.2.5")
    found = recognise(tmp_path)
    assert sorted(found.splits["train"].images_alone) == sorted(other)
    assert len(found.splits["train"].pairs) == 2
    assert found.notes == (
        "scout/IMG0000.dcm: a series without segmentation, in a frame of reference where another has one; left out",
    )
    with pytest.raises(AtrousError, match="have no mask"):
        open_dataset(tmp_path)


def test_folders_make_the_split(dicom, tmp_path):
    for number, split in enumerate(("train", "val", "test")):
        dicom.series(f"{split}/ct", 2, series=f"1.{number}", space=f"1.3.{number}")
        if split != "test":
            more = {"series": f"1.{number}", "space": f"1.3.{number}", "uid": f"1.7.{number}"}
            dicom.segmentation(f"{split}/seg.dcm", [(1, 0, None, ORGAN)], **more)
    dataset = open_dataset(tmp_path)
    assert {split: len(pairs) for split, pairs in dataset.splits.items()} == {"train": 2, "val": 2, "test": 2}
    assert not dataset.made_split
    assert all(pair.mask is None for pair in dataset.splits["test"])


def test_echoes_at_one_place(dicom, tmp_path):
    dicom.series("first", 2)
    dicom.series("second", 2, start=11)
    dicom.segmentation("seg.dcm", [(1, 0, "1.2.1.11", ORGAN), (1, 2, "1.2.1.12", TUMOUR)])
    _, samples = labels(tmp_path)
    assert set(samples) == {"second/IMG0000", "second/IMG0001"}
    assert "2 slices of its series lie where another does" in recognise(tmp_path).notes[0]


def test_what_does_not_fit_is_a_problem(dicom, tmp_path):
    dicom.series("ct", 2)
    dicom.segmentation("good.dcm", [(1, 0, None, ORGAN), (1, 90, None, ORGAN)], uid="1.7.1")
    swapped = dicom.segmentation("swapped.dcm", [(1, 0, None, ORGAN.T)], size=(6, 4), uid="1.7.2")
    strange = dicom.segmentation("strange.dcm", [(1, 0, None, ORGAN)], series="1.9", space="1.8", uid="1.7.3")
    broken = dicom.segmentation("broken.dcm", [(1, 0, None, ORGAN)], uid="1.7.4")
    broken.write_bytes(broken.read_bytes()[:700])
    bad = dicom.image("ct/bad.dcm", ORGAN, uid="1.2.1.9", z=8)
    bad.write_bytes(bad.read_bytes()[:420])
    found = recognise(tmp_path)
    kinds = {(problem.path.name, problem.kind) for problem in found.problems}
    assert {("swapped.dcm", "axes-swapped"), ("strange.dcm", "mask-without-image")} <= kinds
    assert ("good.dcm", "mask-without-image") in kinds
    assert {name for name, _ in kinds} >= {swapped.name, strange.name, broken.name}
    assert len(found.splits["train"].pairs) == 2
    assert next(problem.detail for problem in found.problems if problem.path.name == "good.dcm").startswith(
        "1 of its 2"
    )


def test_overlaps_are_counted_up_to_a_limit(dicom, tmp_path, monkeypatch):
    monkeypatch.setattr(layout, "_COUNTED_BYTES", 2)
    dicom.series("ct", 1)
    dicom.segmentation("a.dcm", [(1, 0, None, ORGAN), (2, 0, None, TUMOUR)], segments=((1, "a"), (2, "b")))
    found = recognise(tmp_path)
    assert not found.problems
    assert found.notes == ("overlaps of segments were counted in the first 0 MiB only",)


def test_a_slice_of_another_size_is_left_out(dicom, tmp_path):
    dicom.series("ct", 2)
    dicom.image("ct/odd.dcm", np.zeros((6, 4), np.int16), uid="1.2.1.9", z=8)
    dicom.segmentation("seg.dcm", [(1, 0, None, ORGAN)])
    found = recognise(tmp_path)
    assert [(problem.kind, problem.path.name) for problem in found.problems] == [("axes-swapped", "odd.dcm")]
    assert len(found.splits["train"].pairs) == 2


def test_objects_that_are_no_images(dicom, tmp_path):
    dicom.series("ct", 2)
    dicom.segmentation("seg.dcm", [(1, 0, None, ORGAN)])
    dicom.image("report.dcm", ORGAN, uid="1.5", Rows=None, Columns=None)
    found = recognise(tmp_path)
    assert found.notes == ("report.dcm: no image, such as a report or a plan; left out",)
    assert not found.problems


def test_no_segmentation_fits(dicom, tmp_path):
    dicom.series("ct", 2)
    dicom.segmentation("seg.dcm", [(1, 0, None, ORGAN)], series="1.9", space="1.8")
    with pytest.raises(AtrousError, match=r"no segmentation fits a series\. .*seg\.dcm: none of the series"):
        recognise(tmp_path)


def test_too_many_names(dicom, tmp_path):
    dicom.series("ct", 2)
    segments = tuple((number, f"s{number}") for number in range(1, 257))
    dicom.segmentation("seg.dcm", [(1, 0, None, ORGAN)], segments=segments)
    with pytest.raises(AtrousError, match="256 names of segments came, and up to 254"):
        recognise(tmp_path)


def test_other_folders_are_left_alone(dicom, tmp_path):
    assert layout.recognise(tmp_path) is None
    (tmp_path / "a.dcm").write_bytes(b"x")
    Image.new("L", (4, 4)).save(tmp_path / "b.png")
    assert layout.recognise(tmp_path) is None
    dicom.series("ct", 2)  # images without segmentations
    assert layout.recognise(tmp_path) is None


def test_segmentations_without_images_are_left_alone(dicom, tmp_path):
    dicom.segmentation("seg.dcm", [(1, 0, None, ORGAN)])
    assert layout.recognise(tmp_path) is None


def test_a_tree_of_other_files_is_given_up_soon(tmp_path, monkeypatch):
    for number in range(300):
        (tmp_path / f"{number:05d}").write_bytes(b"")
    looked = []
    monkeypatch.setattr(dicom_tree, "is_dicom", looked.append)
    assert layout.recognise(tmp_path) is None
    assert len(looked) == 64


def test_folders_of_images_and_segmentations_are_paired_by_name(dicom, tmp_path):
    dicom.image("images/a.dcm", ORGAN.astype(np.int16), uid="1.1", series="1.5")
    dicom.segmentation("masks/a.dcm", [(1, 0, None, ORGAN)], series="1.9", space="1.8")
    assert layout.recognise(tmp_path) is None
    dataset = open_dataset(tmp_path)
    assert dataset.layout == "folders"
    (pair,) = dataset.splits["train"]
    assert np.array_equal(read_sample(pair, dataset.space).labels, ORGAN)


def test_folders_of_images_and_nrrd_masks(dicom, tmp_path):
    nrrd = pytest.importorskip("nrrd")
    dicom.image("images/a.dcm", ORGAN.astype(np.int16), uid="1.1")
    (tmp_path / "masks").mkdir()
    nrrd.write(str(tmp_path / "masks" / "a.nrrd"), ORGAN.T[..., None])
    dataset = open_dataset(tmp_path)
    (pair,) = dataset.splits["train"]
    assert np.array_equal(read_sample(pair, dataset.space).labels, ORGAN)


@pytest.mark.parametrize(("name", "width", "liver"), [("23x38x3", 23, [4, 314, 4]), ("24x38x3", 24, [0, 315, 0])])
def test_real_series(data_dir, name, width, liver):
    root = data_dir / "medical_dcmqi" / name
    dataset, samples = labels(root)
    assert (dataset.layout, dataset.space.names) == ("dicom", ("background", "Liver"))
    assert list(samples) == ["image/IMG0001", "image/IMG0002", "image/IMG0003"]
    assert {sample.labels.shape for sample in samples.values()} == {(38, width)}
    assert [int(sample.labels.sum()) for sample in samples.values()] == liver
    volume, _ = pytest.importorskip("nrrd").read(str(root / "nrrd" / "label.nrrd"))
    assert np.array_equal([sample.labels for sample in samples.values()], volume.transpose(2, 1, 0))
    # The series of many frames is the same one once more.
    assert [note.split(":")[0] for note in recognise(root).notes] == ["multiframe/mf.dcm"]
    inspection = inspect_dataset(root)
    assert (inspection.images, inspection.channels, inspection.dtypes) == (3, (1,), ("int16",))
    assert not inspection.findings


def linked(target: Path, *sources: Path) -> Path:
    for source in sources:
        (target / source.name).symlink_to(source)
    return target


def test_real_volume_of_many_frames_is_segmented_by_place(data_dir, tmp_path):
    root = data_dir / "medical_dcmqi" / "23x38x3"
    dataset, samples = labels(linked(tmp_path, root / "multiframe", root / "seg"))
    assert list(samples) == ["multiframe/mf/000", "multiframe/mf/001", "multiframe/mf/002"]
    assert [int(sample.labels.sum()) for sample in samples.values()] == [4, 314, 4]
    assert dataset.splits["train"][0].image.frame == 0


def test_real_overlaps(data_dir, tmp_path):
    nrrd = pytest.importorskip("nrrd")
    root = data_dir / "medical_dcmqi"
    dataset, samples = labels(linked(tmp_path, root / "ct-3slice", root / "partial_overlaps.dcm"))
    assert dataset.space.names == ("background", "GREEN", "ORANGE", "PURPLE", "LIGHT_BLUE", "DARK_BLUE")
    assert list(samples) == ["ct-3slice/03", "ct-3slice/02", "ct-3slice/01"]  # from below
    counts = np.sum([np.bincount(sample.labels.ravel(), minlength=6) for sample in samples.values()], axis=0)
    assert counts.tolist() == [745927, 9602, 8849, 10648, 6693, 4713]
    (problem,) = recognise(tmp_path).problems
    assert (problem.kind, problem.path.name) == ("overlapping-segments", "partial_overlaps.dcm")
    layers = [nrrd.read(str(root / f"partial_overlaps-{number}.nrrd"))[0] > 0 for number in (1, 2, 3)]
    assert problem.detail.split(" voxels")[0] == f"{int((np.sum(layers, axis=0) > 1).sum()):,}" == "3,106"


def test_real_label_map_has_a_slice_without_frame(data_dir, tmp_path):
    root = data_dir / "medical_dcmqi"
    _, samples = labels(linked(tmp_path, root / "24x38x3" / "image", root / "sparse-labelmap-ppv5.dcm"))
    assert [int(sample.labels.sum()) for sample in samples.values()] == [315, 0, 315]


def test_real_tree_as_a_whole(data_dir):
    found = recognise(data_dir / "medical_dcmqi")
    pairs = found.splits["train"].pairs
    assert (found.layout, len(pairs), {pair.group for pair in pairs}) == ("dicom", 9, {"123456", "99000"})
    assert found.told.classes == ("background", "Liver", "GREEN", "ORANGE", "PURPLE", "LIGHT_BLUE", "DARK_BLUE")
    assert [problem.kind for problem in found.problems] == ["overlapping-segments"]
