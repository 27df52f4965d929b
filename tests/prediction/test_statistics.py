"""How much of each class there is: pixels, regions joined over blocks and slices, and sizes of pixels."""

import csv
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atrous.contract import AtrousError, LabelSpace
from atrous.data.grids import Spacing
from atrous.data.places import Georeference
from atrous.prediction.pixel_sizes import pixel_sizes
from atrous.prediction.regions import regions
from atrous.prediction.statistics import COLUMNS, Statistics, joined_statistics, write_statistics
from atrous.prediction.tallies import Tally, VolumeTally, statistics_of, volume_statistics

SPACE = LabelSpace(names=("background", "car, red", "길"))


def flooded(labels):
    """Return the numbers of regions of an array of any axes, found pixel by pixel."""
    numbers = np.zeros(labels.shape, int)
    count = 0
    for start in np.ndindex(labels.shape):
        if numbers[start]:
            continue
        count += 1
        waiting = [start]
        while waiting:
            place = waiting.pop()
            if numbers[place]:
                continue
            numbers[place] = count
            for axis in range(labels.ndim):
                for step in (-1, 1):
                    other = list(place)
                    other[axis] += step
                    inside = 0 <= other[axis] < labels.shape[axis]
                    if inside and labels[tuple(other)] == labels[place]:
                        waiting.append(tuple(other))
    return numbers


def region_counts(labels, classes=3):
    numbers = flooded(labels)
    return tuple(len(np.unique(numbers[labels == label])) for label in range(classes))


def random_labels(seed, shape):
    random = np.random.default_rng(seed)
    return random.choice(np.array([0, 0, 1, 1, 2, 255], np.uint8), shape)


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (7, 1), (9, 8)])
def test_regions_are_connected_over_sides(shape):
    labels = random_labels(1, shape)
    found, expected = regions(labels), flooded(labels)
    pairs = set(zip(found.ravel().tolist(), expected.ravel().tolist(), strict=True))
    assert len(pairs) == len({a for a, _ in pairs}) == len({b for _, b in pairs})
    assert found.min() == 1


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 6), st.integers(1, 5), st.tuples(st.integers(1, 13), st.integers(1, 12)))
def test_blocks_are_counted_as_the_whole(seed, height, width, shape):
    labels = random_labels(seed, shape)
    tally = Tally(SPACE, shape[1])
    for top in range(0, shape[0], height):
        for left in range(0, shape[1], width):
            tally.add(labels[top : top + height, left : left + width], top, left)
    assert tally.statistics() == statistics_of(labels, SPACE)
    assert tally.statistics().regions == region_counts(labels)
    assert tally.statistics().pixels == tuple(int((labels == label).sum()) for label in range(3))


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.tuples(st.integers(1, 5), st.integers(1, 6), st.integers(1, 5)))
def test_regions_of_volumes_go_through_slices(seed, shape):
    labels = random_labels(seed, shape)
    assert volume_statistics(labels, SPACE).regions == region_counts(labels)


def test_a_snake_that_closes_late_is_one_region():
    labels = np.zeros((7, 7), np.uint8)
    labels[::2] = 1
    labels[1, 6] = labels[3, 0] = labels[5, 6] = 1
    tally = Tally(SPACE, 7)
    for top in range(7):
        for left in range(0, 7, 2):
            tally.add(labels[top : top + 1, left : left + 2], top, left)
    assert tally.statistics().regions[1] == 1


@pytest.mark.parametrize(("top", "left"), [(0, 0), (0, 7), (1, 6)])
def test_blocks_in_another_order_are_refused(top, left):
    tally = Tally(SPACE, 8)
    tally.add(np.zeros((2, 4), np.uint8), 0, 0)
    if (top, left) == (1, 6):
        tally.add(np.zeros((2, 4), np.uint8), 2, 0)
    with pytest.raises(ValueError, match=rf"a block at row {top} and column {left}, 4 wide, came after"):
        tally.add(np.zeros((2, 4), np.uint8), top, left)


# Sizes


def test_a_spacing_gives_square_millimetres_and_a_volume_millilitres():
    labels = np.array([[0, 1, 1]], np.uint8)
    place = Spacing((0.5, 0.8), 4.0)
    flat = statistics_of(labels, SPACE, place=place)
    assert flat.unit == "mm2"
    np.testing.assert_allclose(flat.sizes, [0.4, 0.8, 0])
    deep = volume_statistics(np.stack([labels, labels]), SPACE, place=place)
    assert deep.unit == "ml"
    np.testing.assert_allclose(deep.sizes, [0.0032, 0.0064, 0])
    assert (statistics_of(labels, SPACE).sizes, VolumeTally(SPACE).statistics().sizes) == (None, None)


def test_degrees_are_square_metres_on_the_ellipsoid():
    whole = Georeference((1.0, 0, -180.0, 0, -1.0, 90.0), "EPSG:4326")
    labels = np.zeros((180, 360), np.uint8)
    labels[:90] = 1
    found = statistics_of(labels, SPACE, place=whole)
    assert found.unit == "m2"
    assert found.sizes[0] + found.sizes[1] == pytest.approx(510_065_621_724_088, rel=1e-9)  # of the WGS 84 ellipsoid
    assert found.sizes[0] == pytest.approx(found.sizes[1])
    tally = Tally(SPACE, 360, place=whole)
    for top in range(0, 180, 50):
        tally.add(labels[top : top + 50], top, 0)
    np.testing.assert_allclose(tally.statistics().sizes, found.sizes)


def test_web_mercator_is_not_taken_at_its_word():
    latitude = math.radians(60)
    north = 6378137 * math.asinh(math.tan(latitude))
    sizes, unit = pixel_sizes(Georeference((10, 0, 0, 0, -10, north), "EPSG:3857"), np.arange(1))
    assert unit == "m2"
    assert sizes[0] == pytest.approx(100 * math.cos(latitude) ** 2, rel=0.01)


@pytest.mark.parametrize(
    ("crs", "transform", "size"),
    [
        ("EPSG:32633", (0.5, 0, 7, 0, -0.5, 9), 0.25),
        ("EPSG:32733", (0.3, 0.4, 7, 0.4, -0.3, 9), 0.25),
        ("EPSG:2263", (2, 0, 0, 0, -2, 0), 4 * 0.3048006096**2),  # feet of the US survey
    ],
)
def test_projected_maps_have_the_area_of_their_plane(crs, transform, size):
    pytest.importorskip("rasterio")
    sizes, unit = pixel_sizes(Georeference(transform, crs), np.arange(3))
    assert unit == "m2"
    np.testing.assert_allclose(sizes, size, rtol=1e-6)


@pytest.mark.parametrize(
    "place",
    [
        None,
        "somewhere",
        Georeference((1, 0, 0, 0, -1, 0)),
        Georeference((1, 0, 0, 0, -1, 0), "EPSG:4258"),
        Georeference((1, 0, 0, 0, -1, 0), "no coordinates"),
        Georeference((1, 0.1, 0, 0.1, -1, 0), "EPSG:4326"),
    ],
)
def test_sizes_that_cannot_be_known_are_left_out(place):
    assert pixel_sizes(place, np.arange(2))[1] == ""
    assert statistics_of(np.zeros((2, 2), np.uint8), SPACE, place=place).sizes is None


# Tables


def rows_of(path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_a_table_has_a_line_for_every_class(tmp_path):
    statistics = Statistics(pixels=(3, 1, 0), regions=(2, 1, 0), sizes=(1.5, 0.5, 0), unit="ml")
    write_statistics(tmp_path / "a.csv", statistics, SPACE)
    first, second, third = rows_of(tmp_path / "a.csv")
    assert first == dict(zip(COLUMNS, ("background", "3", "0.750000", "2", "", "", "1.5"), strict=True))
    assert (second["class"], third["class"], third["share"]) == ("car, red", "길", "0.000000")
    write_statistics(tmp_path / "b.csv", statistics_of(np.full((2, 2), 255, np.uint8), SPACE), SPACE)
    assert {(row["pixels"], row["share"], row["regions"], row["volume_ml"]) for row in rows_of(tmp_path / "b.csv")} == {
        ("0", "", "0", "")
    }


def test_tables_are_joined(tmp_path):
    assert joined_statistics(tmp_path) is None
    for name, label in (("b", 1), ("a/x.y", 2)):
        statistics = statistics_of(np.full((1, 2), label, np.uint8), SPACE)
        write_statistics(tmp_path / "statistics" / f"{name}.csv", statistics, SPACE)
    (tmp_path / "statistics" / ".half.csv").write_text("x")
    for _ in range(2):
        assert joined_statistics(tmp_path) == tmp_path / "statistics.csv"
    found = [(row["image"], row["class"], row["pixels"]) for row in rows_of(tmp_path / "statistics.csv")]
    assert found == [
        ("a/x.y", "background", "0"),
        ("a/x.y", "car, red", "0"),
        ("a/x.y", "길", "2"),
        ("b", "background", "0"),
        ("b", "car, red", "2"),
        ("b", "길", "0"),
    ]


@pytest.mark.parametrize("content", [b"", b"class,pixels\na,1\n", b"\xff\xfe\x00", ",".join(COLUMNS).encode() + b"\na"])
def test_what_is_no_table_is_not_joined(content, tmp_path):
    (tmp_path / "statistics").mkdir()
    (tmp_path / "statistics" / "a.csv").write_bytes(content)
    with pytest.raises(AtrousError, match=r"a.csv: .*Remove it and predict again"):
        joined_statistics(tmp_path)
    assert not (tmp_path / "statistics.csv").exists()
