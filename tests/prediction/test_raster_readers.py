"""Rasters read in windows: every pixel as reading the file whole gives it, and damaged files refused in words."""

from contextlib import closing

import numpy as np
import pytest
import rasterio
import tifffile
import zarr
from PIL import Image
from rasterio import Affine

from atrous.contract import AtrousError
from atrous.data import read_image
from atrous.data.geotiff import Raster as Whole
from atrous.prediction import raster_segments
from atrous.prediction.raster_readers import ArrayRaster, open_raster

PLACE = {"crs": "EPSG:32633", "transform": Affine(0.5, 0, 100, 0, -0.5, 200)}
RNG = np.random.default_rng(0)
RGB = RNG.integers(0, 256, (3, 70, 90), dtype=np.uint8)
LAYOUTS = {
    "strips": {},
    "tiles": {"tiled": True, "blockxsize": 16, "blockysize": 32, "compress": "deflate"},
    "differences": {"tiled": True, "blockxsize": 32, "blockysize": 32, "compress": "deflate", "predictor": 2},
    "planar tiles": {"interleave": "band", "compress": "deflate", "tiled": True, "blockxsize": 32, "blockysize": 16},
    "planar strips": {"interleave": "band"},
    "lzma": {"compress": "lzma"},
    "packbits": {"compress": "packbits"},
    "lzw": {"compress": "lzw"},
    "lzw differences": {"compress": "lzw", "predictor": 2},
    "big": {"BIGTIFF": "YES"},
    "sparse": {"tiled": True, "blockxsize": 16, "blockysize": 16, "SPARSE_OK": True},
    "nodata": {"nodata": 7, "compress": "deflate"},
}


def written(path, array, **options):
    """Write (bands, h, w) as a GeoTIFF."""
    profile = {"driver": "GTiff", "count": len(array), "height": array.shape[1], "width": array.shape[2]}
    with rasterio.open(path, "w", **{**profile, "dtype": array.dtype, **PLACE, **options}) as file:
        file.write(array)
    return path


def read(path):
    """Return what windows give of a file."""
    with closing(open_raster(path)) as raster:
        return in_windows(raster)[0]


def in_windows(raster, high=17, wide=23):
    """Return the image and the validity, read in windows that fit no tile."""
    image = np.empty((raster.height, raster.width, raster.channels), raster.dtype)
    valid = np.ones(image.shape[:2], bool)
    for top in range(0, raster.height, high):
        for left in range(0, raster.width, wide):
            rows, columns = slice(top, min(top + high, raster.height)), slice(left, min(left + wide, raster.width))
            image[rows, columns] = raster.read(rows, columns)
            known = raster.valid(rows, columns)
            valid[rows, columns] = True if known is None else known
    return image, valid


def check_same(path):
    """Check that windows give what the whole file gives, and return the image."""
    with closing(open_raster(path)) as raster:
        image, valid = in_windows(raster)
    whole = Whole(path).read() if raster.marks else read_image(path)
    np.testing.assert_array_equal(image, whole)
    assert image.dtype == whole.dtype
    if raster.marks:
        np.testing.assert_array_equal(valid, Whole(path).valid())
    return image


@pytest.mark.parametrize("layout", LAYOUTS)
def test_windows_of_a_tiff_are_those_of_the_whole(tmp_path, layout):
    array = RGB.copy()
    if layout in ("sparse", "nodata"):
        array[:, 16:48, 16:64] = 7 if layout == "nodata" else 0
    image = check_same(written(tmp_path / "a.tif", array, **LAYOUTS[layout]))
    assert image.any()


@pytest.mark.parametrize("dtype", ["uint16", "int16", "int32", "uint32", "int8", "float64"])
def test_depths_are_kept_as_reading_whole_keeps_them(tmp_path, dtype):
    check_same(written(tmp_path / "a.tif", RNG.integers(0, 100, (4, 40, 50)).astype(dtype), compress="deflate"))


@pytest.mark.parametrize("nodata", [None, -9999, np.nan])
def test_floats_without_a_finite_value_hold_no_data(tmp_path, nodata):
    array = RNG.normal(size=(2, 50, 60)).astype(np.float32)
    array[:, 3:9, 4:20] = np.nan if nodata is None else nodata
    array[0, 20, 20] = np.inf
    image = check_same(written(tmp_path / "a.tif", array, nodata=nodata))
    assert np.isfinite(image).all()
    assert not image[3:9, 4:20].any()


def test_alpha_is_dropped_and_near_infrared_that_is_called_so_is_not(tmp_path):
    alpha, infrared = (RNG.integers(1, 254, (4, 60, 50), dtype=np.uint8) for _ in range(2))
    alpha[3] = 255
    alpha[3, :20] = 0
    assert check_same(written(tmp_path / "a.tif", alpha, photometric="rgb", alpha="yes")).shape[2] == 3
    assert check_same(written(tmp_path / "n.tif", infrared, photometric="rgb", alpha="yes")).shape[2] == 4


def test_a_page_that_marks_the_pixels_with_data_is_read(tmp_path):
    marks = np.full((70, 90), 255, np.uint8)
    marks[10:30, 5:50] = 0
    with (
        rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True),
        rasterio.open(
            tmp_path / "a.tif", "w", driver="GTiff", height=70, width=90, count=3, dtype="uint8", **PLACE
        ) as file,
    ):
        file.write(RGB)
        file.write_mask(marks)
    assert not check_same(tmp_path / "a.tif")[10:30, 5:50].any()


@pytest.mark.parametrize("bits", [1, 8])
def test_palettes_become_colours_and_bits_0_and_255(tmp_path, bits):
    path = written(tmp_path / "a.tif", RNG.integers(0, 2, (1, 40, 53)).astype(np.uint8), nbits=bits)
    if bits == 8:
        with rasterio.open(path, "r+") as file:
            file.write_colormap(1, {index: (index * 40 % 256, 255 - index, index, 255) for index in range(256)})
    image = check_same(path)
    assert image.shape[2] == (3 if bits == 8 else 1)
    assert bits == 8 or set(np.unique(image)) == {0, 255}


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_is_applied(tmp_path, orientation):
    tags = [(274, 3, 1, orientation, True)]
    tifffile.imwrite(tmp_path / "a.tif", RGB.transpose(1, 2, 0), photometric="rgb", extratags=tags, tile=(16, 16))
    check_same(tmp_path / "a.tif")


@pytest.mark.parametrize(
    "options",
    [
        {"byteorder": ">"},
        {"byteorder": ">", "compression": "zlib", "predictor": True, "rowsperstrip": 7},
        {"photometric": "miniswhite"},
    ],
)
def test_byte_orders_and_inverted_greys(tmp_path, options):
    tifffile.imwrite(tmp_path / "a.tif", RNG.integers(0, 65535, (40, 50), dtype=np.uint16), **options)
    check_same(tmp_path / "a.tif")


@pytest.mark.parametrize("imagej", [True, False])
def test_channels_in_pages_are_read_whole(tmp_path, imagej):
    array = RNG.integers(0, 255, (3, 40, 50)).astype(np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", array, imagej=imagej, metadata={"axes": "CYX"}, photometric="minisblack")
    assert isinstance(open_raster(tmp_path / "a.tif"), ArrayRaster)
    check_same(tmp_path / "a.tif")


def test_one_pixel_and_one_row(tmp_path):
    assert check_same(written(tmp_path / "one.tif", RGB[:, :1, :1])).shape == (1, 1, 3)
    assert check_same(written(tmp_path / "row.tif", RGB[:1, :1].repeat(300, 2))).shape == (1, 27_000, 1)


def test_floats_of_differences_go_through_gdal(tmp_path):
    array = RNG.normal(size=(1, 50, 60)).astype(np.float32)
    path = written(tmp_path / "a.tif", array, compress="deflate", predictor=3)
    np.testing.assert_array_equal(read(path)[..., 0], array[0])


def test_jpeg_2000_keeps_its_georeference(tmp_path):
    with rasterio.open(written(tmp_path / "a.tif", RGB)) as source:
        profile = {**source.profile, "driver": "JP2OpenJPEG", "QUALITY": 100, "REVERSIBLE": "YES"}
    for key in ("tiled", "interleave", "blockxsize", "blockysize"):
        profile.pop(key, None)
    with rasterio.open(tmp_path / "a.jp2", "w", **profile) as file:
        file.write(RGB)
    with closing(open_raster(tmp_path / "a.jp2")) as raster:
        np.testing.assert_array_equal(in_windows(raster)[0], RGB.transpose(1, 2, 0))
    assert raster.place.crs == "EPSG:32633"
    assert raster.place.at(0, 0) == (100, 200)
    assert {33550, 33922, 34735} <= {tag[0] for tag in raster.geo_tags}


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize(
    ("shape", "names"),
    [
        ((40, 50), None),
        ((40, 50, 3), None),
        ((13, 40, 50), None),
        ((20, 40, 50), ("band", "y", "x")),
        ((40, 50, 20), ("lat", "lon", "band")),
    ],
)
def test_zarr_arrays_by_names_or_lengths(tmp_path, zarr_format, shape, names):
    array = RNG.integers(0, 255, shape).astype(np.uint16)
    attributes = {"_ARRAY_DIMENSIONS": names} if names and zarr_format == 2 else {}
    stored = zarr.create_array(
        tmp_path / "a.zarr",
        shape=shape,
        dtype="uint16",
        chunks=tuple(min(16, side) for side in shape),
        zarr_format=zarr_format,
        dimension_names=names if zarr_format == 3 else None,
        attributes=attributes,
    )
    stored[:] = array
    image = read(tmp_path / "a.zarr")
    last = array[..., None] if len(shape) == 2 else np.moveaxis(array, 0, -1) if shape[0] in (13, 20) else array
    np.testing.assert_array_equal(image, last)


@pytest.mark.parametrize(
    ("shape", "names", "words"),
    [
        ((40, 50, 60), None, "cannot be told which axis holds the channels"),
        ((50, 3, 40), ("y", "c", "x"), r"dimensions y, c, x came; .* Transpose"),
        ((2, 3, 4, 5), None, r"an array of shape \(2, 3, 4, 5\) came"),
        ((5000, 5000, 3), None, r"its chunks are 5,000 x 5,000 x 3.* smaller chunks"),
    ],
)
def test_zarr_arrays_that_cannot_be_read_are_refused(tmp_path, shape, names, words):
    zarr.create_array(tmp_path / "a.zarr", shape=shape, dtype="uint8", chunks=shape, dimension_names=names)
    with pytest.raises(AtrousError, match=words):
        open_raster(tmp_path / "a.zarr")


def test_of_a_group_one_array_is_wanted(tmp_path):
    group = zarr.open_group(tmp_path / "a.zarr", mode="w")
    group.create_array("first", shape=(8, 9), dtype="uint8", chunks=(4, 4))
    assert open_raster(tmp_path / "a.zarr").width == 9
    group.create_array("second", shape=(8, 9), dtype="uint8", chunks=(4, 4))
    with pytest.raises(AtrousError, match=r"a group with 2 images came \(first, second\)"):
        open_raster(tmp_path / "a.zarr")


def test_no_zarr_there(tmp_path):
    (tmp_path / "b.zarr").mkdir()
    with pytest.raises(AtrousError, match=r"a\.zarr: no such file"):
        open_raster(tmp_path / "a.zarr")
    with pytest.raises(AtrousError, match=r"b\.zarr: no Zarr array can be opened"):
        open_raster(tmp_path / "b.zarr")


@pytest.mark.parametrize("layout", ["strips", "tiles", "lzw"])
def test_a_truncated_tiff_is_refused_where_it_ends(tmp_path, layout):
    path = written(tmp_path / "a.tif", RGB, **LAYOUTS[layout])
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 3 // 4])
    with pytest.raises(AtrousError, match=r"a\.tif: the image is truncated or damaged"):
        read(path)


def test_a_tile_of_garbage_is_refused(tmp_path):
    path = written(tmp_path / "a.tif", RGB, **LAYOUTS["tiles"])
    with tifffile.TiffFile(path) as file:
        offset = file.pages.first.dataoffsets[5]
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(b"garbage" * 20)
    with pytest.raises(AtrousError, match=r"a\.tif: the image is truncated or damaged"):
        read(path)


def test_empty_missing_and_lying_files_are_refused(tmp_path):
    (tmp_path / "empty.tif").touch()
    (tmp_path / "words.tif").write_text("not a picture")
    (tmp_path / "half.tif").write_bytes(b"II*\x00\x08\x00\x00\x00")
    for name, words in (
        ("empty.tif", r"empty\.tif: the file is empty"),
        ("missing.tif", r"missing\.tif: no such file"),
        ("words.tif", r"words\.tif: this is not an image"),
        ("half.tif", r"half\.tif: the image is truncated or damaged"),
    ):
        with pytest.raises(AtrousError, match=words):
            open_raster(tmp_path / name)


def test_a_header_of_a_huge_size_takes_no_memory(tmp_path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, RGB.transpose(1, 2, 0), tile=(16, 16), photometric="rgb")
    with tifffile.TiffFile(path, mode="r+") as file:
        file.pages.first.tags["ImageWidth"].overwrite(2**31 - 1)
        file.pages.first.tags["ImageLength"].overwrite(2**31 - 1)
    with pytest.raises(AtrousError, match=r"a\.tif: the image is truncated or damaged \(.* tiles or strips of"):
        open_raster(path)


def test_strips_that_would_be_decoded_whole_are_refused_with_a_command(tmp_path, monkeypatch):
    monkeypatch.setattr(raster_segments, "_LARGEST", 10_000)
    array = RGB.transpose(1, 2, 0)
    tifffile.imwrite(tmp_path / "a.tif", array, compression="zlib", rowsperstrip=70, photometric="rgb")
    with pytest.raises(AtrousError, match=r"strips are 70 x 90 .* gdal_translate -co TILED=YES .* vips tiffsave"):
        open_raster(tmp_path / "a.tif")
    tifffile.imwrite(tmp_path / "b.tif", array, rowsperstrip=70, photometric="rgb")
    check_same(tmp_path / "b.tif")  # without compression no more than a window is read of a strip


def test_what_is_decoded_whole_must_fit_the_limits(tmp_path):
    path = tmp_path / "photo.png"
    Image.fromarray(RGB.transpose(1, 2, 0)).save(path)
    np.testing.assert_array_equal(read(path), RGB.transpose(1, 2, 0))
    with pytest.raises(AtrousError, match=r"photo\.png: 70 x 90 pixels came, and 100 are accepted"):
        open_raster(path, max_pixels=100)
    with pytest.raises(AtrousError, match=r"photo\.png: 70 x 90 pixels are decoded whole, .* gdal_translate"):
        open_raster(path, max_memory=1_000_000)


def test_a_compression_that_needs_rasterio_says_so_without_it(tmp_path, monkeypatch):
    path = written(tmp_path / "a.tif", RGB, compress="lzw")
    monkeypatch.setitem(__import__("sys").modules, "rasterio", None)
    with pytest.raises(AtrousError, match=r'a\.tif: this kind of file needs rasterio: pip install "atrous\[geo\]"'):
        open_raster(path)
