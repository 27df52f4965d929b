"""NIfTI of every kind is read as nibabel reads it, and damaged files are named with words."""

import gzip
from contextlib import suppress

import nibabel
import numpy as np
import pytest

from atrous.contract import AtrousError
from atrous.data import nifti
from atrous.data.volumes import Slice, volume_header, volume_voxels


def expected(path):
    """Return the voxels in the order (slices, rows, columns), as nibabel reads them."""
    array = np.asarray(nibabel.load(path).dataobj)
    return array.transpose(2, 1, 0, *range(3, array.ndim))


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize("kind", [nibabel.Nifti1Image, nibabel.Nifti2Image])
@pytest.mark.parametrize("dtype", ["u1", "i1", "i2", "u2", "i4", "u4", "f4", "f8", ">i2", ">f4"])
def test_every_depth_order_and_version(tmp_path, suffix, kind, dtype):
    array = np.arange(24).reshape(2, 3, 4).astype(dtype)
    header = kind.header_class(endianness=np.dtype(dtype).newbyteorder("=").str[0].replace("|", "<"))
    if dtype.startswith(">"):
        header = kind.header_class(endianness=">")
    header.set_data_dtype(np.dtype(dtype).newbyteorder("="))
    path = tmp_path / f"a b 한{suffix}"
    nibabel.save(kind(array, np.diag((1, 2, 3, 1)), header), path)
    known = volume_header(path)
    assert (known.shape, known.channels, known.spacing) == ((4, 3, 2), 1, (3.0, 2.0, 1.0))
    np.testing.assert_array_equal(volume_voxels(path), expected(path))
    assert np.asarray(known.affine)[:3, :3].tolist() == [[0, 0, 1], [0, 2, 0], [3, 0, 0]]


def test_names_that_are_wrong_about_compression(tmp_path):
    nibabel.save(nibabel.Nifti1Image(np.ones((2, 3, 4), np.uint8), np.eye(4)), tmp_path / "a.nii")
    data = (tmp_path / "a.nii").read_bytes()
    (tmp_path / "plain.nii.gz").write_bytes(data)
    (tmp_path / "packed.nii").write_bytes(gzip.compress(data))
    for name in ("plain.nii.gz", "packed.nii"):
        assert volume_voxels(tmp_path / name).sum() == 24


@pytest.mark.parametrize(
    ("slope", "intercept", "dtype", "values"),
    [
        (2, -1024, np.int16, [-1024, -1022, -1020]),
        (1, 40000, np.uint16, [40000, 40001, 40002]),
        (0.5, 0, np.float32, [0, 0.5, 1]),
        (100000, 0, np.float32, [0, 100000, 200000]),
        (2.0**64, 0, np.float32, [0, 2.0**64, 2.0**65]),
        (1, 0, np.uint8, [0, 1, 2]),
    ],
)
def test_scaling(tmp_path, slope, intercept, dtype, values):
    header = nibabel.Nifti1Header()
    header.set_data_dtype(np.uint8)
    image = nibabel.Nifti1Image(np.zeros((3, 1, 1), np.uint8), np.eye(4), header)
    data = bytearray(image.to_bytes())
    data[112:120] = np.array([slope, intercept], "<f4").tobytes()
    data[352:355] = bytes([0, 1, 2])
    path = tmp_path / "a.nii"
    path.write_bytes(data)
    np.testing.assert_allclose(volume_voxels(path), expected(path))
    picture = Slice(path, 0).read()
    assert (picture.dtype, picture.ravel().tolist()) == (np.dtype(dtype), values)


def test_the_fourth_axis_is_channels(tmp_path):
    array = np.arange(48, dtype=np.int16).reshape(2, 3, 4, 2)
    nibabel.save(nibabel.Nifti1Image(array, np.eye(4)), tmp_path / "a.nii.gz")
    assert volume_header(tmp_path / "a.nii.gz").channels == 2
    np.testing.assert_array_equal(volume_voxels(tmp_path / "a.nii.gz"), array.transpose(2, 1, 0, 3))
    nibabel.save(nibabel.Nifti1Image(array[..., None, :], np.eye(4)), tmp_path / "vector.nii")
    np.testing.assert_array_equal(volume_voxels(tmp_path / "vector.nii"), array.transpose(2, 1, 0, 3))
    nibabel.save(nibabel.Nifti1Image(array[..., :1], np.eye(4)), tmp_path / "one.nii")
    assert volume_voxels(tmp_path / "one.nii").shape == (4, 3, 2)


@pytest.mark.parametrize("letters", ["RGB", "RGBA"])
def test_colour_volumes(tmp_path, letters):
    array = np.zeros((2, 3, 4), [(letter, "u1") for letter in letters])
    for value, letter in enumerate(letters):
        array[letter] = value + 1
    nibabel.save(nibabel.Nifti1Image(array, np.eye(4)), tmp_path / "a.nii.gz")
    assert volume_header(tmp_path / "a.nii.gz").channels == 3
    picture = Slice(tmp_path / "a.nii.gz", 0).read()
    assert (picture.shape, picture.dtype, picture[0, 0].tolist()) == ((3, 2, 3), np.dtype(np.uint8), [1, 2, 3])


def test_what_does_not_say_where_it_lies(tmp_path):
    image = nibabel.Nifti1Image(np.zeros((2, 3, 4), np.uint8), None)
    image.header["pixdim"][1:4] = (0, -2, np.nan)
    (tmp_path / "a.nii").write_bytes(image.to_bytes())
    header = nifti.header(tmp_path / "a.nii")
    assert (header.affine, header.spacing) == (None, (1.0, 2.0, 1.0))
    broken = nibabel.Nifti1Image(np.zeros((2, 3, 4), np.uint8), np.eye(4))
    data = bytearray(broken.to_bytes())
    data[280:328] = bytes(48)  # an sform that is flat
    (tmp_path / "flat.nii").write_bytes(data)
    assert nifti.header(tmp_path / "flat.nii").affine is None


@pytest.fixture
def packed(tmp_path):
    array = np.random.default_rng(0).integers(0, 255, (20, 20, 20)).astype(np.uint8)
    nibabel.save(nibabel.Nifti1Image(array, np.eye(4)), tmp_path / "a.nii.gz")
    return tmp_path / "a.nii.gz"


def flip(data, at):
    data = bytearray(data)
    data[at] ^= 255
    return bytes(data)


@pytest.mark.parametrize("part", ["half", "last bytes", "checksum", "middle", "promise"])
def test_damaged_voxels(packed, part):
    data = packed.read_bytes()
    whole = gzip.decompress(data)
    packed.write_bytes(
        {
            "half": data[: len(data) // 2],
            "last bytes": data[:-4],
            "checksum": flip(data, -8),
            "middle": flip(data, len(data) // 2),
            "promise": gzip.compress(whole[:-1]),
        }[part]
    )
    with pytest.raises(AtrousError, match=r"a\.nii\.gz: this NIfTI file is damaged \(.+\)\. Copy it again") as caught:
        volume_voxels(packed)
    assert caught.value.kind == "unreadable-file"
    assert volume_header(packed).shape == (20, 20, 20)  # the header is whole


@pytest.mark.parametrize("content", [b"", b"no volume", b"\x1f\x8b", bytes(400), b"\x1f\x8b\x08" + bytes(400)])
def test_damaged_headers(tmp_path, content):
    path = tmp_path / "a.nii.gz"
    path.write_bytes(content)
    with pytest.raises(AtrousError, match=r"a\.nii\.gz: this NIfTI file is damaged") as caught:
        volume_header(path)
    assert caught.value.kind == "unreadable-file"


def test_truncated_without_compression_and_missing(tmp_path):
    image = nibabel.Nifti1Image(np.zeros((2, 3, 4), np.uint8), np.eye(4))
    (tmp_path / "a.nii").write_bytes(image.to_bytes()[:-1])
    with pytest.raises(AtrousError, match=r"375 bytes came and the header promises 376"):
        volume_voxels(tmp_path / "a.nii")
    for path in (tmp_path / "none.nii", tmp_path):
        with pytest.raises(AtrousError, match="is damaged"):
            nifti.header(path)


def test_broken_extensions_and_affines_do_no_harm(tmp_path, recwarn):
    image = nibabel.Nifti1Image(np.ones((2, 3, 4), np.uint8), np.eye(4))
    image.header.extensions.append(nibabel.nifti1.Nifti1Extension("comment", b"of somebody"))
    data = bytearray(image.to_bytes())
    data[352:356] = np.array([33], "<i4").tobytes()  # the size of an extension, which is a multiple of 16
    data[280:284] = np.array([np.inf], "<f4").tobytes()
    (tmp_path / "a.nii").write_bytes(data)
    assert volume_header(tmp_path / "a.nii").affine is None
    assert volume_voxels(tmp_path / "a.nii").sum() == 24
    assert not recwarn.list


def test_complex_numbers(tmp_path):
    nibabel.save(nibabel.Nifti1Image(np.zeros((2, 3, 4), np.complex64), np.eye(4)), tmp_path / "a.nii")
    with pytest.raises(AtrousError, match="voxels of the type complex64 came"):
        volume_header(tmp_path / "a.nii")


@pytest.mark.parametrize("at", range(0, 348, 3))
def test_no_damaged_byte_raises_anything_else(tmp_path, at):
    image = nibabel.Nifti1Image(np.zeros((2, 3, 4), np.int16), np.eye(4))
    path = tmp_path / "a.nii"
    path.write_bytes(flip(image.to_bytes(), at))
    with suppress(AtrousError):
        volume_header(path)
        volume_voxels(path)


def test_without_nibabel(tmp_path, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "nibabel", None)
    with pytest.raises(AtrousError, match=r'NIfTI needs nibabel: pip install "atrous\[medical\]"') as caught:
        nifti.header(tmp_path / "a.nii")
    assert caught.value.kind is None


def test_real_volumes_are_read_as_nibabel_reads_them(data_dir):
    root = data_dir / "medical_ivadomed"
    path = root / "ct_scan/sub-spleen2/ct/sub-spleen2_ct.nii.gz"
    header = volume_header(path)
    assert header.shape == (26, 166, 164)
    assert header.spacing == pytest.approx((5, 0.795, 0.795), abs=1e-3)
    np.testing.assert_array_equal(volume_voxels(path), expected(path))
    assert Slice(path, 0).read().dtype == np.float32
