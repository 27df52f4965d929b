"""Labels written as NIfTI lie exactly where their images lie, and are read again as they were."""

import nibabel
import nrrd
import numpy as np
import pytest

from atrous.contract import AtrousError, LabelSpace
from atrous.data import Dataset, Pair, open_dataset, read_sample, write_image
from atrous.data.conversion import nifti
from atrous.data.found import Found
from atrous.data.pairs import Matched
from atrous.data.parts import Channels, image_pixels, mask_pixels
from atrous.data.volumes import sliced

SPACE = LabelSpace(names=("background", "organ", "tumour"), values=(0, 5, 9))
OBLIQUE = np.array([[0.1, -0.7, 0.2, 11], [0.9, 0.1, 0.1, -7], [0.05, 0.1, 3, 40], [0, 0, 0, 1.0]])


def dataset(root, *pairs, space=SPACE):
    cut = sliced(Found({"train": Matched(tuple(pairs))}))
    assert cut.problems == ()
    return Dataset(root, "folders", {"train": cut.splits["train"].pairs}, space, False)


def arrays():
    rng = np.random.default_rng(0)
    return rng.integers(0, 1000, (4, 5, 6)).astype(np.int16), rng.choice([0, 5, 9, 255], (4, 5, 6)).astype(np.uint8)


def assert_same_again(root, name, image, source, labels_of):
    """Read the image with the written labels, slice by slice, and compare with the labels that were written."""
    cut = sliced(Found({"train": Matched((Pair(name, image, root / f"labels/{name}.nii.gz"),))}))
    assert cut.problems == ()
    for pair in cut.splits["train"].pairs:
        np.testing.assert_array_equal(mask_pixels(pair.mask), labels_of(pair.name))
        np.testing.assert_array_equal(image_pixels(pair.image), image_pixels(source[pair.name].image))


@pytest.mark.parametrize("kind", [nibabel.Nifti1Image, nibabel.Nifti2Image])
@pytest.mark.parametrize("affine", [np.diag((1, 1, 3, 1)), np.diag((-1, -4, 1, 1)), OBLIQUE])
@pytest.mark.parametrize("order", "<>")
def test_beside_nifti(tmp_path, kind, affine, order):
    image, labels = arrays()
    header = kind.header_class(endianness=order)
    header["descrip"] = b"of somebody"
    header.set_xyzt_units("mm", "sec")
    source = kind(image, affine, header)
    source.set_qform(affine, 1)
    nibabel.save(source, tmp_path / "a 한.nii")
    nibabel.save(kind(labels, affine), tmp_path / "m.nii.gz")
    made = dataset(tmp_path, Pair("in/a 한", tmp_path / "a 한.nii", tmp_path / "m.nii.gz"))
    steps = []
    paths = nifti.write(made, tmp_path / "out", progress=lambda *step: steps.append(step))
    assert [path.relative_to(tmp_path).as_posix() for path in paths] == [
        "out/labels/in/a 한.nii.gz",
        "out/classes.json",
    ]
    assert steps[-1] == (len(made.splits["train"]),) * 2
    written, came = nibabel.load(paths[0]), nibabel.load(tmp_path / "a 한.nii")
    assert type(written) is kind
    np.testing.assert_array_equal(written.affine, came.affine)
    for field in ("sform_code", "qform_code", "xyzt_units"):
        assert written.header[field] == came.header[field]
    np.testing.assert_array_equal(written.header.get_zooms(), came.header.get_zooms())
    expected = np.select([labels == 5, labels == 9, labels == 255], [1, 2, 255], 0)
    np.testing.assert_array_equal(np.asarray(written.dataobj), expected)
    assert written.get_data_dtype() == np.uint8
    by_name = {pair.name: pair for pair in made.splits["train"]}
    assert_same_again(
        tmp_path / "out",
        "in/a 한",
        tmp_path / "a 한.nii",
        by_name,
        lambda name: read_sample(by_name[name], SPACE).labels,
    )


def test_beside_nrrd(tmp_path):
    image, labels = arrays()
    fields = {"space": "LPS", "space directions": np.diag((0.7, 0.7, 2.5)), "space origin": np.array([46.0, 5, -177])}
    nrrd.write(str(tmp_path / "a.nrrd"), image, fields)
    nrrd.write(str(tmp_path / "m.nrrd"), labels, fields)
    made = dataset(tmp_path, Pair("a", tmp_path / "a.nrrd", tmp_path / "m.nrrd"))
    nifti.write(made, tmp_path / "out")
    written = nibabel.load(tmp_path / "out/labels/a.nii.gz")
    np.testing.assert_allclose(written.affine, np.diag((-1, -1, 1, 1)) @ [
        [0.7, 0, 0, 46], [0, 0.7, 0, 5], [0, 0, 2.5, -177], [0, 0, 0, 1],
    ], atol=1e-5)  # fmt: skip
    by_name = {pair.name: pair for pair in made.splits["train"]}
    assert_same_again(
        tmp_path / "out", "a", tmp_path / "a.nrrd", by_name, lambda name: read_sample(by_name[name], SPACE).labels
    )
    unplaced = tmp_path / "b.nrrd"
    nrrd.write(str(unplaced), image, {"spacings": [1.0, 2.0, 3.0]})
    nifti.write(dataset(tmp_path, Pair("b", unplaced, unplaced), space=of(image)), tmp_path / "out")
    written = nibabel.load(tmp_path / "out/labels/b.nii.gz")
    assert (written.header.get_zooms(), int(written.header["sform_code"])) == ((1.0, 2.0, 3.0), 0)


def of(image):
    """Return a space in which every value of an image is background, but the largest."""
    values = np.unique(image).tolist()
    return LabelSpace(names=tuple(map(str, values)), values=tuple(values))


def test_pictures_are_volumes_of_one_slice(tmp_path):
    labels = np.arange(6, dtype=np.uint8).reshape(2, 3)
    write_image(tmp_path / "images/a.png", labels)
    write_image(tmp_path / "masks/a.png", labels)
    write_image(tmp_path / "images/b.png", labels)
    masks = {"a": tmp_path / "masks/a.png", "b": None}
    pairs = tuple(Pair(f"images/{name}", tmp_path / f"images/{name}.png", mask) for name, mask in masks.items())
    made = Dataset(tmp_path, "folders", {"train": pairs}, LabelSpace(names=tuple("abcdef")), False)
    told = []
    paths = nifti.write(made, tmp_path / "out", say=told.append)
    assert [path.name for path in paths] == ["a.nii.gz", "classes.json"]
    assert told == ["1 volumes or pictures have no mask and were left out"]
    written = nibabel.load(paths[0])
    assert (written.shape, written.header.get_zooms()) == ((3, 2, 1), (1.0, 1.0, 1.0))
    (pair,) = sliced(Found({"train": Matched((Pair("a", tmp_path / "images/a.png", paths[0]),))})).splits["train"].pairs
    np.testing.assert_array_equal(mask_pixels(pair.mask), labels)


def test_channels_and_slices_without_labels(tmp_path):
    image, labels = arrays()
    nibabel.save(nibabel.Nifti1Image(image, OBLIQUE), tmp_path / "a_0000.nii")
    nibabel.save(nibabel.Nifti1Image(image, OBLIQUE), tmp_path / "a_0001.nii")
    nibabel.save(nibabel.Nifti1Image(labels, OBLIQUE), tmp_path / "m.nii")
    channels = Channels((tmp_path / "a_0000.nii", tmp_path / "a_0001.nii"))
    whole = dataset(tmp_path, Pair("a", channels, tmp_path / "m.nii", group="patient"))
    some = Dataset(tmp_path, "folders", {"train": whole.splits["train"][1:]}, SPACE, False)
    nifti.write(whole, tmp_path / "whole")
    nifti.write(some, tmp_path / "some")
    first, second = (
        np.asarray(nibabel.load(tmp_path / f"{name}/labels/a.nii.gz").dataobj) for name in ("whole", "some")
    )
    differs = first != second
    assert np.unique(second[differs]).tolist() == [255]
    assert sorted(set(np.nonzero(differs)[2].tolist())) in ([0], [5])  # one slice of the six


def test_what_was_there_stays_when_reading_fails(tmp_path):
    image, labels = arrays()
    nibabel.save(nibabel.Nifti1Image(image, OBLIQUE), tmp_path / "a.nii")
    nibabel.save(nibabel.Nifti1Image(labels, OBLIQUE), tmp_path / "m.nii")
    made = dataset(tmp_path, Pair("a", tmp_path / "a.nii", tmp_path / "m.nii"))
    (path, _) = nifti.write(made, tmp_path / "out")
    before = path.read_bytes()
    assert nifti.write(made, tmp_path / "out")[0].read_bytes() == before
    narrow = Dataset(tmp_path, "folders", made.splits, LabelSpace(names=("a",)), False)
    with pytest.raises(AtrousError, match="label 5"):
        nifti.write(narrow, tmp_path / "out")
    assert path.read_bytes() == before
    assert sorted(each.name for each in path.parent.iterdir()) == ["a.nii.gz"]


def test_real_volumes(data_dir, tmp_path):
    for folder in ("medical_ivadomed/ct_scan", "medical_ivadomed"):
        made = open_dataset(data_dir / folder)
        paths = nifti.write(made, tmp_path / folder.replace("/", "_"))
        assert len(paths) == {"medical_ivadomed": 4}.get(folder, 2)
    written = nibabel.load(tmp_path / "medical_ivadomed_ct_scan/labels/sub-spleen2/ct/sub-spleen2_ct.nii.gz")
    labels = data_dir / "medical_ivadomed/ct_scan/derivatives/labels/sub-spleen2/ct/sub-spleen2_ct_seg-manual.nii.gz"
    truth = nibabel.load(labels)
    np.testing.assert_array_equal(np.asarray(written.dataobj), np.asarray(truth.dataobj))
    np.testing.assert_array_equal(written.affine, truth.affine)


def test_a_real_series_of_dicom(data_dir, tmp_path):
    made = open_dataset(data_dir / "medical_dcmqi/23x38x3")
    paths = nifti.write(made, tmp_path)
    volumes = [nibabel.load(path) for path in paths[:-1]]
    assert volumes
    truth, header = nrrd.read(str(data_dir / "medical_dcmqi/23x38x3/nrrd/label.nrrd"))
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = header["space directions"].T, header["space origin"]
    np.testing.assert_allclose(volumes[0].affine, np.diag((-1, -1, 1, 1)) @ affine, atol=1e-3)
    assert volumes[0].shape == truth.shape
    assert ((np.asarray(volumes[0].dataobj) > 0) == (truth > 0)).all()


def two_series(dicom, *, folders):
    """Write two series of one patient, each with a segmentation; the second is labelled in its last slice alone."""
    for number, (folder, size) in enumerate(zip(folders, ((4, 6), (4, 6)), strict=True), start=1):
        series = f"1.2.{number}"
        dicom.series(folder, 3, size=size, series=series, space=f"1.3.{number}", patient="Someone^Known")
        frames = [
            (1, 2.0 * place, f"{series}.{1 + place}", np.full(size, number == 1 or place == 2)) for place in range(3)
        ]
        dicom.segmentation(f"seg{number}.dcm", frames, uid=f"1.4.{number}", series=series, space=f"1.3.{number}",
                           patient="Someone^Known")  # fmt: skip


def test_two_series_of_a_patient_are_two_volumes(dicom, tmp_path):
    two_series(dicom, folders=("study/ct", "study/mr"))
    made = open_dataset(tmp_path)
    assert len({pair.group for pairs in made.splits.values() for pair in pairs}) <= 2
    paths = nifti.write(made, tmp_path / "out")
    assert [path.relative_to(tmp_path / "out").as_posix() for path in paths] == [
        "labels/study/ct.nii.gz", "labels/study/mr.nii.gz", "classes.json",
    ]  # fmt: skip
    first, second = (np.asarray(nibabel.load(path).dataobj) for path in paths[:2])
    assert (first.shape, second.shape) == ((6, 4, 3), (6, 4, 3))
    assert (first == 1).all()
    assert [bool(second[:, :, index].all()) for index in range(3)] == [False, False, True]


def test_two_series_in_one_folder_have_names_of_their_own(dicom, tmp_path):
    two_series(dicom, folders=("ct", "elsewhere"))
    for path in sorted((tmp_path / "elsewhere").iterdir()):
        path.rename(tmp_path / "ct" / f"x{path.name}")
    (tmp_path / "elsewhere").rmdir()
    paths = nifti.write(open_dataset(tmp_path), tmp_path / "out")
    assert [path.name for path in paths] == ["ct.nii.gz", "ct-2.nii.gz", "classes.json"]


def test_real_series_of_patients_without_names(data_dir, tmp_path):
    made = open_dataset(data_dir / "medical_dcmqi")
    paths = nifti.write(made, tmp_path)
    assert [path.relative_to(tmp_path / "labels").as_posix() for path in paths[:-1]] == [
        "23x38x3/image.nii.gz", "24x38x3/image.nii.gz", "ct-3slice.nii.gz",
    ]  # fmt: skip
    by_file = {pair.image.path: pair for pairs in made.splits.values() for pair in pairs}
    for path, shape in zip(paths, [(23, 38, 3), (24, 38, 3), (512, 512, 3)], strict=False):
        volume = nibabel.load(path)
        array = np.asarray(volume.dataobj)
        assert array.shape == shape
        name = path.relative_to(tmp_path / "labels").as_posix().removesuffix(".nii.gz")
        members = [pair for file, pair in by_file.items() if file.parent == data_dir / "medical_dcmqi" / name]
        assert len(members) == 3
        for pair in members:
            origin = np.asarray(pair.image.place.affine)[:, 3]
            index = round(float((np.linalg.inv(volume.affine) @ origin)[2]))
            np.testing.assert_array_equal(array[:, :, index].T, read_sample(pair, made.space).labels)
