"""Volumes are predicted as they are trained on, and the labels lie on the voxels they were made of."""

import gzip
import logging

import nibabel
import nrrd
import numpy as np
import pydicom
import pytest
from PIL import Image

from atrous.contract import AtrousError, LabelSpace
from atrous.data.grids import spacing, upright
from atrous.data.volumes import Slice, volume_header, volume_voxels
from atrous.prediction.sources import Source
from atrous.prediction.volume_files import volume_of
from atrous.prediction.volumes import predict_volume
from atrous.prediction.wanted import KINDS, Wanted

highdicom = pytest.importorskip("highdicom")

SPACE = LabelSpace(names=("background", "organ"), colours=((0, 0, 0), (221, 130, 101)))
MASKS = Wanted(save=("masks",))
OBLIQUE = np.array([[0.1, -0.7, 0.2, 11], [0.9, 0.1, 0.1, -7], [0.05, 0.1, 3, 40], [0, 0, 0, 1.0]])
AFFINES = {
    "axial": np.diag((1.0, 1.0, 3.0, 1.0)),
    "flipped": np.diag((-1.0, -4.0, 1.0, 1.0)),
    "sagittal": np.array([[0, 0, 5.0, 1], [-1, 0, 0, 2], [0, -1, 0, 3], [0, 0, 0, 1]]),
    "oblique": OBLIQUE,
}


def above(threshold, channel=0):
    """Return a scorer that finds the second class where a channel is above a threshold."""

    def score(images):
        found = (images[:, channel : channel + 1] > threshold).astype(np.float32)
        return np.concatenate([1 - found, found], axis=1)

    return score


def voxels(shape=(5, 6, 7), dtype=np.int16, high=1000):
    return np.random.default_rng(0).integers(-5, high, shape).astype(dtype)


def predicted(path, out, *, scorer=None, space=SPACE, wanted=MASKS, files=(), **more):
    return predict_volume(Source(path, "a 한", "volume", files), scorer or above(500), space, out, wanted, **more)


# NIfTI, NRRD, MetaImage


@pytest.mark.parametrize("name", AFFINES)
@pytest.mark.parametrize("kind", [nibabel.Nifti1Image, nibabel.Nifti2Image])
def test_labels_of_nifti_lie_on_its_voxels(name, kind, tmp_path):
    image = kind(voxels(), AFFINES[name])
    image.header.set_xyzt_units("mm", "sec")
    image.set_qform(AFFINES[name], 1)
    nibabel.save(image, tmp_path / "v.nii.gz")
    steps = []
    (path,) = predicted(tmp_path / "v.nii.gz", tmp_path / "out", progress=lambda *step: steps.append(step))
    assert path == tmp_path / "out/masks/a 한.nii.gz"
    made = nibabel.load(path)
    np.testing.assert_array_equal(np.asarray(made.dataobj), voxels() > 500)
    np.testing.assert_array_equal(made.affine, nibabel.load(tmp_path / "v.nii.gz").affine)
    assert (type(made), made.get_data_dtype()) == (kind, np.uint8)
    assert made.header.get_xyzt_units() == ("mm", "sec")
    assert steps == [(done, len(steps)) for done in range(1, len(steps) + 1)]


def test_slices_are_those_of_a_dataset(tmp_path):
    path = tmp_path / "v.nii"
    nibabel.save(nibabel.Nifti1Image(voxels(), AFFINES["sagittal"]), path)
    header = volume_header(path)
    view = upright(header)
    volume, seen = volume_of(path), []

    def scorer(images):
        seen.append(images[0, 0])
        return above(500)(images)

    predicted(path, tmp_path / "out", scorer=scorer)
    assert volume.count == len(seen) == view.shape(header.shape)[0] == 7
    assert volume.place == spacing(header, view)
    for index, image in enumerate(seen):
        np.testing.assert_array_equal(image, Slice(path, index, view).read()[..., 0])


def test_scaled_values_are_what_the_scorer_sees(tmp_path):
    image = nibabel.Nifti1Image(voxels(), OBLIQUE)
    image.header.set_slope_inter(2, -1000)
    image.dataobj  # noqa: B018
    nibabel.save(image, tmp_path / "v.nii.gz")
    stored = np.asarray(nibabel.load(tmp_path / "v.nii.gz").dataobj)
    (path,) = predicted(tmp_path / "v.nii.gz", tmp_path / "out", scorer=above(100))
    np.testing.assert_array_equal(np.asarray(nibabel.load(path).dataobj), stored > 100)


def test_channels_of_four_axes(tmp_path):
    array = voxels((5, 6, 7, 2))
    nibabel.save(nibabel.Nifti1Image(array, OBLIQUE), tmp_path / "v.nii")
    (path,) = predicted(tmp_path / "v.nii", tmp_path / "out", scorer=above(500, 1))
    made = nibabel.load(path)
    np.testing.assert_array_equal(np.asarray(made.dataobj), array[..., 1] > 500)


def test_nrrd_has_the_same_affine_as_nifti(tmp_path):
    header = {
        "space": "left-posterior-superior",
        "space directions": OBLIQUE[:3, :3].T,
        "space origin": OBLIQUE[:3, 3],
    }
    nrrd.write(str(tmp_path / "v.nrrd"), voxels(), header)
    (path,) = predicted(tmp_path / "v.nrrd", tmp_path / "out")
    made = nibabel.load(path)
    np.testing.assert_array_equal(np.asarray(made.dataobj), voxels() > 500)
    np.testing.assert_allclose(made.affine, np.diag((-1, -1, 1, 1)) @ OBLIQUE, atol=1e-5)


def test_metaimage_has_the_same_affine_as_nifti(tmp_path):
    turn = np.array([[0, -1, 0], [1, 0, 0], [0, 0, -1.0]])
    lines = [
        "NDims = 3", "DimSize = 5 6 7", "ElementType = MET_SHORT", "ElementSpacing = 1 2 3", "Offset = 4 5 6",
        f"TransformMatrix = {' '.join(map(str, turn.T.ravel()))}", "ElementDataFile = LOCAL", "",
    ]  # fmt: skip
    (tmp_path / "v.mha").write_bytes("\n".join(lines).encode() + voxels().transpose(2, 1, 0).tobytes())
    (path,) = predicted(tmp_path / "v.mha", tmp_path / "out")
    made = nibabel.load(path)
    np.testing.assert_array_equal(np.asarray(made.dataobj), voxels() > 500)
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = turn * (1, 2, 3), (4, 5, 6)
    np.testing.assert_allclose(made.affine, np.diag((-1, -1, 1, 1)) @ affine)


@pytest.mark.parametrize("shape", [(1, 6, 7), (5, 1, 7), (5, 6, 1), (1, 1, 1)])
def test_single_slices_and_voxels(shape, tmp_path):
    nibabel.save(nibabel.Nifti1Image(voxels(shape), OBLIQUE), tmp_path / "v.nii")
    mask, overlay = predicted(tmp_path / "v.nii", tmp_path / "out", wanted=Wanted(save=("masks", "overlays")))[::-1]
    np.testing.assert_array_equal(np.asarray(nibabel.load(mask).dataobj), voxels(shape) > 500)
    assert overlay == tmp_path / "out/overlays/a 한.jpg"


# What else is wanted


def test_every_kind_of_every_slice(tmp_path):
    nibabel.save(nibabel.Nifti1Image(voxels((8, 6, 4)), np.diag((2.0, 2.0, 5.0, 1.0))), tmp_path / "v.nii.gz")
    files = predicted(tmp_path / "v.nii.gz", tmp_path / "out", wanted=Wanted(save=KINDS))
    assert sorted(files) == sorted(path for path in (tmp_path / "out").rglob("*") if path.is_file())
    names = {path.relative_to(tmp_path / "out").as_posix() for path in files}
    assert len(names) == 5 * 4 + 2
    assert {"masks/a 한.nii.gz", "statistics/a 한.csv", "overlays/a 한/003.jpg", "probabilities/a 한/000.npz"} < names
    assert '"file_name": "a 한/002",' in (tmp_path / "out/coco/a 한/002.json").read_text()
    lines = (tmp_path / "out/statistics/a 한.csv").read_text().splitlines()
    count = int((voxels((8, 6, 4)) > 500).sum())
    assert lines[2].split(",")[1] == str(count)
    assert float(lines[2].split(",")[-1]) == pytest.approx(count * 20 / 1000)


def test_volumes_without_lengths_have_no_millilitres(tmp_path):
    image = nibabel.Nifti1Image(voxels(), None)
    image.header["pixdim"][1:4] = (0, np.nan, np.inf)
    (tmp_path / "v.nii").write_bytes(image.to_bytes())
    wanted = Wanted(save=("masks", "statistics"))
    mask, table = predicted(tmp_path / "v.nii", tmp_path / "out", wanted=wanted)
    assert table.read_text().splitlines()[1].endswith(",,,")
    np.testing.assert_array_equal(np.asarray(nibabel.load(mask).dataobj), voxels() > 500)


def test_slices_are_shown_alike_whatever_lies_around(tmp_path):
    image = np.full((64, 64, 3), -2000, np.int16)
    image[16:48, 16:48] = np.linspace(0, 1000, 32).astype(np.int16)[:, None, None]
    image[16:48, 16:48, 2] = 0
    nibabel.save(nibabel.Nifti1Image(image, np.diag((1.0, 1.0, 4.0, 1.0))), tmp_path / "v.nii")
    paths = predicted(tmp_path / "v.nii", tmp_path / "out", scorer=above(9999), wanted=Wanted(save=("overlays",)))
    first, last = (np.asarray(Image.open(path)) for path in (paths[0], paths[2]))
    assert (first.min(), first.max() > 250, last.max() < 10) == (0, True, True)


# Files that are bad


def test_files_that_are_damaged_leave_nothing(tmp_path):
    content = gzip.compress(nibabel.Nifti1Image(voxels((30, 30, 30)), OBLIQUE).to_bytes())
    for name, part in (("a.nii.gz", content[: len(content) // 2]), ("b.nii.gz", b""), ("c.nrrd", b"NRRD0004\n")):
        (tmp_path / name).write_bytes(part)
        with pytest.raises(AtrousError, match=name):
            predicted(tmp_path / name, tmp_path / "out", wanted=Wanted(save=KINDS))
    assert not (tmp_path / "out").exists()


def test_slices_too_large_and_scorers_that_do_not_fit(tmp_path):
    nibabel.save(nibabel.Nifti1Image(voxels(), OBLIQUE), tmp_path / "v.nii")
    with pytest.raises(AtrousError, match=r"v.nii: slices of 5 x 6 .* more than 29 pixels; raise --max-pixels"):
        predicted(tmp_path / "v.nii", tmp_path / "out", wanted=Wanted(max_pixels=29))
    with pytest.raises(AtrousError, match=r"v.nii: slice 0: the scorer returned"):
        predicted(tmp_path / "v.nii", tmp_path / "out", scorer=lambda images: np.zeros((1, 3, 2, 2), np.float32))


def test_a_limit_of_memory_that_cannot_hold_a_volume_is_refused(tmp_path):
    nibabel.save(nibabel.Nifti1Image(voxels(), OBLIQUE), tmp_path / "v.nii")
    words = r"v.nii: a limit of 5 ?MB cannot hold a volume of \d slices of 5 x 6 pixels and 2 classes: .* are needed"
    with pytest.raises(AtrousError, match=words):
        predicted(tmp_path / "v.nii", tmp_path / "out", wanted=Wanted(save=("masks",), max_memory=5_000_000))
    assert not (tmp_path / "out").exists()


def test_a_full_disk_keeps_the_mask_that_was_there(tmp_path, monkeypatch):
    nibabel.save(nibabel.Nifti1Image(voxels(), OBLIQUE), tmp_path / "v.nii")
    (path,) = predicted(tmp_path / "v.nii", tmp_path / "out")
    before = path.read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.write_bytes", full)
    with pytest.raises(AtrousError, match=r"could not be written \(No space left on device\)"):
        predicted(tmp_path / "v.nii", tmp_path / "out", scorer=above(0))
    assert path.read_bytes() == before
    assert [each for each in (tmp_path / "out").rglob("*") if each.is_file()] == [path]


# DICOM


def dicom(path, array, number=0, **more):
    """Write one slice of a series, 2 mm above the one before; attributes of `more` that are None are left out."""
    dataset = pydicom.Dataset()
    dataset.SOPClassUID, dataset.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.2", f"1.2.5.{number + 1}"
    dataset.SeriesInstanceUID, dataset.StudyInstanceUID, dataset.FrameOfReferenceUID = "1.2.1", "1.2.9", "1.2.3"
    dataset.PatientID, dataset.Modality, dataset.InstanceNumber = "p", "CT", 99 - number
    dataset.ImagePositionPatient, dataset.ImageOrientationPatient = [0, 0, 2 * number], [1, 0, 0, 0, 1, 0]
    dataset.PixelSpacing, dataset.SliceThickness = [0.5, 0.75], 2
    dataset.Rows, dataset.Columns = array.shape[:2]
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated = dataset.BitsStored = array.itemsize * 8
    dataset.HighBit, dataset.PixelRepresentation = array.itemsize * 8 - 1, int(array.dtype.kind == "i")
    for keyword, value in more.items():
        if value is None:
            delattr(dataset, keyword)
        else:
            setattr(dataset, keyword, value)
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.PixelData = array.tobytes() + b"\0" * (array.nbytes % 2)
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(path, enforce_file_format=True)
    return path


def series(folder, pictures, **more):
    """Write a series whose names run against its places."""
    return tuple(
        dicom(folder / f"{99 - number}.dcm", picture, number, **more) for number, picture in enumerate(pictures)
    )


def segmented(path, files):
    """Return the labels (slices, h, w) that others read from a segmentation, for these images."""
    read = highdicom.seg.segread(path)
    uids = [pydicom.dcmread(file, stop_before_pixels=True).SOPInstanceUID for file in files]
    return read.get_pixels_by_source_instance(uids, combine_segments=True, assert_missing_frames_are_empty=True)


@pytest.mark.parametrize("named", [True, False])
def test_a_series_gives_a_segmentation_of_its_images(named, tmp_path):
    pictures = voxels((4, 5, 7))
    files = series(tmp_path / "ct", pictures)
    (path,) = predicted(tmp_path / "ct", tmp_path / "out", files=files[::-1] if named else ())
    assert path == tmp_path / "out/masks/a 한.dcm"
    np.testing.assert_array_equal(segmented(path, files), pictures > 500)
    segment = pydicom.dcmread(path).SegmentSequence[0]
    assert (segment.SegmentLabel, segment.SegmentAlgorithmType) == ("organ", "AUTOMATIC")


def test_a_series_of_nothing_but_background(tmp_path, caplog):
    files = series(tmp_path / "ct", voxels((2, 5, 7)))
    with caplog.at_level(logging.WARNING):
        (path,) = predicted(tmp_path / "ct", tmp_path / "out", scorer=above(9999))
    assert not segmented(path, files).any()
    assert caplog.records == []


def test_classes_without_background_are_segments_all(tmp_path):
    pictures = voxels((2, 5, 7))
    files = series(tmp_path / "ct", pictures)
    space = LabelSpace(names=("fat", "organ"))
    (path,) = predicted(files[0], tmp_path / "out", space=space, files=files)
    np.testing.assert_array_equal(segmented(path, files), np.where(pictures > 500, 2, 1))
    last = LabelSpace(names=("fat", "void"))
    (path,) = predicted(files[0], tmp_path / "out", space=last, files=files)
    np.testing.assert_array_equal(segmented(path, files), pictures <= 500)


def test_one_image_of_colours_lies_in_space(tmp_path):
    picture = voxels((5, 7, 3), np.uint8, 255)
    file = dicom(tmp_path / "a.dcm", picture, SamplesPerPixel=3, PhotometricInterpretation="RGB", PlanarConfiguration=0)
    (path,) = predicted(file, tmp_path / "out", scorer=above(99, 1))
    np.testing.assert_array_equal(segmented(path, [file])[0], picture[..., 1] > 99)


def test_images_that_lie_nowhere_have_masks_of_slices(tmp_path, caplog):
    pictures = voxels((2, 5, 7))
    nowhere = dict.fromkeys(("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "FrameOfReferenceUID"))
    files = series(tmp_path / "xr", pictures, **nowhere)
    wanted = Wanted(save=("masks", "statistics"))
    *paths, table = predicted(tmp_path / "xr", tmp_path / "out", files=files, wanted=wanted)
    assert [path.relative_to(tmp_path / "out").as_posix() for path in paths] == [
        "masks/a 한/000.png",
        "masks/a 한/001.png",
    ]
    assert table.read_text().splitlines()[1].endswith(",,,")
    for path, picture in zip(paths, pictures[::-1], strict=True):  # their numbers run against their places
        np.testing.assert_array_equal(np.asarray(Image.open(path)), picture > 500)
    assert "Masks are written as PNG, a file per slice" in caplog.text


def test_slices_at_one_place_are_all_predicted_and_have_no_volume(tmp_path):
    pictures = voxels((2, 5, 7))
    files = series(tmp_path / "ct", pictures, ImagePositionPatient=[0, 0, 4])
    volume = volume_of(tmp_path / "ct", files)
    assert (volume.count, volume.place) == (2, None)


def test_dicom_that_is_refused(tmp_path):
    files = series(tmp_path / "ct", voxels((2, 5, 7)))
    (path,) = predicted(tmp_path / "ct", tmp_path / "out")
    with pytest.raises(AtrousError, match=r"a 한.dcm: this is a segmentation, and images are predicted"):
        predicted(path, tmp_path / "out")
    other = dicom(tmp_path / "ct" / "x.dcm", voxels((5, 7)), 7, SeriesInstanceUID="1.2.2")
    with pytest.raises(AtrousError, match=r"ct: 2 series of DICOM images came, .*Put each into a folder of its own"):
        predicted(tmp_path / "ct", tmp_path / "out")
    dicom(other, voxels((7, 5)), 7)
    with pytest.raises(AtrousError, match=r"x.dcm: 7 x 5 .*Move it away"):
        predicted(tmp_path / "ct", tmp_path / "out")
    content = files[0].read_bytes()
    files[0].write_bytes(content[:-20])
    with pytest.raises(AtrousError, match=r"99.dcm: this DICOM file is truncated or broken"):
        predicted(files[0], tmp_path / "out")
    (tmp_path / "empty").mkdir()
    with pytest.raises(AtrousError, match=r"empty: no DICOM images in this folder"):
        predicted(tmp_path / "empty", tmp_path / "out")


# Real volumes


def test_volumes_whose_rows_and_columns_differ(data_dir, tmp_path):
    folder = data_dir / "medical_dcmqi" / "23x38x3"
    expected = None
    for path in (folder / "image", folder / "multiframe" / "mf.dcm"):
        files = tuple(sorted(path.iterdir())) if path.is_dir() else ()
        volume = volume_of(path, files)
        pictures = np.stack([volume.read(index)[..., 0] for index in range(volume.count)])
        expected = pictures if expected is None else expected
        np.testing.assert_array_equal(pictures, expected)
        highest = float(pictures.max())
        (mask,) = predicted(
            path, tmp_path / path.name, scorer=lambda images, high=highest: above(-high)(-images), files=files
        )
        np.testing.assert_array_equal(volume_voxels(mask), pictures < highest)
        assert 0 < (pictures < highest).mean() < 1
        assert volume_header(mask).shape == (3, 38, 23)


def test_a_cord_and_its_labels_lie_alike(data_dir, tmp_path):
    path = next((data_dir / "medical_ivadomed").rglob("sub-unf01_T2w.nii.gz"))
    source = nibabel.load(path)
    (mask,) = predicted(path, tmp_path, scorer=above(300))
    made = nibabel.load(mask)
    np.testing.assert_array_equal(np.asarray(made.dataobj), np.asarray(source.dataobj) > 300)
    np.testing.assert_array_equal(made.affine, source.affine)
