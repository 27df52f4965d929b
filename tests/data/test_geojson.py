"""Labels as polygons on a map: drawn again by rasterio they are the same labels."""

import json
import sys

import numpy as np
import pytest
import rasterio
import rasterio.features
import rasterio.warp
from rasterio.transform import Affine

from atrous.contract import AtrousError, LabelSpace, Sample
from atrous.data import open_dataset, write_image
from atrous.data.conversion import geojson
from atrous.data.places import Georeference

SPACE = LabelSpace(names=("ground", "roof", "나무"), values=(0, 10, 20))


def blobs(height=24, width=31, seed=0, classes=3):
    generator = np.random.default_rng(seed)
    coarse = generator.integers(0, classes, (height // 4 + 1, width // 4 + 1), dtype=np.uint8)
    labels = np.kron(coarse, np.ones((4, 4), np.uint8))[:height, :width].copy()
    labels[generator.random((height, width)) < 0.15] = 1
    return labels


def drawn_again(collection, shape, transform=None, crs=None):
    shapes = []
    for feature in collection["features"]:
        shape_ = feature["geometry"]
        if crs is not None:
            shape_ = rasterio.warp.transform_geom("EPSG:4326", crs, shape_)
        shapes.append((shape_, SPACE.names.index(feature["properties"]["class"])))
    return rasterio.features.rasterize(
        shapes, shape, fill=255, transform=transform or Affine.identity(), dtype=np.uint8
    )


def signed_area(ring):
    x, y = np.array(ring, float).T
    return ((x[:-1] - x[0]) * (y[1:] - y[0]) - (x[1:] - x[0]) * (y[:-1] - y[0])).sum() / 2


PLACES = [
    None,
    Georeference((1.0, 0.0, 0.0, 0.0, 1.0, 0.0)),
    Georeference((0.5, 0.0, 500000.0, 0.0, -0.5, 4649776.0), "EPSG:32633"),
    Georeference((1e-5, 0.0, 12.5, 0.0, -2e-5, 45.25), "EPSG:4326"),
    Georeference((0.4, 0.3, 389000.0, 0.3, -0.4, 5819000.0), "EPSG:25833"),
    Georeference((2.0, 0.0, 1.4e7, 0.0, 2.0, 4.5e6), "EPSG:3857"),
]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("seed", range(3))
def test_drawn_again_they_are_the_labels(place, seed):
    labels = blobs(seed=seed)
    labels[3:9, 4:8] = labels[:2] = labels[:, :3] = 255  # so that no class touches the first row or column
    collection = geojson.feature_collection(Sample(image=labels[..., None], labels=labels, place=place), SPACE)
    assert ("crs" in collection) == (place is None or place.crs is None)
    known = place is not None and place.crs not in (None, "EPSG:4326")
    transform = Affine(*place.transform) if place is not None else None
    got = drawn_again(collection, labels.shape, transform, place.crs if known else None)
    np.testing.assert_array_equal(got, labels)
    for feature in collection["features"]:
        outer, *holes = feature["geometry"]["coordinates"]
        assert signed_area(outer) > 0
        assert all(signed_area(hole) < 0 for hole in holes)
        assert all(ring[0] == ring[-1] and len(ring) >= 5 for ring in (outer, *holes))
    counted = dict.fromkeys(SPACE.names, 0)
    for feature in collection["features"]:
        counted[feature["properties"]["class"]] += feature["properties"]["area"]
    assert counted == {name: int((labels == index).sum()) for index, name in enumerate(SPACE.names)}


def test_degrees_are_longitude_and_latitude():
    place = Georeference((10.0, 0.0, 500000.0, 0.0, -10.0, 4649776.0), "EPSG:32633")
    labels = np.ones((2, 2), np.uint8)
    ring = geojson.feature_collection(Sample(image=labels, labels=labels, place=place), SPACE)["features"][0]
    first = ring["geometry"]["coordinates"][0][0]
    np.testing.assert_allclose(first, (15.0, 42.0), atol=0.01)  # the middle of zone 33


def test_a_dataset_is_written(tmp_path):
    for split in ("train", "val"):
        for name in ("a b", "나무"):
            write_image(tmp_path / "old" / "images" / split / f"{name}.png", np.zeros((24, 31, 3), np.uint8))
            write_image(tmp_path / "old" / "masks" / split / f"{name}.png", blobs())
    notes, steps = [], []
    dataset = open_dataset(tmp_path / "old", classes=SPACE.names)
    files = geojson.write(
        dataset, tmp_path / "new", progress=lambda done, total: steps.append((done, total)), say=notes.append
    )
    assert sorted(path.relative_to(tmp_path / "new").as_posix() for path in files) == [
        "train/a b.geojson", "train/나무.geojson", "val/a b.geojson", "val/나무.geojson",
    ]  # fmt: skip
    assert steps == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert notes == ['4 files with "crs": null, since the coordinates of the images are not known']
    stored = json.loads(files[0].read_text(encoding="utf-8"))
    assert (stored["image"], stored["crs"]) == ("a b.png", None)
    np.testing.assert_array_equal(drawn_again(stored, (24, 31)), blobs())


def test_a_raster_is_written_where_it_lies(tmp_path):
    transform = Affine(0.5, 0, 500000, 0, -0.5, 4649776)
    for name in "ab":
        for kind, array in (("images", np.full((3, 24, 31), 9, np.uint8)), ("masks", blobs()[None])):
            (tmp_path / "old" / kind).mkdir(parents=True, exist_ok=True)
            with rasterio.open(
                tmp_path / "old" / kind / f"{name}.tif", "w", driver="GTiff", height=24, width=31, count=len(array),
                dtype=np.uint8, crs="EPSG:32633", transform=transform,
            ) as file:  # fmt: skip
                file.write(array)
    dataset = open_dataset(tmp_path / "old", classes=SPACE.names)
    (path, _) = geojson.write(dataset, tmp_path / "new")
    collection = json.loads(path.read_text(encoding="utf-8"))
    np.testing.assert_array_equal(drawn_again(collection, (24, 31), transform, "EPSG:32633"), blobs())


def test_nothing_to_draw():
    labels = np.full((3, 4), 255, np.uint8)
    assert geojson.feature_collection(Sample(image=labels, labels=labels, place=PLACES[2]), SPACE)["features"] == []
    assert geojson.feature_collection(Sample(image=labels), SPACE)["features"] == []


def test_words_for_coordinates_that_cannot_be_turned(monkeypatch):
    labels = np.zeros((3, 4), np.uint8)
    strange = Georeference(PLACES[2].transform, "a local grid")
    with pytest.raises(AtrousError, match=r"its coordinates a local grid are not known"):
        geojson.feature_collection(Sample(image=labels, labels=labels, place=strange), SPACE)
    far = Georeference((1e30, 0.0, 0.0, 0.0, -1e30, 0.0), "EPSG:32633")
    with pytest.raises(AtrousError, match=r"corners have no longitude and latitude|are not known"):
        geojson.feature_collection(Sample(image=labels, labels=labels, place=far), SPACE)
    monkeypatch.setitem(sys.modules, "rasterio.warp", None)
    with pytest.raises(AtrousError, match=r'EPSG:32633 are written as .* by rasterio: pip install "atrous\[geo\]"'):
        geojson.feature_collection(Sample(image=labels, labels=labels, place=PLACES[2]), SPACE)
