"""Rasters predicted block by block: the same labels as whole, the same place on earth, nothing half-written."""

import errno
import json
import os
import signal
import subprocess
import sys
from contextlib import closing

import numpy as np
import pytest
import rasterio
import tifffile
import torch
import zarr
from PIL import Image
from rasterio import Affine

from atrous.contract import AtrousError, Geometry, LabelSpace, Preprocessing, Sample, mirrored
from atrous.data import read_image, read_mask
from atrous.draw import overlay
from atrous.models import Segmenter, unet
from atrous.prediction import block_sizes, raster_overlays, rasters
from atrous.prediction.raster_blocks import labels_in_blocks
from atrous.prediction.raster_readers import ArrayRaster, open_raster
from atrous.prediction.rasters import predict_raster, predicted_in_blocks
from atrous.prediction.sources import Source
from atrous.prediction.wanted import Wanted

SPACE = LabelSpace(names=("dark", "light"), colours=((10, 20, 30), (200, 100, 50)))
PLACE = {"crs": "EPSG:32633", "transform": Affine(0.5, 0.1, 100, 0.2, -0.5, 200)}
RNG = np.random.default_rng(0)


def bright(images):
    light = images[:, :1].astype(np.float32) / 255
    return np.concatenate([1 - light, light], 1)


class Blurred:
    """A scorer that sees five pixels further than it labels, as a network with a margin does."""

    geometry = Geometry(multiple=4, offset=2, minimum=14, margin=5)

    def __init__(self):
        self.asked = []

    def __call__(self, images):
        self.asked.append(images.shape[2:])
        sides = [mirrored(side, 5, 5) for side in images.shape[2:]]
        padded = images[0, 0].astype(np.float64)[np.ix_(*sides)]
        sums = np.pad(padded.cumsum(0).cumsum(1), ((1, 0), (1, 0)))
        mean = (sums[11:, 11:] - sums[:-11, 11:] - sums[11:, :-11] + sums[:-11, :-11]) / 121
        return bright(mean[None, None])


def written(path, array, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    profile = {"driver": "GTiff", "count": len(array), "height": array.shape[1], "width": array.shape[2]}
    with rasterio.open(path, "w", **{**profile, "dtype": array.dtype, **PLACE, **options}) as file:
        file.write(array)
    return path


def predicted(path, out, scorer=bright, space=SPACE, **wanted):
    return predict_raster(Source(path, path.stem), scorer, space, out, Wanted(**{"save": ("masks",), **wanted}))


@pytest.fixture
def scene(tmp_path):
    return written(tmp_path / "scene.tif", RNG.integers(0, 256, (3, 300, 410), dtype=np.uint8), compress="deflate")


def test_blocks_of_a_network_with_a_margin_are_exact(tmp_path, scene):
    scorer, whole = Blurred(), Blurred()
    (mask,) = predicted(scene, tmp_path / "out", scorer, block=64)
    expected = whole(read_image(scene).transpose(2, 0, 1)[None])[0].argmax(0)
    np.testing.assert_array_equal(read_mask(mask), expected)
    assert len(scorer.asked) > 30
    assert max(map(max, scorer.asked)) <= 64
    assert 0 < expected.mean() < 1


@pytest.fixture(scope="module")
def tiled():
    """A U-Net of margin 20 and multiples of 4, one of whose classes is light."""
    torch.manual_seed(4)
    net = unet(2, in_channels=1, width=1 / 16, depth=2)
    return Segmenter(net, SPACE, Preprocessing(mean=(0.5,), std=(0.2,), padding="mirror")).eval()


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_blocks_of_a_network_that_is_told_of_surroundings_are_exact(tmp_path, tiled, dtype):
    array = RNG.integers(0, 256, (1, 211, 190)).astype(dtype)
    scene = written(tmp_path / "scene.tif", array)
    sides = []
    hook = tiled.net.register_forward_pre_hook(lambda _net, given: sides.append(max(given[0].shape[2:])))
    files = predicted(scene, tmp_path / "blocks", tiled, block=96, save=("masks", "probabilities"))
    hook.remove()
    assert (len(sides), max(sides)) == (16, 96)
    with torch.no_grad():
        whole = tiled(torch.from_numpy(array[None]))[0].numpy()
    best = whole.argmax(0)
    assert 0.02 < best.mean() < 0.98
    assert (read_mask(files[1]) == best).mean() > 0.9999
    stored = zarr.open_array(tmp_path / "blocks" / "probabilities" / "scene.zarr", mode="r")[:]
    np.testing.assert_allclose(stored, whole, atol=1e-3)


def test_trials_of_blocks_run_the_network_as_the_blocks_do(tmp_path, tiled, monkeypatch):
    raster = ArrayRaster(RNG.integers(0, 256, (300, 500, 1), dtype=np.uint8))
    sides, tried = [], []
    peaks = iter((400_000_000, 420_000_000))

    def peak_during(work):
        work()
        tried.append(max(sides))
        return next(peaks)

    hook = tiled.net.register_forward_pre_hook(lambda _net, given: sides.append(max(given[0].shape[2:])))
    monkeypatch.setattr(block_sizes.memory, "peak_during", peak_during)
    trial = block_sizes._trial(tiled, raster, SPACE, bool, probabilities=False)
    assert trial(256) == (256 * 256, 400_000_000)
    assert trial(500) == (300 * 500, 420_000_000)
    hook.remove()
    # In blocks of 256 the margin is a part of the 256; around the whole raster it is mirrored.
    assert tried == [256, 540]


@pytest.mark.parametrize("block", [None, 64, 100, 1000])
def test_the_mask_has_the_place_the_colours_and_the_labels(tmp_path, scene, block):
    (mask,) = predicted(scene, tmp_path / "out", block=block)
    assert mask == tmp_path / "out" / "masks" / "scene.tif"
    with rasterio.open(mask) as ours, rasterio.open(scene) as source:
        assert ours.transform == source.transform
        assert ours.crs == source.crs
        assert ours.block_shapes == [(256, 256)]
        assert ours.compression.name == "deflate"
        assert ours.colormap(1)[1][:3] == SPACE.colours[1]
        assert ours.nodata is None
        np.testing.assert_array_equal(ours.read(1), bright(read_image(scene).transpose(2, 0, 1)[None])[0].argmax(0))


def test_a_file_without_georeference_gets_none(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.full((20, 30, 3), 255, np.uint8), photometric="rgb")
    (mask,) = predicted(tmp_path / "a.tif", tmp_path)
    with tifffile.TiffFile(mask) as file:
        assert not file.pages.first.is_geotiff
    assert (read_mask(mask) == 1).all()


def test_pixels_without_data_are_255_and_ask_no_network(tmp_path):
    array = np.full((3, 128, 192), 200, np.uint8)
    array[:, :, :128] = 7
    path = written(tmp_path / "a.tif", array, nodata=7)
    asked = []

    def scorer(images):
        asked.append(images.shape)
        return bright(images)

    (mask,) = predicted(path, tmp_path, scorer, block=64)
    with rasterio.open(mask) as file:
        assert file.nodata == 255
    assert set(np.unique(read_mask(mask)[:, :128])) == {255}
    assert (read_mask(mask)[:, 128:] == 1).all()
    with closing(open_raster(path)) as raster:
        assert 0 < len(asked) < len(list(labels_in_blocks(bright, raster, SPACE, size=64)))


def test_every_kind_is_written(tmp_path):
    array = RNG.integers(0, 256, (3, 300, 410), dtype=np.uint8) // 4
    array[:, 50:220, 90:330] += 160
    scene = written(tmp_path / "scene.tif", array)
    kinds = ("masks", "overlays", "probabilities", "polygons", "coco", "cutouts", "statistics")
    whole = predicted(scene, tmp_path / "whole", save=kinds)
    blocks = predicted(scene, tmp_path / "blocks", save=kinds, block=100)
    assert {path.relative_to(tmp_path / "whole").as_posix() for path in whole} == {
        "masks/scene.tif", "overlays/scene.jpg", "probabilities/scene.npz", "polygons/scene.geojson",
        "coco/scene.json", "cutouts/scene.png", "statistics/scene.csv",
    }  # fmt: skip
    assert len(blocks) == 7
    assert all(path.exists() for path in blocks)
    for name in ("polygons/scene.geojson", "coco/scene.json", "statistics/scene.csv"):
        assert (tmp_path / "whole" / name).read_text() == (tmp_path / "blocks" / name).read_text()
    stored = zarr.open_array(tmp_path / "blocks" / "probabilities" / "scene.zarr", mode="r")
    scores = bright(read_image(scene).transpose(2, 0, 1)[None])[0]
    assert stored.dtype == np.float16
    np.testing.assert_array_equal(stored[:], scores.astype(np.float16))
    with np.load(tmp_path / "whole" / "probabilities" / "scene.npz") as file:
        np.testing.assert_array_equal(file["probabilities"], scores.astype(np.float16))
    assert json.loads((tmp_path / "blocks" / "coco" / "scene.json").read_text())["images"][0]["width"] == 410


def test_the_overlay_of_blocks_is_that_of_the_whole(tmp_path):
    array = np.zeros((3, 128, 192), np.uint8)
    array[:, 30:100, 20:150] = 220
    path = written(tmp_path / "a.tif", array)
    predicted(path, tmp_path / "whole", save=("overlays",))
    predicted(path, tmp_path / "blocks", save=("overlays",), block=64)
    whole, blocks = (read_image(tmp_path / name / "overlays" / "a.jpg").astype(int) for name in ("whole", "blocks"))
    expected = overlay(read_image(path), (array[0] > 127).astype(np.uint8), SPACE)
    assert whole.shape == blocks.shape == expected.shape
    assert np.abs(whole - expected).mean() < 1.5
    assert np.abs(blocks - whole).mean() < 0.5


def test_large_overlays_are_reduced(tmp_path, monkeypatch):
    monkeypatch.setattr(raster_overlays, "_FULL", 1000)
    monkeypatch.setattr(raster_overlays, "_LARGEST", 70)
    array = np.zeros((3, 130, 201), np.uint8)
    array[:, :, 99:] = 220
    path = written(tmp_path / "a.tif", array)
    predicted(path, tmp_path, save=("overlays",), block=64)
    picture = read_image(tmp_path / "overlays" / "a.jpg").astype(int)
    assert picture.shape[1] == 67
    assert picture.shape[0] > 44
    small = array[:, np.minimum(np.arange(1, 132, 3), 129)][:, :, 1::3]
    expected = overlay(small.transpose(1, 2, 0), (small[0] > 0).astype(np.uint8), SPACE)
    assert np.abs(picture - expected).mean() < 2


def test_values_of_16_bits_are_shown_by_their_range(tmp_path):
    array = np.zeros((1, 128, 128), np.uint16)
    array[:, :, 64:] = 5000
    path = written(tmp_path / "a.tif", array)

    def scorer(images):
        return np.stack([images[:, 0] * 0 + 1, images[:, 0] * 0], 1)

    predicted(path, tmp_path, scorer, LabelSpace(names=("background", "b")), save=("overlays",), block=64)
    picture = read_image(tmp_path / "overlays" / "a.jpg")
    assert picture[:, :60].max() < 10
    assert picture[:, 70:].min() > 245


def test_jpeg_2000_and_zarr_get_a_tiff(tmp_path):
    array = RNG.integers(0, 256, (3, 80, 90), dtype=np.uint8)
    written(
        tmp_path / "a.jp2",
        array,
        driver="JP2OpenJPEG",
        QUALITY=100,
        REVERSIBLE="YES",
        transform=Affine(2, 0, 5, 0, -2, 9),
    )
    zarr.create_array(tmp_path / "b.zarr", shape=(3, 80, 90), dtype="uint8", chunks=(3, 32, 32))[:] = array
    masks = [predicted(tmp_path / name, tmp_path, block=64)[0] for name in ("a.jp2", "b.zarr")]
    for mask in masks:
        np.testing.assert_array_equal(read_mask(mask), array[0] > 127)
    with rasterio.open(masks[0]) as file:
        assert file.transform == Affine(2, 0, 5, 0, -2, 9)
        assert file.crs.to_epsg() == 32633


@pytest.mark.parametrize("shape", [(1, 1), (1, 3000), (3000, 1), (257, 255)])
def test_odd_sizes(tmp_path, shape):
    path = written(tmp_path / "a.tif", RNG.integers(0, 256, (1, *shape), dtype=np.uint8))
    for block in (None, 64):
        (mask,) = predicted(path, tmp_path, Blurred(), block=block)
        whole = Blurred()(read_image(path).transpose(2, 0, 1)[None])[0].argmax(0)
        np.testing.assert_array_equal(read_mask(mask), whole)


def test_progress_and_names_with_spaces_and_emoji(tmp_path):
    path = written(tmp_path / "논 🌾 a.b" / "c d.tif", RNG.integers(0, 256, (1, 100, 100), dtype=np.uint8))
    seen = []
    source = Source(path, "논 🌾 a.b/c d")
    (mask,) = predict_raster(
        source, bright, SPACE, tmp_path, Wanted(save=("masks",), block=64), progress=lambda *given: seen.append(given)
    )
    assert mask == tmp_path / "masks" / "논 🌾 a.b" / "c d.tif"
    assert mask.exists()
    assert seen[-1][0] == seen[-1][1] == len(seen) > 1


class Picky:
    def __call__(self, images):
        return bright(images)

    def from_numpy(self, images):
        if images.dtype == np.uint16:
            raise ValueError("uint16 came, and this network was trained on 8-bit images")
        if images.max() <= 1:
            raise ValueError("float32 values of 0 to 1 came")
        return images.astype(np.float32)


def test_values_that_the_network_refuses_name_the_file(tmp_path):
    path = written(tmp_path / "deep.tif", np.ones((1, 90, 90), np.uint16))
    with pytest.raises(AtrousError, match=r"deep\.tif: uint16 came, and this network was trained on 8-bit images"):
        predicted(path, tmp_path / "out", Picky())
    path = written(tmp_path / "shares.tif", np.full((1, 90, 90), 0.5, np.float32))
    with pytest.raises(AtrousError, match=r"shares\.tif: float32 values of 0 to 1 came"):
        predicted(path, tmp_path / "out", Picky())
    assert not list((tmp_path / "out").rglob("*.tif"))


def test_a_dark_block_of_floats_is_not_taken_for_shares(tmp_path):
    array = np.full((1, 64, 128), 0.5, np.float32)
    array[..., 64:] = 250
    path = written(tmp_path / "a.tif", array)
    (mask,) = predicted(path, tmp_path, Picky(), block=64)
    np.testing.assert_array_equal(read_mask(mask), array[0] > 127)


def test_floats_that_are_not_numbers_are_no_data(tmp_path):
    array = np.full((1, 64, 64), 250, np.float32)
    array[0, :10] = np.nan
    (mask,) = predicted(written(tmp_path / "a.tif", array), tmp_path)
    assert (read_mask(mask)[:10] == 255).all()
    assert (read_mask(mask)[10:] == 1).all()


def test_a_truncated_file_leaves_no_mask(tmp_path, scene):
    data = scene.read_bytes()
    scene.write_bytes(data[: len(data) // 2])
    with pytest.raises(AtrousError, match=r"scene\.tif: the image is truncated or damaged"):
        predicted(scene, tmp_path / "out", block=64, save=("masks", "statistics", "probabilities"))
    assert not [path for path in (tmp_path / "out").rglob("*") if path.is_file()]


def test_a_full_disk_leaves_what_was_there(tmp_path, scene, monkeypatch):
    (mask,) = predicted(scene, tmp_path)
    before = mask.read_bytes()
    write = tifffile.FileHandle.write

    def full(self, data, /):
        if len(data) > 1000:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(self, data)

    monkeypatch.setattr(tifffile.FileHandle, "write", full)
    with pytest.raises(AtrousError, match=r"scene\.tif: could not be written \(No space left on device\)"):
        predicted(scene, tmp_path)
    assert mask.read_bytes() == before
    assert len(list(mask.parent.iterdir())) == 1


KILLED = """
import os, signal, sys
import numpy as np
from pathlib import Path
from atrous.contract import LabelSpace
from atrous.prediction.rasters import predict_raster
from atrous.prediction.sources import Source
from atrous.prediction.wanted import Wanted
def scorer(images):
    scorer.count += 1
    if scorer.count == 12:
        os.kill(os.getpid(), signal.SIGKILL)
    return np.ones((1, 2, *images.shape[2:]), np.float32)
scorer.count = 0
path = Path(sys.argv[1])
predict_raster(Source(path, path.stem), scorer, LabelSpace(names=("a", "b")), path.parent, Wanted(block=64))
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no SIGKILL")
def test_a_kill_in_the_middle_leaves_no_mask_under_its_name(tmp_path, scene):
    done = subprocess.run([sys.executable, "-c", KILLED, scene], env=os.environ, check=False)
    assert done.returncode == -signal.SIGKILL
    assert not (tmp_path / "masks" / "scene.tif").exists()
    assert not (tmp_path / "overlays" / "scene.jpg").exists()
    (mask,) = predicted(scene, tmp_path)
    assert read_mask(mask).shape == (300, 410)


def test_outlines_of_a_mask_that_does_not_fit_are_refused(tmp_path, scene, monkeypatch):
    monkeypatch.setattr(rasters, "_BYTES_OF_OUTLINES", 10**9)
    with pytest.raises(
        AtrousError,
        match=r"scene\.tif: polygons, coco of 300 x 410 pixels are made of the whole mask, .* is left of --max",
    ):
        predicted(scene, tmp_path, save=("polygons", "coco"), max_memory=10**12)


def test_a_decoded_image_in_blocks(tmp_path):
    image = RNG.integers(0, 256, (90, 70, 3), dtype=np.uint8)
    found = predicted_in_blocks(Blurred(), Sample(image=image, path=tmp_path), SPACE, Wanted(block=32))
    np.testing.assert_array_equal(found.labels, Blurred()(image.transpose(2, 0, 1)[None])[0].argmax(0))
    assert found.path == tmp_path


def test_a_scorer_with_labels_gives_no_probabilities(scene):
    class Named:
        def labels(self, images):
            return (images[:, 0] > 127).astype(np.uint8)

        def __call__(self, images):
            raise AssertionError("probabilities were asked for")

    raster = ArrayRaster(read_image(scene))
    blocks = list(labels_in_blocks(Named(), raster, SPACE, size=128))
    assert sum(block.own.size for block in blocks) == 300 * 410
    assert blocks[0].probabilities is None


def test_a_block_too_small_for_the_network_is_said(tmp_path, scene):
    with pytest.raises(ValueError, match=r"this network needs"):
        predicted(scene, tmp_path, Blurred(), block=8)


def test_a_picture_that_is_called_tiff_is_decoded_whole(tmp_path):
    Image.fromarray(np.full((20, 30), 200, np.uint8)).save(tmp_path / "a.tif", format="PNG")
    (mask,) = predicted(tmp_path / "a.tif", tmp_path)
    assert (read_mask(mask) == 1).all()
