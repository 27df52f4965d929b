"""NRRD and MetaImage: voxels, spacing and where they lie, as other readers have them."""

import sys
import zlib

import nrrd as library
import numpy as np
import pytest

from atrous.contract import AtrousError
from atrous.data import metaimage, nrrd
from atrous.data.volumes import Slice, upright, volume_header, volume_voxels

ARRAY = np.arange(24).reshape(2, 3, 4)  # columns, rows, slices
PLACED = {
    "space": "left-posterior-superior",
    "space directions": np.diag((1.0, 2.0, 3.0)),
    "space origin": np.array([10.0, 20.0, 30.0]),
    "kinds": ["domain"] * 3,
}


def saved(path, array, fields=None, **options):
    library.write(str(path), array, {**PLACED, **(fields or {})}, **options)
    return path


@pytest.mark.parametrize("encoding", ["raw", "gzip", "bzip2", "ascii"])
@pytest.mark.parametrize("dtype", ["u1", "i2", ">u2", "i4", "f4", "f8"])
def test_every_encoding_and_depth(tmp_path, encoding, dtype):
    path = saved(tmp_path / "a b 한.nrrd", ARRAY.astype(dtype), {"encoding": encoding})
    header = volume_header(path)
    assert (header.shape, header.channels, header.spacing) == ((4, 3, 2), 1, (3.0, 2.0, 1.0))
    np.testing.assert_array_equal(volume_voxels(path), ARRAY.T)
    # (slice, row, column) 0 is at the origin; columns run to the left, rows to the back.
    assert np.asarray(header.affine)[:3].tolist() == [[0, 0, -1, -10], [0, -2, 0, -20], [3, 0, 0, 30]]


@pytest.mark.parametrize(
    ("space", "signs"), [("right-anterior-superior", (1, 1)), ("RAS", (1, 1)), ("LAS", (-1, 1)), ("LPS", (-1, -1))]
)
def test_spaces(tmp_path, space, signs):
    path = saved(tmp_path / "a.nrrd", ARRAY.astype("u1"), {"space": space})
    affine = np.asarray(nrrd.header(path).affine)
    assert (affine[0, 2], affine[1, 1]) == (signs[0], 2 * signs[1])


def test_detached_header(tmp_path):
    path = tmp_path / "a.nhdr"
    saved(path, ARRAY.astype("u1"))
    np.testing.assert_array_equal(volume_voxels(path), ARRAY.T)
    next(tmp_path.glob("*.raw*")).unlink()
    with pytest.raises(AtrousError, match=r"a\.nhdr: this NRRD file is damaged"):
        volume_voxels(path)


def test_channels_first_and_last(tmp_path):
    array = np.arange(48, dtype=np.uint8).reshape(2, 2, 3, 4)
    directions = np.array([[np.nan] * 3, [1, 0, 0], [0, 2, 0], [0, 0, 3]])
    first = saved(
        tmp_path / "first.nrrd", array, {"space directions": directions, "kinds": ["vector"] + ["domain"] * 3}
    )
    assert (nrrd.header(first).channels, nrrd.header(first).shape) == (2, (4, 3, 2))
    np.testing.assert_array_equal(volume_voxels(first), array.transpose(3, 2, 1, 0))
    last = tmp_path / "last.nrrd"
    library.write(str(last), array, {"kinds": ["domain"] * 3 + ["list"], "spacings": [1, 2, 3, np.nan]})
    header = nrrd.header(last)
    assert (header.channels, header.spacing, header.affine) == (4, (3.0, 2.0, 1.0), None)
    np.testing.assert_array_equal(volume_voxels(last), array.transpose(2, 1, 0, 3))


def test_a_flat_picture(tmp_path):
    path = tmp_path / "a.nrrd"
    library.write(str(path), ARRAY[..., 0].astype("u1"))
    assert nrrd.header(path).shape == (1, 3, 2)
    np.testing.assert_array_equal(Slice(path, 0).read()[..., 0], ARRAY[..., 0].T)


@pytest.mark.parametrize(
    "content", [b"", b"no volume\n", b"NRRD0004\n", b"NRRD0004\ntype: short\n\n", b"NRRD0004\n\xff"]
)
def test_damaged_headers(tmp_path, content):
    path = tmp_path / "a.nrrd"
    path.write_bytes(content)
    with pytest.raises(AtrousError, match=r"a\.nrrd: this NRRD file is damaged") as caught:
        volume_header(path)
    assert caught.value.kind == "unreadable-file"


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("sizes: 2 3 4", "sizes: 2 3", "has 3 entries and 'sizes' 2|damaged"),
        ("kinds: domain domain domain", "kinds: domain", "'kinds' has 1 entries and 'sizes' 3"),
        ("type: uint8", "type: block", "has no numbers|damaged"),
    ],
)
def test_headers_that_contradict_themselves(tmp_path, old, new, words):
    path = saved(tmp_path / "a.nrrd", ARRAY.astype("u1"), {"encoding": "raw"})
    data = path.read_bytes().decode("latin-1")
    assert old in data
    path.write_bytes(data.replace(old, new).encode("latin-1"))
    with pytest.raises(AtrousError, match=words):
        volume_header(path)


def test_an_origin_of_another_space_places_nothing(tmp_path):
    path = saved(tmp_path / "a.nrrd", ARRAY.astype("u1"), {"encoding": "raw"})
    path.write_bytes(path.read_bytes().replace(b"(10,20,30)", b"(10,20)"))
    assert nrrd.header(path).affine is None


def test_truncated_and_strange(tmp_path):
    path = saved(tmp_path / "a.nrrd", np.random.default_rng(0).integers(0, 9, (9, 9, 9)), {"encoding": "gzip"})
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(AtrousError, match=r"a\.nrrd: this NRRD file is damaged"):
        volume_voxels(path)
    five = tmp_path / "five.nrrd"
    library.write(str(five), np.zeros((2, 2, 2, 2, 2), np.uint8))
    with pytest.raises(AtrousError, match="5 axes of space and 0 others came"):
        volume_header(five)


def test_without_pynrrd(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "nrrd", None)
    with pytest.raises(AtrousError, match=r'NRRD needs pynrrd: pip install "atrous\[medical\]"') as caught:
        nrrd.header(tmp_path / "a.nrrd")
    assert caught.value.kind is None


def meta(path, array, *, extra="", packed=False, local=True, kind="MET_SHORT"):
    data = array.transpose(*reversed(range(array.ndim))).tobytes()
    data = zlib.compress(data) if packed else data
    name = "LOCAL" if local else "voxels.raw"
    text = (
        f"ObjectType = Image\nNDims = {array.ndim}\nDimSize = {' '.join(map(str, array.shape))}\n{extra}"
        f"CompressedData = {packed}\nElementType = {kind}\nElementDataFile = {name}\n"
    )
    path.write_bytes(text.encode() + (data if local else b""))
    if not local:
        (path.parent / name).write_bytes(data)
    return path


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("local", [True, False])
def test_metaimage(tmp_path, packed, local):
    extra = "Offset = 10 20 30\nElementSpacing = 1 2 3\nTransformMatrix = 1 0 0 0 1 0 0 0 1\n"
    path = tmp_path / ("a.mha" if local else "a.mhd")
    meta(path, ARRAY.astype("<i2"), extra=extra, packed=packed, local=local)
    header = volume_header(path)
    assert (header.shape, header.spacing) == ((4, 3, 2), (3.0, 2.0, 1.0))
    assert np.asarray(header.affine)[:3].tolist() == [[0, 0, -1, -10], [0, -2, 0, -20], [3, 0, 0, 30]]
    np.testing.assert_array_equal(volume_voxels(path), ARRAY.T)
    assert upright(header).turned(volume_voxels(path))[1].tolist() == ARRAY.T[1].tolist()


def test_metaimage_big_endian_channels_and_pictures(tmp_path):
    path = meta(tmp_path / "big.mha", ARRAY.astype(">i2"), extra="BinaryDataByteOrderMSB = True\n")
    np.testing.assert_array_equal(Slice(path, 1).read()[..., 0], ARRAY.T[1])
    colours = np.arange(18, dtype=np.uint8).reshape(3, 2, 3)  # channels, columns, rows
    data = b"NDims = 2\nDimSize = 2 3\nElementNumberOfChannels = 3\nElementType = MET_UCHAR\nElementDataFile = LOCAL\n"
    (tmp_path / "c.mha").write_bytes(data + colours.transpose(2, 1, 0).tobytes())
    picture = Slice(tmp_path / "c.mha", 0).read()
    assert picture.shape == (3, 2, 3)
    np.testing.assert_array_equal(picture, colours.transpose(2, 1, 0))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "ElementDataFile is missing"),
        ("NDims = 3\nElementDataFile = LOCAL\n", "DimSize None has not two or three"),
        ("DimSize = 2 x 4\nElementDataFile = LOCAL\n", "has a word that is no number"),
        ("DimSize = 2 3 4\nElementNumberOfChannels = \nElementDataFile = LOCAL\n", "is empty, or has a number"),
        ("DimSize = 2 3 nan\nElementDataFile = LOCAL\n", "not finite"),
        ("DimSize = 2 3 4\nOffset = 1 2\nElementDataFile = LOCAL\n", "is not of three axes"),
        (
            "DimSize = 2 3 4\nElementType = MET_OTHER\nElementDataFile = LOCAL\n",
            "ElementType 'MET_OTHER' is not one of",
        ),
        ("DimSize = 2 3 4\nElementType = MET_SHORT\nElementDataFile = LOCAL\n", "0 bytes of voxels came .*promises 48"),
        ("DimSize = 2 3 4\nElementType = MET_SHORT\nElementDataFile = LIST\n", "a list of files of voxels came"),
        ("DimSize = 2 3 4\nElementType = MET_SHORT\nElementDataFile = no.raw\n", "no such file"),
        ("DimSize = 2 3 4\nElementType = MET_SHORT\nElementDataFile = no\0.raw\n", "no such file"),
        ("DimSize = 2 3 4\nElementType = MET_SHORT\nCompressedData = True\nElementDataFile = LOCAL\nxxxx", "damaged"),
    ],
)
def test_damaged_metaimages(tmp_path, text, words):
    path = tmp_path / "a.mha"
    path.write_text(text)
    with pytest.raises(AtrousError, match=words):
        volume_voxels(path)
    if "DimSize = 2 3 4" not in text or "Offset" in text or "Channels" in text:
        with pytest.raises(AtrousError, match=words) as caught:
            metaimage.header(path)
        assert caught.value.kind == "unreadable-file"


def test_real_nrrd_lies_where_the_dicom_does(data_dir):
    path = data_dir / "medical_dcmqi/23x38x3/nrrd/label.nrrd"
    header = volume_header(path)
    assert (header.shape, header.spacing) == ((3, 38, 23), (2.5, 0.7, 0.7))
    picture = Slice(path, 1, upright(header), labels=True).read()
    np.testing.assert_array_equal(picture, library.read(str(path))[0][:, :, 1].T)
