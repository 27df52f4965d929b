"""Probabilities in Zarr: put block by block, there as a whole or not at all."""

import builtins
import errno

import numpy as np
import pytest

from atrous.contract import AtrousError, LabelSpace
from atrous.data.places import Georeference
from atrous.prediction.probability_stores import probability_store

zarr = pytest.importorskip("zarr")

SPACE = LabelSpace(names=("a", "길"), colours=((1, 2, 3), (4, 5, 6)))


def scores(seed=0, size=(9, 11)):
    values = np.random.default_rng(seed).random((2, *size)).astype(np.float32)
    return values / values.sum(0)


def fill(path, values, **more):
    with probability_store(path, SPACE, values.shape[1:], block=4, **more) as put:
        for top in range(0, values.shape[1], 4):
            for left in range(0, values.shape[2], 4):
                put(values[:, top : top + 4, left : left + 4], top, left)


def test_blocks_are_the_whole_with_names_and_place(tmp_path):
    place = Georeference((0.5, 0, 7, 0, -0.5, 9), "EPSG:32633")
    fill(tmp_path / "p" / "a.zarr", scores(), place=place)
    array = zarr.open_array(tmp_path / "p" / "a.zarr", mode="r")
    assert (array.dtype, array.chunks) == (np.float16, (2, 4, 4))
    np.testing.assert_array_equal(array[:], scores().astype(np.float16))
    assert dict(array.attrs) == {
        "names": ["a", "길"],
        "colours": [[1, 2, 3], [4, 5, 6]],
        "crs": "EPSG:32633",
        "transform": [0.5, 0, 7, 0, -0.5, 9],
    }
    assert [path.name for path in (tmp_path / "p").iterdir()] == ["a.zarr"]


def test_what_fails_leaves_what_was_there(tmp_path):
    path = tmp_path / "a.zarr"
    fill(path, scores())

    def interrupted():
        with probability_store(path, SPACE, (9, 11)) as put:
            put(scores(1)[:, :2, :2], 0, 0)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    np.testing.assert_array_equal(zarr.open_array(path, mode="r")[:], scores().astype(np.float16))
    fill(path, scores(2))
    np.testing.assert_array_equal(zarr.open_array(path, mode="r")[:], scores(2).astype(np.float16))
    assert [path.name for path in tmp_path.iterdir()] == ["a.zarr"]


def test_a_full_disk_and_a_file_in_the_way(tmp_path):
    def put_on_a_full_disk():
        with probability_store(tmp_path / "a.zarr", SPACE, (9, 11)):
            raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(AtrousError, match=r"a.zarr: could not be written \(No space left on device\)"):
        put_on_a_full_disk()
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "a.zarr").write_text("mine")
    with pytest.raises(AtrousError, match=r"a.zarr: this is a file, and a folder of Zarr"):
        fill(tmp_path / "a.zarr", scores())
    assert (tmp_path / "a.zarr").read_text() == "mine"


@pytest.mark.parametrize(("classes", "top", "left"), [(1, 0, 0), (2, 8, 0), (2, 0, 10), (2, -1, 0)])
def test_blocks_that_do_not_fit_are_refused(classes, top, left, tmp_path):
    with (
        pytest.raises(ValueError, match=rf"row {top} and column {left} came; the array is \(2, 9, 11\)"),
        probability_store(tmp_path / "a.zarr", SPACE, (9, 11)) as put,
    ):
        put(np.zeros((classes, 2, 2), np.float32), top, left)


def test_without_zarr_the_remedy_is_said(tmp_path, monkeypatch):
    real = builtins.__import__

    def without(name, *rest):
        if name == "zarr":
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(AtrousError, match=r'pip install "atrous\[geo\]"'):
        fill(tmp_path / "a.zarr", scores())
