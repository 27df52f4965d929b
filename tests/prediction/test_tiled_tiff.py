"""Masks as tiled TIFF: any pieces that cover them give the same file."""

import numpy as np
import pytest
import tifffile

from atrous.contract import LabelSpace
from atrous.data import read_mask
from atrous.prediction import tiled_tiff
from atrous.prediction.tiled_tiff import write_tiled_mask

SPACE = LabelSpace(names=("a", "b", "c"))


def pieces(labels, high, wide):
    for top in range(0, labels.shape[0], high):
        for left in range(0, labels.shape[1], wide):
            yield labels[top : top + high, left : left + wide], top, left


@pytest.mark.parametrize("size", [(1, 1), (256, 256), (300, 700), (513, 255)])
def test_any_pieces_give_the_same_file(tmp_path, size):
    labels = np.random.default_rng(0).integers(0, 3, size, dtype=np.uint8)
    whole = write_tiled_mask(tmp_path / "whole.tif", size, [(labels, 0, 0)], SPACE).read_bytes()
    for high, wide in ((100, 90), (256, 256), (300, 1000)):
        path = write_tiled_mask(tmp_path / "parts.tif", size, pieces(labels, high, wide), SPACE)
        assert path.read_bytes() == whole
    np.testing.assert_array_equal(read_mask(tmp_path / "whole.tif"), labels)


def test_pieces_that_leave_pixels_out_are_refused(tmp_path):
    labels = np.zeros((300, 700), np.uint8)
    with pytest.raises(ValueError, match=r"4 of 6 tiles were not covered"):
        write_tiled_mask(tmp_path / "a.tif", (300, 700), [(labels[:, :512], 0, 0)], SPACE)
    assert not list(tmp_path.iterdir())


def test_masks_that_may_pass_4_gb_are_bigtiff(tmp_path, monkeypatch):
    labels = np.zeros((300, 300), np.uint8)
    for limit, big in ((4 * 256**2, False), (4 * 256**2 - 1, True)):
        monkeypatch.setattr(tiled_tiff, "_CLASSIC", limit)
        with tifffile.TiffFile(write_tiled_mask(tmp_path / "a.tif", (300, 300), [(labels, 0, 0)], SPACE)) as file:
            assert file.is_bigtiff is big
