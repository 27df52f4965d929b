"""Volumes are cut into upright slices, image and mask lie on each other, and what does not fit is named."""

import os
import pickle
import re
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nibabel
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nibabel.orientations import apply_orientation, axcodes2ornt, inv_ornt_aff, io_orientation, ornt_transform

from atrous.contract import AtrousError
from atrous.data import opened_volumes, write_image
from atrous.data.found import Found
from atrous.data.grids import Spacing, View, VolumeHeader, alike, displacement, sound_affine, spacing, upright
from atrous.data.pairs import Matched, Pair
from atrous.data.parts import Channels, image_pixels, mask_pixels, renumbered
from atrous.data.volumes import Slice, sliced, volume_header, volume_voxels

RAS = np.diag((1.0, 1.0, 3.0, 1.0))
CODES = ("RAS", "LPS", "LAS", "PIR", "SRA", "AIL", "IPR", "RSA")


def save(path, array, affine=RAS):
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(array, affine), path)
    return path


def turned(image, codes):
    """Return nibabel's image stored with other axes, by nibabel's own means."""
    change = ornt_transform(io_orientation(image.affine), axcodes2ornt(tuple(codes)))
    array = apply_orientation(np.asarray(image.dataobj), change)
    return nibabel.Nifti1Image(array, image.affine @ inv_ornt_aff(change, image.shape))


def found(*pairs):
    return Found({"train": Matched(tuple(pairs))})


def pairs_of(cut):
    return cut.splits["train"].pairs


@pytest.fixture
def body():
    """A volume in RAS of 4 x 5 x 6 whose corners tell where they lie: 1 right, 2 front, 4 head."""
    array = np.zeros((4, 5, 6), np.uint8)
    array[3] += 1
    array[:, 4] += 2
    array[:, :, 5] += 4
    return array


@pytest.mark.parametrize("codes", CODES)
def test_axial_slices_are_upright_however_they_are_stored(tmp_path, body, codes):
    image = turned(nibabel.Nifti1Image(body, RAS), codes)
    nibabel.save(image, tmp_path / "a.nii.gz")
    cut = pairs_of(sliced(found(Pair("a", tmp_path / "a.nii.gz", None))))
    assert [pair.name for pair in cut] == [f"a/{index:03d}" for index in range(6)]
    assert {pair.group for pair in cut} == {"a"}
    top = cut[-1].image.read()[..., 0]
    assert top.shape == (5, 4)
    assert top[0, 0] == 4 + 2 + 1  # the front above, the right at the left
    assert (top[-1, 0], top[0, -1], top[-1, -1]) == (5, 6, 4)
    assert cut[0].image.read()[-1, -1, 0] == 0
    place = cut[0].image.place
    assert (place.pixel, place.slice) == ((1.0, 1.0), 3.0)
    at = np.asarray(place.affine) @ [5, 0, 0, 1]  # the last slice's first row and column: right, front, head
    assert at.tolist() == [3, 4, 15, 1]


def test_the_coarsest_axis_is_cut_else_the_axial_ones(tmp_path, body):
    coronal = save(tmp_path / "coronal.nii", body, np.diag((1.0, 4.0, 1.0, 1.0)))
    sagittal = save(tmp_path / "sagittal.nii", body, np.diag((4.0, 1.0, 1.0, 1.0)))
    nearly = save(tmp_path / "nearly.nii", body, np.diag((1.1, 1.0, 1.0, 1.0)))
    shapes = {}
    for path in (coronal, sagittal, nearly):
        cut = pairs_of(sliced(found(Pair(path.stem, path, None))))
        shapes[path.stem] = (len(cut), cut[-1].image.read()[..., 0])
    told = sliced(found(*(Pair(path.stem, path, None) for path in (coronal, sagittal, nearly)))).notes
    assert told == (
        "slices: 6 axial, 5 coronal, 4 sagittal. Volumes whose coarsest axes differ are cut across different planes",
    )
    assert {name: (count, picture.shape) for name, (count, picture) in shapes.items()} == {
        "coronal": (5, (6, 4)), "sagittal": (4, (6, 5)), "nearly": (6, (5, 4)),
    }  # fmt: skip
    # The last coronal slice is the hindmost, with head above and right at the left; the last sagittal one the leftmost.
    assert shapes["coronal"][1][0].tolist() == [5, 4, 4, 4]
    assert shapes["sagittal"][1][0].tolist() == [6, 4, 4, 4, 4]


def test_a_volume_of_one_slice_is_one_picture(tmp_path):
    array = np.arange(12, dtype=np.uint8).reshape(1, 3, 4)
    path = save(tmp_path / "a.nii", array, np.eye(4))
    (pair,) = pairs_of(sliced(found(Pair("a", path, path))))
    assert (pair.name, pair.group) == ("a", None)
    assert pair.image.read().shape == (4, 3, 1)
    assert pair.mask.read().tolist() == pair.image.read()[..., 0].tolist()
    flat = save(tmp_path / "flat.nii", array[0], np.eye(4))
    assert pairs_of(sliced(found(Pair("flat", flat, None))))[0].image.read().shape == (4, 3, 1)


@pytest.mark.parametrize("codes", CODES)
def test_image_and_mask_stored_otherwise_lie_on_each_other(tmp_path, codes):
    array = np.random.default_rng(0).integers(0, 200, (4, 5, 6)).astype(np.uint8)
    image = nibabel.Nifti1Image(array, RAS)
    nibabel.save(image, tmp_path / "a.nii")
    nibabel.save(turned(image, codes), tmp_path / "m.nii")
    cut = sliced(found(Pair("a", tmp_path / "a.nii", tmp_path / "m.nii")))
    assert cut.problems == ()
    for pair in pairs_of(cut):
        np.testing.assert_array_equal(pair.image.read()[..., 0], pair.mask.read())


@pytest.mark.parametrize(
    ("shape", "affine", "kind", "words"),
    [
        ((4, 5, 7), RAS, "size-differs", r"7 x 5 x 4 voxels came and .*a\.nii has 6 x 5 x 4 .*Resample"),
        ((5, 4, 6), RAS, "axes-swapped", r"6 x 4 x 5 voxels came .*transpose"),
        ((4, 5, 6), RAS + np.eye(4, k=3) * 9, "orientation-differs", r"lies 9\.0 voxels .*copy the affine"),
        ((4, 5, 6), RAS[[1, 0, 2, 3]], "orientation-differs", r"axes that point elsewhere: .*copy the affine"),
        ((4, 5, 6), np.diag((1, 1, -3, 1)), "orientation-differs", "voxels from where"),
        ((4, 5, 6, 2), RAS, "size-differs", "2 values per voxel came, and a mask has one label"),
    ],
)
def test_volumes_that_do_not_fit_become_problems(tmp_path, shape, affine, kind, words):
    image = save(tmp_path / "a.nii", np.zeros((4, 5, 6), np.uint8))
    mask = save(tmp_path / "m.nii", np.zeros(shape, np.uint8), affine)
    good = Pair("good", image, image)
    cut = sliced(found(Pair("a", image, mask), good))
    assert [(problem.kind, problem.path) for problem in cut.problems] == [(kind, mask)]
    assert re.search(words, cut.problems[0].detail)
    assert len(pairs_of(cut)) == 6  # the other pair stays


def test_affines_that_differ_by_rounding_fit(tmp_path):
    image = save(tmp_path / "a.nii", np.zeros((4, 5, 6), np.uint8))
    mask = save(tmp_path / "m.nii", np.zeros((4, 5, 6), np.uint8), RAS + 0.01)
    assert sliced(found(Pair("a", image, mask))).problems == ()


def test_a_file_that_does_not_say_where_it_lies_is_stored_as_the_other(tmp_path):
    array = np.random.default_rng(0).integers(0, 200, (4, 5, 6)).astype(np.uint8)
    image = save(tmp_path / "a.nii", array)
    unplaced = nibabel.Nifti1Image(array, None)
    nibabel.save(unplaced, tmp_path / "m.nii")
    assert volume_header(tmp_path / "m.nii").affine is None
    cut = sliced(found(Pair("a", image, tmp_path / "m.nii")))
    for pair in pairs_of(cut):
        np.testing.assert_array_equal(pair.image.read()[..., 0], pair.mask.read())


def test_headers_that_cannot_be_read_become_problems_and_the_rest_goes_on(tmp_path):
    good = save(tmp_path / "good.nii", np.zeros((4, 5, 6), np.uint8))
    bad = tmp_path / "very: bad.nii.gz"
    bad.write_bytes(b"no volume")
    cut = sliced(found(Pair("bad", bad, None), Pair("good", good, bad), Pair("gone", tmp_path / "gone.nrrd", None)))
    assert [(problem.kind, problem.path.name) for problem in cut.problems] == [
        ("unreadable-file", name) for name in ("very: bad.nii.gz", "very: bad.nii.gz", "gone.nrrd")
    ]
    assert "damaged" in cut.problems[0].detail
    assert pairs_of(cut) == ()


def test_enormous_and_empty_headers(tmp_path):
    path = save(tmp_path / "a.nii", np.zeros((4, 5, 6), np.uint8))
    data = bytearray(path.read_bytes())
    data[40:56] = np.array([3, 30000, 30000, 30000, 1, 1, 1, 1], "<i2").tobytes()
    path.write_bytes(data)
    with pytest.raises(AtrousError, match="30000 x 30000 x 30000 voxels with 1 channels, and up to") as caught:
        volume_header(path)
    assert caught.value.kind == "too-many-pixels"
    data[40:56] = np.array([3, 4, 0, 6, 1, 1, 1, 1], "<i2").tobytes()
    path.write_bytes(data)
    with pytest.raises(AtrousError, match="6 x 0 x 4 voxels with 1 channels came, which is empty"):
        volume_header(path)


def test_pictures_and_volumes_together(tmp_path):
    write_image(tmp_path / "a.png", np.arange(20, dtype=np.uint8).reshape(4, 5))
    one = save(tmp_path / "one.nii", np.arange(20, dtype=np.uint8).reshape(4, 5).T[..., None], np.diag((-1, -1, 1, 1)))
    many = save(tmp_path / "many.nii", np.zeros((5, 4, 3), np.uint8))
    cut = sliced(found(Pair("a", tmp_path / "a.png", one)))
    (pair,) = pairs_of(cut)
    np.testing.assert_array_equal(image_pixels(pair.image)[..., 0], mask_pixels(pair.mask))
    cut = sliced(found(Pair("a", tmp_path / "a.png", many), Pair("b", many, tmp_path / "a.png")))
    assert pairs_of(cut) == ()
    assert [problem.kind for problem in cut.problems] == ["size-differs"] * 2
    assert "this is one picture, and" in cut.problems[0].detail


def test_channels_and_parts_of_parts_are_cut(tmp_path):
    rng = np.random.default_rng(0)
    first = save(tmp_path / "a_0000.nii", rng.integers(0, 9, (4, 5, 6)).astype(np.int16))
    second = turned(nibabel.load(first), "LPS")
    nibabel.save(second, tmp_path / "a_0001.nii")
    mask = save(tmp_path / "m.nii", np.full((4, 5, 6), 2, np.uint8))
    cut = sliced(found(Pair("a", Channels((first, tmp_path / "a_0001.nii")), renumbered(mask, {2: 1}), group="p")))
    (pair, *rest) = pairs_of(cut)
    assert len(rest) == 5
    pixels = image_pixels(pair.image)
    assert (pixels.shape, pixels.dtype) == ((5, 4, 2), np.dtype(np.int16))
    np.testing.assert_array_equal(pixels[..., 0], pixels[..., 1])
    assert (mask_pixels(pair.mask) == 1).all()
    assert (pair.group, pair.image.place.slice) == ("p", 3.0)
    other = save(tmp_path / "b_0001.nii", np.zeros((4, 5, 7), np.uint8))
    cut = sliced(found(Pair("b", Channels((first, other)), None)))
    assert [(problem.kind, problem.path) for problem in cut.problems] == [("size-differs", other)]


def test_nothing_to_cut_is_the_same_object(tmp_path):
    plain = found(Pair("a", tmp_path / "a.png", None))
    assert sliced(plain) is plain


def test_slices_are_hashable_and_survive_a_worker(tmp_path):
    path = save(tmp_path / "a.nii.gz", np.arange(120, dtype=np.uint8).reshape(4, 5, 6))
    pair = pairs_of(sliced(found(Pair("a", path, path))))[2]
    again = pickle.loads(pickle.dumps(pair))
    assert again == pair
    assert hash(again.image) == hash(pair.image)
    np.testing.assert_array_equal(again.image.read(), pair.image.read())


def test_a_volume_is_read_once_and_again_when_it_changed(tmp_path, monkeypatch):
    path = save(tmp_path / "a.nii.gz", np.zeros((4, 5, 6), np.uint8))
    calls = []

    def counted(which):
        calls.append(which)
        return volume_voxels(which)

    monkeypatch.setattr("atrous.data.volumes.volume_voxels", counted)
    cut = pairs_of(sliced(found(Pair("a", path, None))))
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda pair: pair.image.read(), cut))
    assert calls == [path]
    cut[0].image.read()[:] = 9  # what was read is the reader's own
    assert cut[0].image.read().max() == 0
    save(path, np.full((4, 5, 6), 7, np.uint8))
    os.utime(path, ns=(1, 1))
    assert cut[0].image.read().max() == 7
    assert len(calls) == 2


def test_few_bytes_are_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(opened_volumes, "MAX_BYTES", 300)
    monkeypatch.setattr(opened_volumes, "_volumes", type(opened_volumes._volumes)())
    for name in "abcd":
        path = save(tmp_path / f"{name}.nii.gz", np.zeros((4, 5, 6), np.uint8))
        Slice(path, 0).read()
    assert [Path(key[0]).name for key in opened_volumes._volumes] == ["c.nii.gz", "d.nii.gz"]
    plain = save(tmp_path / "e.nii", np.zeros((4, 5, 6), np.uint8))
    Slice(plain, 0).read()
    assert len(opened_volumes._volumes) == 3  # that one lies in its file


def test_a_slice_that_is_not_there(tmp_path):
    path = save(tmp_path / "a.nii", np.zeros((4, 5, 6), np.uint8))
    with pytest.raises(AtrousError, match=r"a\.nii: slice 6 is wanted and the volume has 6"):
        Slice(path, 6).read()
    path.unlink()
    with pytest.raises(AtrousError, match="cannot be read") as caught:
        Slice(path, 0).read()
    assert caught.value.kind == "unreadable-file"


@pytest.mark.parametrize(
    ("values", "dtype"),
    [
        ([0, 255], np.uint8), ([0, 65535], np.uint16), ([-5, 5], np.int16), ([0.5, 2], np.float32),
    ],
)  # fmt: skip
@pytest.mark.parametrize("order", "<>")
def test_depths_that_are_kept(values, dtype, order):
    array = np.array(values, np.dtype(dtype).newbyteorder(order))
    kept = opened_volumes.image_depth(array)
    assert (kept.dtype, kept.dtype.isnative, kept.tolist()) == (np.dtype(dtype), True, values)


@pytest.mark.parametrize(
    ("array", "dtype"),
    [
        (np.array([-1, 1], np.int8), np.int16), (np.array([0, 40000], np.int32), np.uint16),
        (np.array([-1, 40000], np.int64), np.float32), (np.array([0.5]), np.float32), (np.array([True]), np.uint8),
        (np.array([], np.int32), np.float32),
    ],
)  # fmt: skip
def test_depths_that_are_not(array, dtype):
    kept = opened_volumes.image_depth(array)
    assert kept.dtype == dtype
    assert kept.tolist() == array.tolist()


def test_labels_are_whole(tmp_path):
    mask = np.zeros((4, 5, 6), np.float32)
    mask[0, 0, 0] = 3
    path = save(tmp_path / "m.nii", mask)
    read = Slice(path, 0, labels=True).read()
    assert (read.dtype, int(read.max())) == (np.dtype(np.int32), 3)
    mask[1, 1, 1] = 0.25
    save(path, mask)
    with pytest.raises(AtrousError, match=r"1 voxels .*not whole numbers .*such as 0\.25.*from 0 to 3") as caught:
        Slice(path, 0, labels=True).read()
    assert caught.value.kind == "soft-mask"
    mask[1, 1, 1] = np.nan
    save(path, mask)
    with pytest.raises(AtrousError, match=r"1 voxels of this mask are not numbers"):
        Slice(path, 0, labels=True).read()


def test_what_is_not_finite_in_an_image_is_0(tmp_path):
    image = np.ones((4, 5, 6), np.float32)
    image[0, 0, 0], image[1, 0, 0] = np.nan, np.inf
    path = save(tmp_path / "a.nii", image)
    read = Slice(path, 0).read()
    assert (read.shape, int((read == 0).sum()), int((read == 1).sum())) == ((5, 4, 1), 2, 18)


@settings(deadline=None, max_examples=60)
@given(
    axes=st.permutations(range(3)),
    backwards=st.tuples(*[st.booleans()] * 3),
    shape=st.tuples(*[st.integers(1, 4)] * 3),
    channels=st.sampled_from([(), (2,)]),
)
def test_a_view_is_undone_and_its_matrix_tells_the_same(axes, backwards, shape, channels):
    view = View(tuple(axes), backwards)
    array = np.arange(np.prod((*shape, *channels))).reshape(*shape, *channels)
    pictures = view.turned(array)
    assert pictures.shape[:3] == view.shape(shape)
    if not channels:
        np.testing.assert_array_equal(view.stored(pictures), array)
    for index in np.ndindex(pictures.shape[:3]):
        source = (view.matrix(shape) @ [*index, 1]).astype(int)[:3]
        np.testing.assert_array_equal(pictures[index], array[tuple(source)])


@settings(deadline=None, max_examples=60)
@given(
    axes=st.permutations(range(3)),
    backwards=st.tuples(*[st.booleans()] * 3),
    angles=st.tuples(*[st.floats(-0.5, 0.5)] * 3),
)
def test_a_volume_stored_otherwise_is_met_also_when_it_is_oblique(axes, backwards, angles):
    x, y, z = angles
    turn = np.eye(4)
    for (a, b), angle in zip(((1, 2), (0, 2), (0, 1)), (x, y, z), strict=True):
        step = np.eye(4)
        step[[a, a, b, b], [a, b, a, b]] = np.cos(angle), -np.sin(angle), np.sin(angle), np.cos(angle)
        turn = turn @ step
    affine = turn @ np.diag((0.7, 0.9, 3, 1))
    header = VolumeHeader((3, 4, 5), spacing=(0.7, 0.9, 3), affine=sound_affine(affine))
    other_view = View(tuple(axes), backwards)
    shape = other_view.shape(header.shape)
    other = VolumeHeader(shape, affine=sound_affine(affine @ other_view.matrix(header.shape)))
    view = upright(header)
    same = alike(header, view, other)
    assert same.shape(shape) == view.shape(header.shape)
    assert displacement(header, view, other, same) < 1e-6


def test_affines_that_no_space_has_are_none():
    assert sound_affine(np.zeros((4, 4))) is None
    assert sound_affine(np.full((4, 4), np.nan)) is None
    assert sound_affine(np.diag((1, 1, 0, 1))) is None
    assert sound_affine(np.eye(3)) is None
    assert sound_affine(np.diag((1e-4, 1e-4, 1e-4, 1))) is not None


def test_without_affine_the_order_stays_and_the_spacing_tells_the_cut():
    header = VolumeHeader((4, 5, 6), spacing=(1, 1, 5))
    assert upright(header) == View((2, 0, 1))
    assert spacing(header, upright(header)) == Spacing((1, 1), 5)
    assert upright(VolumeHeader((4, 5, 6))) == View()
    assert upright(VolumeHeader((4, 5, 6), spacing=(1, 1, 5), as_stored=True)) == View()


def test_real_volumes_side_by_side(data_dir):
    folder = data_dir / "mmseg_samples"
    cut = sliced(found(Pair("a", folder / "biomedical.nii.gz", folder / "biomedical_ann.nii.gz")))
    pairs = pairs_of(cut)
    assert (len(pairs), cut.problems) == (35, ())
    assert (pairs[0].image.read().shape, pairs[0].image.read().dtype) == ((51, 35, 1), np.dtype(np.uint8))
    assert {int(value) for pair in pairs for value in np.unique(pair.mask.read())} == {0, 1, 2}
    source = np.asarray(nibabel.load(folder / "biomedical.nii.gz").dataobj)  # stored as RAS
    np.testing.assert_array_equal(pairs[9].image.read()[..., 0], source[::-1, ::-1, 9].T)


def test_real_frames_of_dicom_beside_nrrd(data_dir):
    """The frames are shown as stored, and the NRRD of the same place is laid on them."""
    folder = data_dir / "medical_dcmqi/23x38x3"
    cut = sliced(found(Pair("a", folder / "multiframe/mf.dcm", folder / "nrrd/label.nrrd")))
    assert cut.problems == ()
    assert [pair.image.read().shape for pair in pairs_of(cut)] == [(38, 23, 1)] * 3
    masks = [pair.mask.read() for pair in pairs_of(cut)]
    stored = volume_voxels(folder / "nrrd/label.nrrd")
    assert sorted(int(mask.sum()) for mask in masks) == sorted(stored.sum(axis=(1, 2)).tolist())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks on this system")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_fork_while_a_volume_is_read_does_not_hang(tmp_path):
    path = save(tmp_path / "a.nii.gz", np.full((4, 5, 6), 7, np.uint8))
    key = opened_volumes._key(path, False)
    reading = opened_volumes._reading.setdefault(key, threading.Lock())
    with opened_volumes._lock, reading:  # as other threads hold them, which a fork leaves behind
        child = os.fork()
        if child == 0:
            signal.alarm(10)
            os._exit(0 if Slice(path, 0).read().max() == 7 else 1)
    assert os.waitpid(child, 0)[1] == 0
    del opened_volumes._reading[key]


@pytest.mark.parametrize("flipped", ["image", "mask"])
def test_a_picture_beside_a_volume_that_is_turned(tmp_path, flipped):
    array = np.arange(20, dtype=np.uint8).reshape(4, 5)
    write_image(tmp_path / "a.png", array)
    volume = save(tmp_path / "one.nii", array.T[..., None], np.diag((1, 1, 5, 1)))
    sources = (volume, tmp_path / "a.png") if flipped == "image" else (tmp_path / "a.png", volume)
    cut = sliced(found(Pair("a", *sources)))
    assert pairs_of(cut) == ()
    (problem,) = cut.problems
    assert (problem.kind, problem.path.name) == ("orientation-differs", "a.png")
    assert problem.detail.startswith("a picture does not say which way is up, and ")
    nibabel.save(nibabel.Nifti1Image(array.T[..., None], None), volume)  # which does not say either
    (pair,) = pairs_of(sliced(found(Pair("a", *sources))))
    np.testing.assert_array_equal(image_pixels(pair.image)[..., 0], mask_pixels(pair.mask))


@pytest.mark.parametrize("patients", [("one", "two"), ("same", "same"), ("", "")])
def test_slices_in_files_of_their_own_are_grouped(tmp_path, dicom, patients):
    pairs = []
    for number, patient in enumerate(patients):
        write_image(tmp_path / "mask.png", np.zeros((4, 6), np.uint8))
        for path in dicom.series(f"images/{number}", 3, series=f"1.2.{number}", patient=patient):
            pairs.append(Pair(f"{number}/{path.stem}", path, tmp_path / "mask.png"))
    groups = {pair.group for pair in pairs_of(sliced(found(*pairs)))}
    assert groups == (set(patients) if patients[0] == "one" else {"1.2.0", "1.2.1"})
    (pair,) = pairs_of(sliced(found(Pair("a", tmp_path / "images/0/IMG0000.dcm", tmp_path / "mask.png", "mine"))))
    assert pair.group == "mine"
