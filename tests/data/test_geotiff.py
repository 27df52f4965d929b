"""Rasters of GIS programs: place and no-data as rasterio reads them, and what a wrong place or value leads to."""

import pickle

import numpy as np
import pytest
import rasterio
import tifffile
from rasterio.transform import Affine

from atrous.contract import AtrousError, LabelSpace
from atrous.data import inspect_dataset, open_dataset, read_image, read_sample
from atrous.data.geotiff import Raster, RasterMask
from atrous.data.geotiff_tags import read_tags
from atrous.data.layouts import recognise
from atrous.data.pairs import Pair
from atrous.data.places import Georeference


def from_origin(x, y, width, height):
    return Affine(width, 0, x, 0, -height, y)


HERE = from_origin(500000, 4649776, 0.5, 0.5)


def noise(*shape, dtype=np.uint8, low=1, high=200, seed=0):
    return np.random.default_rng(seed).integers(low, high, shape).astype(dtype)


def write(path, array, *, transform=HERE, crs="EPSG:32633", **options):
    """Write (h, w) or (h, w, c) with rasterio."""
    path.parent.mkdir(parents=True, exist_ok=True)
    bands = array[None] if array.ndim == 2 else np.moveaxis(array, -1, 0)
    with rasterio.open(
        path, "w", driver="GTiff", height=bands.shape[1], width=bands.shape[2], count=bands.shape[0], dtype=bands.dtype,
        crs=crs, transform=transform, **options,
    ) as file:  # fmt: skip
        file.write(bands)
    return path


@pytest.mark.parametrize("crs", ["EPSG:32633", "EPSG:4326", "EPSG:3857", "EPSG:25832"])
@pytest.mark.parametrize(
    "transform",
    [HERE, from_origin(12.5, 45.25, 1e-5, 2e-5), Affine.translation(7, 8) @ Affine.rotation(30) @ Affine.scale(2, -3)],
)
@pytest.mark.parametrize("options", [{}, {"RASTER_TYPE": "POINT"}, {"GEOTIFF_VERSION": "1.1"}])
def test_place_is_rasterios(tmp_path, crs, transform, options):
    path = write(tmp_path / "a.tif", noise(6, 7), transform=transform, crs=crs, **options)
    if "RASTER_TYPE" in options:
        with rasterio.open(path, "r+") as file:
            file.update_tags(AREA_OR_POINT="Point")
    with rasterio.open(path) as file:
        wanted, name = file.transform, file.crs.to_string()
    place = read_tags(path).place
    np.testing.assert_allclose(place.transform, tuple(wanted)[:6], rtol=1e-12)
    assert place.crs == name == crs
    assert pickle.loads(pickle.dumps(place)) == place
    assert hash(place) == hash(read_tags(path).place)


def test_coordinates_of_ones_own_are_told_in_words(tmp_path):
    own = "+proj=laea +lat_0=12 +lon_0=34 +x_0=0 +y_0=0 +datum=WGS84 +units=m"
    path = write(tmp_path / "a.tif", noise(6, 7), crs=own)
    assert rasterio.crs.CRS.from_string(read_tags(path).place.crs) == rasterio.open(path).crs


@pytest.mark.parametrize(
    ("dtype", "nodata"),
    [("uint8", 0), ("uint8", 255), ("int16", -9999), ("uint16", 65535), ("float32", -9999), ("float32", np.nan),
     ("float32", np.finfo(np.float32).min), ("float64", -1.5), ("float32", 1e-20), ("int32", -2147483648)],
)  # fmt: skip
@pytest.mark.parametrize("channels", [1, 3])
def test_no_data_is_rasterios(tmp_path, dtype, nodata, channels):
    array = noise(20, 30, channels, dtype=dtype)
    array[2:5, 3:9] = nodata
    array[10, 10, 0] = nodata  # in one channel of three: there is data
    path = write(tmp_path / "a.tif", array, nodata=nodata)
    raster = Raster(path)
    with rasterio.open(path) as file:
        np.testing.assert_equal(np.dtype(dtype).type(read_tags(path).nodata), np.dtype(dtype).type(file.nodata))
        wanted = file.dataset_mask() != 0
    if np.isnan(nodata):
        wanted[10, 10] = False  # no network can be given a NaN
    np.testing.assert_array_equal(raster.valid(), wanted)
    image = raster.read()
    assert image.dtype == read_image(path).dtype
    assert not image[~wanted].any()
    np.testing.assert_array_equal(image[wanted], read_image(path)[wanted])


def test_alpha_and_mask_pages_say_what_holds_data(tmp_path):
    image, alpha = noise(20, 30, 3), np.full((20, 30), 255, np.uint8)
    alpha[:4] = 0
    path = write(tmp_path / "alpha.tif", np.dstack([image, alpha]), photometric="RGB", alpha="yes")
    with rasterio.open(path) as file:
        np.testing.assert_array_equal(Raster(path).valid(), file.dataset_mask() != 0)
    assert Raster(path).read().shape == (20, 30, 3)
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True):
        path = write(tmp_path / "page.tif", image)
        with rasterio.open(path, "r+") as file:
            file.write_mask(alpha != 0)
    assert not (tmp_path / "page.tif.msk").exists()
    np.testing.assert_array_equal(Raster(path).valid(), alpha != 0)
    np.testing.assert_array_equal(Raster(path).read()[4:], image[4:])


def test_near_infrared_is_a_channel_and_no_alpha(tmp_path):
    array = noise(20, 30, 4)
    path = write(tmp_path / "a.tif", array)
    assert read_tags(path).alpha
    for got in (read_image(path), Raster(path).read()):
        np.testing.assert_array_equal(got, array)
    assert Raster(path).valid().all()
    assert Raster(write(tmp_path / "b.tif", noise(20, 30, 3))).valid() is None


@pytest.mark.parametrize(
    ("dtype", "nodata", "ignore"),
    [("int16", -9999, -9999), ("uint8", 255, 255), ("uint8", 7, 7), ("float32", np.nan, 255), ("float32", -1.5, 255),
     ("float32", np.finfo(np.float32).min, 255), ("uint16", 65535, 65535)],
)  # fmt: skip
def test_no_data_of_masks_is_ignored(tmp_path, dtype, nodata, ignore):
    labels = noise(20, 30, low=0, high=3)
    stored = labels.astype(dtype)
    stored[:5] = nodata
    for name in "ab":
        write(tmp_path / "images" / f"{name}.tif", noise(20, 30, 3))
        write(tmp_path / "masks" / f"{name}.tif", stored, nodata=nodata)
    dataset = open_dataset(tmp_path)
    assert (dataset.space.ignore, dataset.space.values) == (ignore, (0, 1, 2))
    sample = read_sample(dataset.splits["train"][0], dataset.space)
    assert (sample.labels[:5] == 255).all()
    np.testing.assert_array_equal(sample.labels[5:], labels[5:])
    assert sample.place == Georeference(tuple(HERE)[:6], "EPSG:32633")


def test_no_data_that_is_the_background_stays_a_class(tmp_path):
    for name in "ab":
        write(tmp_path / "images" / f"{name}.tif", noise(20, 30, 3))
        write(tmp_path / "masks" / f"{name}.tif", noise(20, 30, low=0, high=2), nodata=0)
    (note,) = recognise(tmp_path).notes
    assert note.startswith("The masks' value for no data, 0, is taken for a class, since the 2 masks that were looked")
    assert len(open_dataset(tmp_path).space) == 2
    assert open_dataset(tmp_path, classes=["ground", "roof"]).space.values == (0, 1)
    write(tmp_path / "masks" / "b.tif", noise(20, 30, low=0, high=4), nodata=0)
    found = recognise(tmp_path)
    assert (found.told.ignore, found.notes) == (0, (
        "The masks' value for no data, 0, is ignored. If it is a class, list it in classes.json.",
    ))  # fmt: skip
    (tmp_path / "classes.json").write_text('{"names": ["ground", "a", "b", "c"], "values": [0, 1, 2, 3]}')
    dataset = open_dataset(tmp_path)
    assert not (read_sample(dataset.splits["train"][0], dataset.space).labels == 255).any()


def test_masks_with_different_values_for_no_data(tmp_path):
    for name, nodata in (("a", -9999), ("b", 99), ("c", 99)):
        labels = noise(20, 30, low=0, high=3, dtype=np.int16)
        labels[:5] = nodata
        write(tmp_path / "images" / f"{name}.tif", noise(20, 30, 3))
        write(tmp_path / "masks" / f"{name}.tif", labels, nodata=nodata)
    dataset = open_dataset(tmp_path)
    assert (dataset.space.ignore, dataset.space.values) == (-9999, (0, 1, 2))
    for pairs in dataset.splits.values():
        for pair in pairs:
            assert (read_sample(pair, dataset.space).labels[:5] == 255).all()


def test_image_pixels_without_data_are_ignored(tmp_path):
    image = noise(20, 30, 3)
    image[:, 25:] = 0
    pair = Pair("a", Raster(write(tmp_path / "a.tif", image, nodata=0)), write(tmp_path / "m.tif", noise(20, 30) % 2))
    labels = read_sample(pair, LabelSpace(names=("off", "on"))).labels
    assert (labels[:, 25:] == 255).all()
    assert not (labels[:, :25] == 255).any()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"transform": from_origin(500004, 4649776, 0.5, 0.5)},
         r"upper left corner lies at \(500004, 4649776\) and not at \(500000, 4649776\), 8 pixels away"),
        ({"transform": from_origin(500000, 4649776, 0.6, 0.6)}, r"lower right corner lies at .*, 7\.211 pixels away"),
        ({"crs": "EPSG:32634"}, r"its coordinates are EPSG:32634 and not EPSG:32633"),
    ],
)  # fmt: skip
def test_a_mask_of_another_place_is_refused(tmp_path, options, words):
    for name in "ab":
        write(tmp_path / "images" / f"{name}.tif", noise(20, 30, 3))
        write(tmp_path / "masks" / f"{name}.tif", noise(20, 30) % 2, **options)
    dataset = open_dataset(tmp_path)
    with pytest.raises(
        AtrousError, match=rf"\.tif: the mask lies elsewhere than its image .*\.tif: .*{words}"
    ) as caught:
        read_sample(dataset.splits["train"][0], dataset.space)
    assert caught.value.kind == "place-differs"
    (finding,) = [each for each in inspect_dataset(tmp_path).findings if each.kind == "place-differs"]
    assert finding.count == 2
    near = {"transform": from_origin(500000.2, 4649776, 0.5, 0.5)}
    for name in "ab":
        write(tmp_path / "masks" / f"{name}.tif", noise(20, 30) % 2, **near)
    read_sample(dataset.splits["train"][0], dataset.space)


def test_plain_tiffs_stay_files_and_png_masks_stay_png(tmp_path):
    for name in "ab":
        for kind in ("images", "masks"):
            (tmp_path / "plain" / kind).mkdir(parents=True, exist_ok=True)
            tifffile.imwrite(tmp_path / "plain" / kind / f"{name}.tif", noise(20, 30) % 2)
    pairs = recognise(tmp_path / "plain").splits["train"].pairs
    assert all(not isinstance(source, (Raster, RasterMask)) for pair in pairs for source in (pair.image, pair.mask))


def test_damaged_rasters_have_words(tmp_path):
    path = write(tmp_path / "a.tif", noise(20, 30), nodata=0)
    whole = path.read_bytes()
    generator = np.random.default_rng(0)
    for _ in range(150):
        broken = bytearray(whole)
        for place in generator.integers(0, min(400, len(whole)), 3):
            broken[place] = generator.integers(256)
        path.write_bytes(broken)
        try:
            Raster(path).read()
            assert Raster(path).place is None or isinstance(Raster(path).place, Georeference)
        except AtrousError:
            continue
    path.write_bytes(b"no tiff at all")
    with pytest.raises(AtrousError, match=r"a.tif: this is no TIFF, whatever its name"):
        read_tags(path)
    path.write_bytes(whole[:60])
    with pytest.raises(AtrousError, match="truncated or damaged"):
        read_tags(path)


def test_no_data_is_told_from_masks_all_over_the_folder(tmp_path):
    for number in range(5):
        write(tmp_path / "images" / f"{number}.tif", noise(20, 30, 3))
        write(tmp_path / "masks" / f"{number}.tif", noise(20, 30, low=0, high=4 if number == 2 else 2), nodata=0)
    found = recognise(tmp_path)
    assert found.told.ignore == 0
    assert found.notes[0].startswith("The masks' value for no data, 0, is ignored.")
