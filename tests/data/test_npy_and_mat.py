"""Arrays of NumPy and MATLAB as images and masks: which axis is which, which matrix is the mask, what is refused."""

import pickle
import struct
import sys
import zlib

import h5py
import numpy as np
import pytest
import scipy.sparse
from scipy.io import loadmat, savemat

from atrous.contract import AtrousError
from atrous.data import open_dataset, read_image, read_mask, read_sample
from atrous.data.matlab5 import matrices


def noise(*shape, dtype=np.uint8, high=None, seed=0):
    return np.random.default_rng(seed).integers(0, high or np.iinfo(dtype).max, shape).astype(dtype)


@pytest.mark.parametrize(
    ("dtype", "wanted"),
    [
        ("u1", "u1"), ("u2", "u2"), (">u2", "u2"), ("i1", "i2"), ("i2", "i2"), (">i2", "i2"), ("i4", "f4"),
        ("f2", "f4"), ("f4", "f4"), (">f4", "f4"), ("f8", "f4"),
    ],
)  # fmt: skip
def test_depths_of_npy_images(tmp_path, dtype, wanted):
    array = noise(5, 6, 3, high=100).astype(dtype)
    np.save(tmp_path / "a.npy", array)
    got = read_image(tmp_path / "a.npy")
    assert got.dtype == np.dtype(wanted)
    np.testing.assert_array_equal(got, array)


@pytest.mark.parametrize(
    ("stored", "read"),
    [
        ((20, 30), (20, 30, 1)), ((20, 30, 1), (20, 30, 1)), ((1, 20, 30), (20, 30, 1)), ((3, 20, 30), (20, 30, 3)),
        ((13, 20, 30), (20, 30, 13)), ((20, 30, 13), (20, 30, 13)), ((20, 30, 40), (20, 30, 40)),
        ((3, 20, 4), (3, 20, 4)), ((1, 1, 3), (1, 1, 3)), ((5, 3, 20), (5, 3, 20)),
    ],
)  # fmt: skip
def test_the_axis_of_channels(tmp_path, stored, read):
    array = noise(*stored)
    np.save(tmp_path / "a.npy", array)
    got = read_image(tmp_path / "a.npy")
    assert got.shape == read
    np.testing.assert_array_equal(got, (array if stored[:2] == read[:2] else np.moveaxis(array, 0, -1)).reshape(read))


def test_order_of_memory_and_old_headers(tmp_path):
    array = noise(5, 6, 3)
    np.save(tmp_path / "fortran.npy", np.asfortranarray(array))
    np.testing.assert_array_equal(read_image(tmp_path / "fortran.npy"), array)
    for version in ((1, 0), (2, 0), (3, 0)):
        with (tmp_path / "a.npy").open("wb") as file:
            np.lib.format.write_array(file, array, version=version)
        np.testing.assert_array_equal(read_image(tmp_path / "a.npy"), array)


@pytest.mark.parametrize("dtype", ["u1", ">u2", "i4", "i8", "u8", "f4", "f8"])
@pytest.mark.parametrize("shape", [(5, 6), (5, 6, 1), (1, 5, 6)])
def test_npy_masks(tmp_path, dtype, shape):
    labels = noise(5, 6, high=7)
    np.save(tmp_path / "m.npy", labels.astype(dtype).reshape(shape))
    got = read_mask(tmp_path / "m.npy")
    assert got.dtype.kind in "ui"
    assert got.dtype.isnative
    np.testing.assert_array_equal(got, labels)


def test_boolean_arrays(tmp_path):
    array = noise(5, 6, high=2).astype(bool)
    np.save(tmp_path / "a.npy", array)
    assert set(np.unique(read_mask(tmp_path / "a.npy"))) == {0, 1}
    assert set(np.unique(read_image(tmp_path / "a.npy"))) == {0, 255}


def test_colours_and_negative_labels_of_npy_masks(tmp_path):
    colours = noise(5, 6, 3)
    np.save(tmp_path / "c.npy", colours)
    np.testing.assert_array_equal(read_mask(tmp_path / "c.npy"), colours)
    np.save(tmp_path / "n.npy", np.array([[-1, 300], [0, 2]]))
    assert read_mask(tmp_path / "n.npy").tolist() == [[-1, 300], [0, 2]]


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.zeros((4, 5, 6, 7)), r"shape \(4, 5, 6, 7\) came; \(h, w\), \(h, w, c\) and \(c, h, w\) are read"),
        (np.zeros(5), r"shape \(5,\) came"),
        (np.zeros((0, 5)), r"shape \(0, 5\) came"),
        (np.zeros((4, 5), np.complex64), "an array of complex64 came; booleans, integers and floats are read"),
        (np.array([["a", "b"]]), "an array of <U1 came"),
        (np.zeros((2, 2), [("label", "u1")]), r"an array of \[\('label', 'u1'\)\] came"),
        (np.zeros((2, 2), "M8[s]"), r"an array of datetime64\[s\] came"),
    ],
)
def test_arrays_that_are_no_images(tmp_path, array, words):
    np.save(tmp_path / "a.npy", array)
    for read in (read_image, read_mask):
        with pytest.raises(AtrousError, match=rf"a.npy: .*{words}"):
            read(tmp_path / "a.npy")


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.full((4, 5), 0.5), "a mask of fractions came"),
        (np.full((4, 5), np.nan), "a mask of fractions came"),
        (np.zeros((4, 5, 2), np.uint8), "a mask with 2 channels came"),
        (noise(4, 5, 3, dtype=np.uint16), "a colour mask of uint16 came"),
        (np.full((4, 5), 2**40), "numbers from 1,099,511,627,776 to 1,099,511,627,776 came; labels have 32 bits"),
    ],
)
def test_arrays_that_are_no_masks(tmp_path, array, words):
    np.save(tmp_path / "a.npy", array)
    with pytest.raises(AtrousError, match=words):
        read_mask(tmp_path / "a.npy")


class Trap:
    """An object whose unpickling would be seen."""

    sprung = False

    def __reduce__(self):
        return setattr, (Trap, "sprung", True)


def test_nothing_is_unpickled(tmp_path):
    np.save(tmp_path / "a.npy", np.array([[Trap()]], dtype=object), allow_pickle=True)
    (tmp_path / "b.npy").write_bytes(pickle.dumps(Trap()))
    for read in (read_image, read_mask):
        with pytest.raises(AtrousError, match=r"a.npy: an array of Python objects came, and to read one is to run it"):
            read(tmp_path / "a.npy")
        with pytest.raises(AtrousError, match=r"b.npy: this is no .npy file"):
            read(tmp_path / "b.npy")
    assert not Trap.sprung


def test_damaged_npy(tmp_path):
    path = tmp_path / "a.npy"
    np.save(path, noise(20, 30))
    whole = path.read_bytes()
    for cut in (7, 9, 40, 127, 128, 400):
        path.write_bytes(whole[:cut])
        with pytest.raises(AtrousError, match=r"a.npy: the image is truncated or damaged .*Copy it again"):
            read_image(path)
    path.write_bytes(b"")
    with pytest.raises(AtrousError, match=r"the file is empty \(0 bytes\)"):
        read_image(path)
    for shape in (b"(20,-30)", b"(20, 3.)", b"(20, 's)", b"{20, 30}"):
        path.write_bytes(whole.replace(b"(20, 30)", shape))
        with pytest.raises(AtrousError, match=r"a.npy: the image is truncated or damaged"):
            read_image(path)
    huge = b"(1099511627776, 1099511627776)".ljust(31)
    path.write_bytes(whole.replace(b"(20, 30), }" + b" " * 23, huge[:30] + b", }" + b" "))
    with pytest.raises(AtrousError):
        read_image(path)
    with pytest.raises(AtrousError, match=r"none.npy: no such file"):
        read_mask(tmp_path / "none.npy")


def test_bomb_of_npy(tmp_path):
    path = tmp_path / "a.npy"
    header = {"descr": "|u1", "fortran_order": False, "shape": (60000, 60000)}
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        file.truncate(60000 * 60000 + 128)  # a hole: nothing is written
    for read in (read_image, read_mask):
        with pytest.raises(AtrousError, match=r"60,000 x 60,000 pixels came, and 200,000,000 are accepted") as caught:
            read(path)
        assert caught.value.kind == "too-many-pixels"


def test_a_folder_of_npy(tmp_path):
    for name in "ab":
        for kind, array in (("images", noise(13, 24, 32)), ("masks", noise(24, 32, high=3))):
            (tmp_path / kind).mkdir(exist_ok=True)
            np.save(tmp_path / kind / f"{name}.npy", array)
    dataset = open_dataset(tmp_path)
    sample = read_sample(dataset.splits["train"][0], dataset.space)
    assert (sample.image.shape, sample.labels.shape, len(dataset.space)) == ((24, 32, 13), (24, 32), 3)
    np.save(tmp_path / "masks" / "b.npy", noise(32, 24, high=3))
    (pair,) = (pair for pairs in dataset.splits.values() for pair in pairs if pair.name.endswith("b"))
    with pytest.raises(AtrousError, match=r"b.npy: the mask is 32 x 24 .* and its image .*b.npy is 24 x 32"):
        read_sample(pair, dataset.space)


def write_version_7(path, values):
    with h5py.File(path, "w", userblock_size=512) as file:
        for name, array in values.items():
            file.create_dataset(name, data=array.T, compression="gzip")
    with path.open("r+b") as file:
        file.write(b"MATLAB 7.3 MAT-file".ljust(116))


LABELS = noise(5, 6, high=20)
CONTENTS = [
    {"GTcls": {"Segmentation": LABELS, "Boundaries": noise(5, 6, high=2), "CategoriesPresent": [1, 2]}},
    {"GTinst": {"Segmentation": LABELS, "Categories": [[3], [4]]}},
    {"LabelMap": LABELS.astype(np.uint16), "other": noise(5, 6)},
    {"anything": LABELS.astype(np.float64), "name": "words", "scale": 2.5},
    {"labels": LABELS.astype(np.int32), "depth": LABELS / 7.0},
]


def flat(values, below=""):
    for name, value in values.items():
        if isinstance(value, dict):
            yield from flat(value, f"{below}{name}/")
        elif isinstance(value, np.ndarray):
            yield below + name, value


@pytest.mark.parametrize("content", CONTENTS)
@pytest.mark.parametrize("compressed", [True, False, "7.3"])
def test_matlab_masks(tmp_path, content, compressed):
    path = tmp_path / "m.mat"
    if compressed == "7.3":
        write_version_7(path, dict(flat(content)))
    else:
        savemat(path, content, do_compression=compressed)
    np.testing.assert_array_equal(read_mask(path), LABELS)


@pytest.mark.parametrize("version", [5, 7])
def test_matlab_files_without_one_mask(tmp_path, version):
    def write(values):
        if version == 7:
            write_version_7(tmp_path / "m.mat", values)
        else:
            savemat(tmp_path / "m.mat", values)

    write({"first": LABELS, "second": LABELS.astype(np.int32)})
    words = r"m.mat: 2 matrices could be the mask: first \(5 x 6 uint8\), second \(5 x 6 int32\)\. Save the right one"
    with pytest.raises(AtrousError, match=words):
        read_mask(tmp_path / "m.mat")
    write({"depth": LABELS / 7.0})
    with pytest.raises(AtrousError, match=r"depth \(5, 6\) came, and a matrix of whole numbers is wanted"):
        read_mask(tmp_path / "m.mat")
    write({"list": np.ones((1, 5))})
    with pytest.raises(AtrousError, match=r"no matrix of numbers came"):
        read_mask(tmp_path / "m.mat")


@pytest.mark.parametrize("version", [5, 7])
def test_damaged_matlab_files(tmp_path, version):
    path = tmp_path / "m.mat"
    if version == 7:
        write_version_7(path, {"LabelMap": noise(50, 60)})
    else:
        savemat(path, {"LabelMap": noise(50, 60)}, do_compression=True)
    whole = path.read_bytes()
    for cut in (3, 100, 140, len(whole) // 2, len(whole) - 40):
        path.write_bytes(whole[:cut])
        with pytest.raises(AtrousError, match=r"m.mat: (the image is truncated or damaged|this is no MATLAB file of)"):
            read_mask(path)
    generator = np.random.default_rng(0)
    for _ in range(100):
        broken = bytearray(whole)
        for place in generator.integers(0, len(whole), 4):
            broken[place] = generator.integers(256)
        path.write_bytes(broken)
        try:
            read_mask(path)
        except AtrousError:
            continue


def test_words_where_h5py_is_missing(tmp_path, monkeypatch):
    write_version_7(tmp_path / "m.mat", {"LabelMap": LABELS})
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(AtrousError, match=r'm.mat: MATLAB 7.3 files need h5py: pip install "atrous\[formats\]"'):
        read_mask(tmp_path / "m.mat")


@pytest.mark.parametrize("compressed", [True, False])
@pytest.mark.parametrize("dtype", ["b1", "u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f4", "f8"])
def test_matrices_are_those_of_scipy(tmp_path, dtype, compressed):
    """Everything that is no matrix of numbers lies in between and is passed over."""
    array = noise(7, 5, high=2 if dtype == "b1" else 100).astype(dtype)
    cell = np.empty((1, 2), object)
    cell[:] = [[array, "words"]]
    content = {
        "cell": cell, "sparse": scipy.sparse.csc_array(np.eye(5)), "complex": array * 1j, "text": "한국어", "one": 3,
        "cube": noise(3, 4, 5), "empty": np.zeros((0, 4)), "group": {"inner": {"A": array, "B": cell}, "none": []},
        "A": array,
    }  # fmt: skip
    savemat(tmp_path / "m.mat", content, do_compression=compressed)
    found = matrices(tmp_path / "m.mat", (tmp_path / "m.mat").read_bytes(), max_pixels=1000)
    stored = loadmat(tmp_path / "m.mat")
    assert [name for name, matrix in found.items() if matrix.size > 1] == ["group.inner.A", "A"]
    for matrix in (found["A"], found["group.inner.A"]):
        assert matrix.dtype == stored["A"].dtype
        np.testing.assert_array_equal(matrix, stored["A"])


def test_the_other_order_of_bytes(tmp_path):
    values = np.arange(6, dtype=">i2")
    parts = [
        struct.pack(">IIII", 6, 8, 10, 0), struct.pack(">IIii", 5, 8, 2, 3), struct.pack(">HH4s", 1, 1, b"m"),
        struct.pack(">II", 3, 12) + values.tobytes() + bytes(4),
    ]  # fmt: skip
    parts[2] = struct.pack(">I4s", 1 << 16 | 1, b"m\0\0\0")
    content = b"".join(parts)
    header = b"MATLAB 5.0".ljust(124) + b"\x01\x00MI"
    (tmp_path / "m.mat").write_bytes(header + struct.pack(">II", 14, len(content)) + content)
    assert read_mask(tmp_path / "m.mat").tolist() == [[0, 2, 4], [1, 3, 5]]


def test_links_out_of_a_matlab_file_are_not_followed(tmp_path):
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["secret"] = LABELS
    with h5py.File(tmp_path / "m.mat", "w") as file:
        file["LabelMap"] = h5py.ExternalLink("other.h5", "/secret")
    with pytest.raises(AtrousError, match="no matrix of numbers came"):
        read_mask(tmp_path / "m.mat")


def test_bombs_of_matlab(tmp_path):
    path = tmp_path / "m.mat"
    with h5py.File(path, "w") as file:
        file.create_dataset("LabelMap", (60000, 60000), np.uint8, chunks=True)
    with pytest.raises(AtrousError, match=r"60,000 x 60,000 pixels came") as caught:
        read_mask(path)
    assert caught.value.kind == "too-many-pixels"
    savemat(path, {"LabelMap": np.zeros((500, 600), np.uint8)}, do_compression=True)
    with pytest.raises(AtrousError, match=r"500 x 600 pixels came, and 200,000 are accepted"):
        read_mask(path, max_pixels=200_000)
    savemat(path, {"GTcls": {"Segmentation": np.zeros((4000, 4000), np.uint8)}}, do_compression=True)
    assert path.stat().st_size < 40_000
    with pytest.raises(AtrousError, match=r"m.mat: its variables unpack to more than 1,848,576 bytes") as caught:
        read_mask(path, max_pixels=100_000)
    assert caught.value.kind == "too-many-pixels"


def test_a_packed_variable_that_lies_about_its_size(tmp_path):
    path = tmp_path / "m.mat"
    savemat(path, {"LabelMap": noise(50, 60)})
    data = path.read_bytes()
    inner = bytearray(data[128:])
    place = inner.index(b"LabelMap") + 8
    inner[place + 4 : place + 8] = struct.pack("<I", 2**31)
    packed = zlib.compress(bytes(inner))
    path.write_bytes(data[:128] + struct.pack("<II", 15, len(packed)) + packed)
    with pytest.raises(AtrousError, match="truncated or damaged"):
        read_mask(path)
