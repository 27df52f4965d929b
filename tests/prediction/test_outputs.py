"""Every kind of file that a prediction is written as: polygons, COCO, cut-outs, and what becomes of a full disk."""

import errno
import json

import numpy as np
import pytest
from PIL import Image

from atrous.contract import AtrousError, LabelSpace, Prediction, Sample
from atrous.data import read_image
from atrous.data.places import Georeference
from atrous.data.rings import filled
from atrous.data.rle import decode
from atrous.prediction.coco_files import coco, joined_coco
from atrous.prediction.cutouts import cutout
from atrous.prediction.outputs import SCORED, write_prediction
from atrous.prediction.polygons import polygon_collection
from atrous.prediction.wanted import KINDS

SPACE = LabelSpace(names=("background", "car", "도로"), colours=((0, 0, 0), (255, 16, 0), (1, 2, 3)))
STREET = LabelSpace(names=("road", "car"))

# A ring with a hole, a region beside it, one pixel that touches by a corner, one pixel alone, and two ignored ones.
LABELS = np.array(
    [
        [1, 1, 1, 2, 2, 0],
        [1, 0, 1, 2, 0, 0],
        [1, 1, 1, 0, 0, 2],
        [0, 0, 0, 1, 255, 255],
    ],
    np.uint8,
)
REGIONS = [("car", 8), ("car", 1), ("도로", 3), ("도로", 1)]


def prediction(labels=LABELS, space=SPACE, *, scored=False):
    scores = np.zeros((len(space), *labels.shape), np.float32)
    scores[:] = (np.arange(len(space))[:, None, None] == labels) * 0.8 + 0.2 / len(space)
    return Prediction(labels=labels, space=space, probabilities=scores / scores.sum(0) if scored else None)


def sample(labels=LABELS, **more):
    image = np.arange(labels.size * 3).reshape(*labels.shape, 3).astype(np.uint8)
    return Sample(image=image, **more)


def test_every_kind_is_a_file_in_its_own_folder(tmp_path):
    paths = write_prediction(tmp_path, "a b/한 🙂", prediction(scored=True), sample(), save=KINDS)
    assert [path.relative_to(tmp_path).as_posix() for path in paths] == [
        "masks/a b/한 🙂.png",
        "overlays/a b/한 🙂.jpg",
        "probabilities/a b/한 🙂.npz",
        "polygons/a b/한 🙂.geojson",
        "coco/a b/한 🙂.json",
        "cutouts/a b/한 🙂.png",
        "statistics/a b/한 🙂.csv",
    ]
    assert sorted(paths) == sorted(path for path in tmp_path.rglob("*") if path.is_file())
    assert set(KINDS) >= SCORED


def test_the_same_prediction_is_the_same_bytes(tmp_path):
    contents = []
    for folder in ("a", "b"):
        paths = write_prediction(tmp_path / folder, "n", prediction(scored=True), sample(), save=KINDS)
        contents.append([path.read_bytes() for path in paths])
    assert contents[0] == contents[1]


def test_probabilities_that_are_not_there_are_no_file(tmp_path):
    assert write_prediction(tmp_path, "a", prediction(), sample(), save=("probabilities",)) == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", ["masks", "overlays", "polygons", "coco", "cutouts", "statistics"])
def test_a_full_disk_leaves_what_was_there(kind, tmp_path, monkeypatch):
    (path,) = write_prediction(tmp_path, "a", prediction(), sample(), save=(kind,))
    before = path.read_bytes()

    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("pathlib.Path.replace", full)
    with pytest.raises(AtrousError, match=rf"{path.name}: could not be written \(No space left on device\)"):
        write_prediction(tmp_path, "a", prediction(LABELS[::-1].copy()), sample(), save=(kind,))
    assert path.read_bytes() == before
    assert [file for file in tmp_path.rglob("*") if file.is_file()] == [path]


# Polygons


def drawn(collection, size, space):
    """Return the labels that polygons cover."""
    labels = np.full(size, 255, np.uint8)
    for feature in collection["features"]:
        rings = [np.array(ring[:-1]) for ring in feature["geometry"]["coordinates"]]
        labels[filled(rings, size)] = space.names.index(feature["properties"]["class"])
    return labels


def test_polygons_are_the_labels_again_without_background():
    made = polygon_collection(LABELS, SPACE)
    np.testing.assert_array_equal(drawn(made, LABELS.shape, SPACE), np.where(LABELS == 0, 255, LABELS))
    found = [(each["properties"]["class"], each["properties"]["area"]) for each in made["features"]]
    assert sorted(found) == sorted(REGIONS)
    assert made["features"][0]["properties"] == {"class": "car", "value": 1, "area": 8, "colour": "#ff1000"}
    assert len(made["features"][0]["geometry"]["coordinates"]) == 2
    assert made["crs"] is None


def test_where_no_class_is_background_all_are_polygons():
    labels = np.array([[0, 1]], np.uint8)
    np.testing.assert_array_equal(drawn(polygon_collection(labels, STREET), (1, 2), STREET), labels)


@pytest.mark.parametrize("label", [0, 1, 255])
def test_pictures_of_one_pixel(label, tmp_path):
    labels = np.full((1, 1), label, np.uint8)
    paths = write_prediction(tmp_path, "a", prediction(labels), sample(labels), save=("polygons", "coco"))
    polygons, annotations = (json.loads(path.read_text()) for path in paths)
    assert len(polygons["features"]) == len(annotations["annotations"]) == (label == 1)


def test_polygons_of_a_map_are_on_the_earth(tmp_path):
    place = Georeference((0.1, 0, 20.0, 0, -0.1, 50.0), "EPSG:4326")
    there = sample(place=place, path=tmp_path / "map.tif")
    (path,) = write_prediction(tmp_path, "map", prediction(), there, save=("polygons",))
    made = json.loads(path.read_text())
    assert "crs" not in made
    assert made["image"] == "map.tif"
    corners = np.array(made["features"][0]["geometry"]["coordinates"][0])
    np.testing.assert_allclose([corners.min(0), corners.max(0)], [[20.0, 49.7], [20.3, 50.0]])


# COCO


def pixels(annotation, size):
    code = annotation["segmentation"]
    if isinstance(code, dict):
        return decode(code["counts"], tuple(code["size"]))
    return filled([np.reshape(ring, (-1, 2)) for ring in code], size)


def test_an_annotation_is_a_region():
    made = coco(LABELS, SPACE, file_name="a.jpg")
    assert [(each["id"], each["name"]) for each in made["categories"]] == [(1, "car"), (2, "도로")]
    assert made["images"] == [{"id": 1, "file_name": "a.jpg", "width": 6, "height": 4}]
    found = [(SPACE.names[each["category_id"]], each["area"]) for each in made["annotations"]]
    assert sorted(found) == sorted(REGIONS)
    labels = np.zeros(LABELS.shape, np.uint8)
    for each in made["annotations"]:
        mask = pixels(each, LABELS.shape)
        assert not labels[mask].any()
        labels[mask] = each["category_id"]
    np.testing.assert_array_equal(labels, np.where(LABELS == 255, 0, LABELS))
    assert sum(isinstance(each["segmentation"], dict) for each in made["annotations"]) == 1


def test_void_has_a_category_and_no_annotations():
    space = LabelSpace(names=("road", "void"))
    made = coco(np.array([[0, 1]], np.uint8), space, file_name="a")
    assert [each["category_id"] for each in made["annotations"]] == [1]


def test_files_are_joined_with_numbers_of_their_own(tmp_path):
    assert joined_coco(tmp_path) is None
    for name in ("b", "a/1"):
        write_prediction(tmp_path, name, prediction(), sample(path=tmp_path / "x.JPG"), save=("coco",))
    (tmp_path / "coco" / ".half.json").write_text("{")
    for _ in range(2):
        assert joined_coco(tmp_path) == tmp_path / "coco.json"
    made = json.loads((tmp_path / "coco.json").read_text(encoding="utf-8"))
    assert [(each["id"], each["file_name"]) for each in made["images"]] == [(1, "a/1.JPG"), (2, "b.JPG")]
    assert [each["id"] for each in made["annotations"]] == list(range(1, 9))
    assert [each["image_id"] for each in made["annotations"]] == [1] * 4 + [2] * 4
    alone = coco(LABELS, SPACE, file_name="b.JPG")
    assert made["categories"] == alone["categories"]
    kept = [{**each, "id": 0, "image_id": 0} for each in made["annotations"][4:]]
    assert kept == [{**each, "id": 0, "image_id": 0} for each in alone["annotations"]]


def test_files_that_cannot_be_joined(tmp_path):
    write_prediction(tmp_path, "a", prediction(), sample(), save=("coco",))
    joined_coco(tmp_path)
    before = (tmp_path / "coco.json").read_bytes()
    other = prediction(np.zeros((4, 6), np.uint8), STREET)
    (path,) = write_prediction(tmp_path, "b", other, sample(), save=("coco",))
    with pytest.raises(AtrousError, match=r"b.json: its categories are not those of the files before it"):
        joined_coco(tmp_path)
    for text, words in (("{", "cannot be read"), ('{"images": [], "annotations": []}', "no COCO file of one image")):
        path.write_text(text)
        with pytest.raises(AtrousError, match=rf"b.json: .*{words}"):
            joined_coco(tmp_path)
    assert (tmp_path / "coco.json").read_bytes() == before
    assert [file.name for file in tmp_path.iterdir() if file.is_file()] == ["coco.json"]


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_pycocotools_reads_the_joined_file(tmp_path):
    tools = pytest.importorskip("pycocotools.coco")
    write_prediction(tmp_path, "a", prediction(), sample(), save=("coco",))
    known = tools.COCO(joined_coco(tmp_path))
    labels = np.zeros(LABELS.shape, np.uint8)
    for annotation in known.anns.values():
        labels[known.annToMask(annotation) > 0] = annotation["category_id"]
    np.testing.assert_array_equal(labels, np.where(LABELS == 255, 0, LABELS))


# Cut-outs


def test_a_cutout_is_transparent_where_background_is(tmp_path):
    (path,) = write_prediction(tmp_path, "a", prediction(), sample(), save=("cutouts",))
    with Image.open(path) as picture:
        made = np.array(picture)
    assert made.shape == (4, 6, 4)
    np.testing.assert_array_equal(made[..., 3] > 0, (LABELS != 0) & (LABELS != 255))
    np.testing.assert_array_equal(made[..., :3], sample().image)
    assert read_image(path).shape[:2] == (4, 6)


def test_the_edge_is_soft_by_probabilities():
    without = np.array([[1, 0.76, 0.5, 0.4, 0.24, 0]], np.float32)
    scores = np.stack([without, (1 - without) * 0.9, (1 - without) * 0.1])
    scores[1:, :, 2:] = np.stack([1 - without, without * 0])[:, :, 2:]
    labels = scores.argmax(0).astype(np.uint8)
    opacity = cutout(np.zeros((1, 6), np.uint8), labels, SPACE, probabilities=scores)[..., 3]
    assert opacity.tolist() == [[0, 0, 128, 179, 255, 255]]
    labels[0, 5] = 255
    assert cutout(np.zeros((1, 6), np.uint8), labels, SPACE, probabilities=scores)[0, 5, 3] == 0


def test_the_first_class_is_background_where_none_is_called_so():
    labels = np.array([[0, 1]], np.uint8)
    assert cutout(labels, labels, STREET)[..., 3].tolist() == [[0, 255]]
    last = LabelSpace(names=("car", "BG"))
    assert cutout(labels, labels, last)[..., 3].tolist() == [[255, 0]]
    only = LabelSpace(names=("car",))
    assert cutout(labels, labels * 0, only)[..., 3].tolist() == [[255, 255]]


@pytest.mark.parametrize(("dtype", "channels"), [(np.uint16, 1), (np.float32, 3), (np.uint8, 7), (np.int16, 2)])
def test_cutouts_of_any_depth(dtype, channels):
    labels = np.eye(5, 4, dtype=np.uint8)
    image = np.random.default_rng(0).integers(0, 200, (5, 4, channels)).astype(dtype)
    made = cutout(image, labels, SPACE)
    assert (made.shape, made.dtype) == ((5, 4, 4), np.uint8)
    np.testing.assert_array_equal(made[..., 3], 255 * labels)
