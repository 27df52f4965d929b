"""What is written is read back, and a disk that fills costs nothing."""

import errno
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from atrous.contract import AtrousError, LabelSpace
from atrous.data import atomic, decode, read_image, read_mask, write_image, write_mask


@settings(max_examples=40, deadline=None)
@given(height=st.integers(1, 20), width=st.integers(1, 20), count=st.integers(1, 254), seed=st.integers(0, 99))
def test_masks_come_back(height, width, count, seed):
    space = LabelSpace(names=tuple(f"class {index}" for index in range(count)))
    labels = np.random.default_rng(seed).integers(0, count + 1, (height, width)).astype(np.uint8)
    labels[labels == count] = 255
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.png"
        write_mask(path, labels, space)
        np.testing.assert_array_equal(decode(read_mask(path), space, path), labels)
        with Image.open(path) as image:
            assert image.mode == "P"
            assert image.getpalette()[:3] == list(space.colours[0])
            assert image.getpalette()[-3:] == [0, 0, 0]


@pytest.mark.parametrize("name", ["a.png", "a.tif", "그림 🙂.png", "new/folder/a.bmp"])
@pytest.mark.parametrize("shape", [(4, 5), (4, 5, 1), (4, 5, 3)])
def test_images_come_back(tmp_path, name, shape):
    array = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    write_image(tmp_path / name, array)
    np.testing.assert_array_equal(read_image(tmp_path / name), array.reshape(4, 5, -1))


@pytest.mark.parametrize(
    ("name", "dtype", "channels"),
    [("a.png", np.uint16, 3), ("a.png", np.uint16, 1), ("a.tif", np.uint16, 3), ("a.tif", np.float32, 7)],
)
def test_deep_images_come_back(tmp_path, name, dtype, channels):
    array = np.random.default_rng(0).integers(0, 65536, (4, 5, channels)).astype(dtype)
    write_image(tmp_path / name, array)
    got = read_image(tmp_path / name)
    assert got.dtype == dtype
    np.testing.assert_array_equal(got, array)


def test_jpeg_is_close(tmp_path):
    array = np.full((16, 16, 3), (200, 100, 50), np.uint8)
    write_image(tmp_path / "a.jpg", array)
    np.testing.assert_allclose(read_image(tmp_path / "a.jpg"), array, atol=4)


def test_wrong_arguments_are_named(tmp_path):
    two = LabelSpace(names=("a", "b"))
    with pytest.raises(ValueError, match=r"label 2 is outside 0..1 and is not the ignore value 255; 1 pixels"):
        write_mask(tmp_path / "a.png", np.array([[0, 2, 255]]), two)
    with pytest.raises(ValueError, match="masks are written as PNG"):
        write_mask(tmp_path / "a.jpg", np.zeros((2, 2), np.uint8), two)
    with pytest.raises(ValueError, match=r"\(h, w\) integers are written"):
        write_mask(tmp_path / "a.png", np.zeros((2, 2)), two)
    with pytest.raises(ValueError, match=r"float64 came; uint8 is written"):
        write_image(tmp_path / "a.png", np.zeros((2, 2)))
    with pytest.raises(ValueError, match=r"array of shape \(2, 2, 5\) came"):
        write_image(tmp_path / "a.png", np.zeros((2, 2, 5), np.uint8))
    with pytest.raises(ValueError, match=r"no image format has the suffix '.xyz'"):
        write_image(tmp_path / "a.xyz", np.zeros((2, 2), np.uint8))
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_keeps_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "a.png"
    old = np.zeros((4, 4), np.uint8)
    write_image(path, old)

    def full(self, target, **options):
        Path(target).write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", full)
    with pytest.raises(AtrousError, match=r"a.png: could not be written \(No space left on device\).*unchanged"):
        write_image(path, old + 9)
    np.testing.assert_array_equal(read_image(path)[..., 0], old)
    assert list(tmp_path.iterdir()) == [path]


def test_atomic_removes_its_temporary_file(tmp_path):
    def stopped():
        with atomic(tmp_path / "a.json") as temporary:
            temporary.write_text("half")
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        stopped()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_is_no_file_to_write(tmp_path):
    (tmp_path / "pages").mkdir()
    with (
        pytest.raises(AtrousError, match=r"pages: this is a folder, and a file is to be written. Name a file in it."),
        atomic(tmp_path / "pages"),
    ):
        pass
    assert list(tmp_path.rglob("*")) == [tmp_path / "pages"]
