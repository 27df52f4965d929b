"""Forms are filled by pixel centres, outlines give their mask back, and shapes are drawn larger first."""

import pickle
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from atrous.contract import AtrousError
from atrous.data.rings import filled, outlines, polygons
from atrous.data.rle import decode, encode, string_of_counts
from atrous.data.shapes import Ellipse, Picture, Runs, Shape, Shapes, polygon, stroke

MASKS = hnp.arrays(bool, hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=14))
SQUARE = np.array([[1, 1], [4, 1], [4, 4], [1, 4]])


def drawn(form, size):
    mask = np.zeros(size, bool)
    top, left, window = form.window(size)
    mask[top : top + window.shape[0], left : left + window.shape[1]] = window
    return mask


def area(ring):
    x, y = ring.T.astype(float)
    return (x * np.roll(y, -1) - np.roll(x, -1) * y).sum() / 2


@given(MASKS)
def test_outlines_give_the_mask_back(mask):
    np.testing.assert_array_equal(filled(outlines(mask), mask.shape), mask)


@given(MASKS)
def test_outlines_are_simple_rings_of_corners(mask):
    for ring in outlines(mask):
        steps = np.roll(ring, -1, axis=0) - ring
        assert len({tuple(corner) for corner in ring.tolist()}) == len(ring)
        assert ((steps == 0).sum(axis=1) == 1).all()
        assert ((steps[:, 0] == 0) != np.roll(steps[:, 0] == 0, 1)).all()


@given(MASKS)
def test_polygons_are_regions_with_their_holes(mask):
    import cv2

    regions = polygons(mask)
    assert len(regions) == cv2.connectedComponents(mask.astype(np.uint8), connectivity=4)[0] - 1
    union = np.zeros(mask.shape, int)
    for outer, *holes in regions:
        assert area(outer) < 0
        assert all(area(hole) > 0 for hole in holes)
        union += filled([outer, *holes], mask.shape)
    np.testing.assert_array_equal(union, mask)


def test_pixels_that_touch_at_a_corner_are_apart():
    assert [len(rings) for rings in polygons(np.eye(2))] == [1, 1]
    ring = np.ones((4, 4))
    ring[1, 1] = ring[2, 2] = 0
    assert [len(rings) for rings in polygons(ring)] == [3]
    notched = np.ones((3, 3))
    notched[1, 1] = notched[0, 0] = 0
    assert [len(rings) for rings in polygons(notched)] == [2]
    assert outlines(np.zeros((3, 3))) == []


def winding(ring, size):
    """Say of every centre whether it is inside, one at a time."""
    mask = np.zeros(size, bool)
    for row, column in np.ndindex(size):
        x, y = column + 0.5, row + 0.5
        for (x0, y0), (x1, y1) in zip(ring, np.roll(ring, -1, axis=0), strict=True):
            if (y0 <= y) != (y1 <= y) and x >= x0 + (y - y0) * (x1 - x0) / (y1 - y0):
                mask[row, column] ^= True
    return mask


@given(hnp.arrays(np.float64, st.tuples(st.integers(3, 8), st.just(2)), elements=st.floats(-6, 18, width=16)))
def test_filling_is_by_pixel_centres(ring):
    np.testing.assert_array_equal(filled([ring], (11, 13)), winding(ring, (11, 13)))


def test_filling_is_near_that_of_coco():
    coco = pytest.importorskip("pycocotools.mask", reason="pycocotools is not installed")
    random = np.random.default_rng(0)
    for _ in range(20):
        angles = np.sort(random.uniform(0, 2 * np.pi, 30))
        ring = np.stack([80 + 50 * np.cos(angles), 60 + 40 * np.sin(angles)], axis=1)
        (runs,) = coco.frPyObjects([ring.ravel().tolist()], 120, 160)
        theirs, ours = decode(runs["counts"], (120, 160)), filled([ring], (120, 160))
        assert (theirs & ours).sum() / (theirs | ours).sum() > 0.97


def test_shared_edges_leave_no_gap_and_no_overlap():
    corners = np.array([[0, 0], [20, 0], [20, 20], [0, 20]])
    centre = np.array([7.3, 11.9])
    parts = [
        filled([np.array([centre, *pair])], (20, 20)) for pair in zip(corners, np.roll(corners, -1, 0), strict=True)
    ]
    assert (np.sum(parts, axis=0) == 1).all()


def test_rings_are_united_or_holes():
    rings = [SQUARE, SQUARE + 1]
    assert drawn(polygon(rings), (6, 6)).sum() == 9 + 9 - 4
    inner = np.array([[2, 2], [3, 2], [3, 3], [2, 3]])
    assert drawn(polygon([SQUARE, inner], united=False), (6, 6)).sum() == 8
    assert drawn(polygon([SQUARE / 6], relative=True), (6, 6)).sum() == 9
    assert drawn(polygon([SQUARE, SQUARE + 100]), (6, 6)).sum() == 9


def test_shapes_outside_and_empty_ones():
    for moved in ((-100, 0), (100, 0), (0, -100), (0, 100)):
        assert drawn(polygon([SQUARE + moved]), (6, 6)).sum() == 0
    assert drawn(polygon([SQUARE - 3]), (6, 6)).sum() == 1
    assert drawn(polygon([SQUARE[:2]]), (6, 6)).sum() == 0
    assert drawn(polygon([]), (6, 6)).sum() == 0
    assert drawn(polygon([np.array([[-1e6, -1e6], [1e6, -1e6], [1e6, 1e6], [-1e6, 1e6]])]), (6, 6)).all()
    assert drawn(Ellipse(100, 100, (5, 5)), (6, 6)).sum() == 0


def test_ellipses_and_strokes():
    y, x = np.mgrid[:40, :50] + 0.5
    np.testing.assert_array_equal(
        drawn(Ellipse(20, 15, (10, 5)), (40, 50)), ((x - 20) / 10) ** 2 + ((y - 15) / 5) ** 2 <= 1
    )
    np.testing.assert_array_equal(
        drawn(Ellipse(20, 15, (10, 5), 90), (40, 50)), drawn(Ellipse(20, 15, (5, 10)), (40, 50))
    )
    falling = drawn(Ellipse(20, 20, (15, 3), 45), (40, 50))
    assert falling[28, 28]
    assert not falling[12, 28]
    line = drawn(stroke(np.array([[10, 10], [30, 10]]), 4), (40, 50))
    assert line[8:12, 10:30].all()
    assert line.sum() == 20 * 4 + drawn(stroke(np.array([[10, 10]]), 4), (40, 50)).sum()
    np.testing.assert_array_equal(
        drawn(stroke(np.array([[10, 10]]), 10), (40, 50)), drawn(Ellipse(10, 10, (5, 5)), (40, 50))
    )


def png(array):
    file = BytesIO()
    Image.fromarray(array).save(file, "PNG")
    return file.getvalue()


def test_pictures_are_cut_at_the_borders():
    data = png(np.full((4, 4), 255, np.uint8))
    assert drawn(Picture(data, 1, 2), (6, 6)).sum() == 16
    assert drawn(Picture(data, -2, 4), (6, 6)).sum() == 4
    assert drawn(Picture(data, 10, 10), (6, 6)).sum() == 0
    assert drawn(Picture(png(np.eye(3, dtype=bool)), 0, 0), (6, 6)).sum() == 3
    with pytest.raises(AtrousError, match="the picture of a shape is damaged"):
        Picture(data[:40], 0, 0).window((6, 6))


def test_larger_shapes_are_drawn_first():
    small, large = polygon([SQUARE]), polygon([SQUARE * 2])
    shapes = Shapes(Path("a.json"), (9, 9), (Shape(5, small), Shape(7, large)), background=3)
    mask = shapes.read()
    assert (mask.dtype, mask.shape) == (np.int32, (9, 9))
    assert [int((mask == value).sum()) for value in (3, 5, 7)] == [81 - 36 - 9 + 4, 9, 32]
    assert int((shapes.instances() == 1).sum()) == 9
    crowd = Shapes(Path("a.json"), (9, 9), (Shape(5, small), Shape(7, large, crowd=True)))
    assert np.unique(crowd.instances()).tolist() == [0, 1]


def test_shapes_hash_and_pickle():
    mask = np.eye(4, dtype=bool)
    runs = Runs(string_of_counts(encode(mask)).encode(), (4, 4))
    shapes = Shapes(Path("a.json"), (4, 4), (Shape(1, runs), Shape(2, Ellipse(1, 1, (1, 1)))))
    again = pickle.loads(pickle.dumps(shapes))
    assert again == shapes
    assert hash(again) == hash(shapes)
    np.testing.assert_array_equal(again.read(), shapes.read())


def test_errors_name_the_file_and_the_image(tmp_path):
    runs = Runs(b"12", (4, 4))
    Image.new("L", (4, 4)).save(tmp_path / "a.png")
    with pytest.raises(AtrousError, match=r"x.json: a.png: the run lengths are broken.*add up to 3.*Export") as caught:
        Shapes(Path("x.json"), (4, 4), (Shape(1, runs),), tmp_path / "a.png").read()
    assert caught.value.kind == "broken-rle"
    with pytest.raises(AtrousError, match=r"run lengths of 4 x 4 pixels \(height x width\) came for an image of 5 x 4"):
        Shapes(Path("x.json"), (5, 4), (Shape(1, runs),)).read()
    for size in (None, (0, 4), (10**6, 10**6)):
        with pytest.raises(AtrousError, match=r"x.json: its size is"):
            Shapes(Path("x.json"), size, ()).read()


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_sizes_are_those_seen_or_stored(tmp_path, orientation):
    path = tmp_path / "a.jpg"
    exif = Image.Exif()
    exif[274] = orientation
    Image.new("RGB", (9, 6)).save(path, exif=exif)
    seen = (9, 6) if orientation >= 5 else (6, 9)
    shape = (Shape(1, polygon([SQUARE])),)
    assert Shapes(Path("x.json"), None, shape, path).read().shape == seen
    np.testing.assert_array_equal(Shapes(Path("x.json"), seen, shape, path).read()[1:4, 1:4], 1)
    if orientation < 5:
        with pytest.raises(
            AtrousError, match=r"a.jpg is 9 x 6 .* and the file is 6 x 9. Height and width are swapped"
        ) as caught:
            Shapes(Path("x.json"), (9, 6), shape, path).read()
        assert caught.value.kind == "axes-swapped"
    else:
        stored = Shapes(Path("x.json"), (6, 9), shape, path).read()
        assert stored.shape == (9, 6)
        assert stored[1:4, 2:5].all() if orientation == 6 else stored[5:8, 1:4].all()
    with pytest.raises(AtrousError, match=r"is 5 x 5 .*Use the images that were annotated") as caught:
        Shapes(Path("x.json"), (5, 5), shape, path).read()
    assert caught.value.kind == "size-differs"


def test_sizes_of_unusual_files(tmp_path):
    import tifffile

    tifffile.imwrite(tmp_path / "a.tif", np.zeros((6, 9, 3), np.uint16), photometric="rgb")
    assert Shapes(Path("x.json"), None, (), tmp_path / "a.tif").read().shape == (6, 9)
    with pytest.raises(AtrousError, match="no such file"):
        Shapes(Path("x.json"), None, (), tmp_path / "b.png").read()
