"""What `atrous refine` does to the forms of masks: formats, depths, transparency; and what it refuses to do."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import atrous
from atrous.contract import AtrousError
from atrous.data import atomic, read_mask
from atrous.data.any_mask import read_any_mask

TRUTH = np.zeros((48, 64), np.uint8)
TRUTH[12:36, 20:44] = 1
FAT = np.zeros((48, 64), np.uint8)
FAT[9:39, 17:47] = 1
HOLE = np.zeros((48, 64), bool)
HOLE[20:24, 25:30] = True
PALETTE = [0, 0, 0, 9, 9, 9, 200, 30, 30, 9, 9, 9]
DEEP = FAT.astype(np.uint16) * 1000
COLOURS = np.where(FAT[..., None] == 1, (255, 0, 9), (0, 80, 0)).astype(np.uint8)


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """Return a picture of a light square on dark ground, with some noise."""
    pixels = np.where(TRUTH[..., None] == 1, (210, 180, 60), (40, 60, 90))
    noise = np.random.default_rng(0).normal(0, 4, pixels.shape)
    Image.fromarray((pixels + noise).clip(0, 255).astype(np.uint8)).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


def with_palette(array: np.ndarray) -> Image.Image:
    """Return indices with a palette."""
    image = Image.fromarray(array)
    image.putpalette(PALETTE)
    return image


def saved(image: Image.Image, path: Path, **options: object) -> Path:
    """Write a picture, and return its path."""
    image.save(path, **options)
    return path


MASKS = {
    "grey": Image.fromarray(FAT * np.uint8(200)),
    "deep": Image.fromarray(DEEP),
    "palette": with_palette(FAT * np.uint8(2)),
    "one bit": Image.fromarray(FAT.astype(bool)),
    "colours": Image.fromarray(COLOURS),
    "grey as colours": Image.fromarray(FAT * np.uint8(200)).convert("RGB"),
}
SUFFIXES = {
    "grey": (".png", ".tif", ".pgm", ".bmp"),
    "deep": (".png", ".tif", ".pgm"),
    "palette": (".png", ".gif", ".tif", ".bmp"),
    "one bit": (".png", ".tif", ".bmp"),
    "colours": (".png", ".tif", ".ppm", ".bmp"),
    "grey as colours": (".png", ".tif", ".ppm", ".bmp"),
}
ALL = (".png", ".gif", ".tif", ".bmp", ".pgm", ".ppm")


@pytest.mark.parametrize(("form", "suffix"), [(form, suffix) for form in MASKS for suffix in SUFFIXES[form]])
def test_a_format_that_holds_the_form_keeps_every_value(tmp_path: Path, photo: Path, form: str, suffix: str) -> None:
    given = saved(MASKS[form], tmp_path / "mask.png")
    out = tmp_path / f"out{suffix}"
    atrous.refine(photo, given, out=out)
    with Image.open(out) as image:
        assert image.mode == ("I" if (form, suffix) == ("deep", ".pgm") else MASKS[form].mode)  # Pillow's name of it
    values = read_mask(given)
    expected = np.where((TRUTH == 1)[(..., *[None] * (values.ndim - 2))], values[20, 30], values[0, 0])
    found = read_mask(out)
    assert found.dtype.itemsize > 1 or form != "deep"
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    ("form", "suffix"), [(form, suffix) for form in MASKS for suffix in ALL if suffix not in SUFFIXES[form]]
)
def test_a_format_that_does_not_is_refused_before_any_work(tmp_path: Path, photo: Path, form: str, suffix: str) -> None:
    given = saved(MASKS[form], tmp_path / "mask.png")

    def never(image: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
        raise RuntimeError("work was done")

    with pytest.raises(ValueError, match=rf"out\{suffix}: this is a mask of .*, which \{suffix} does not hold; name"):
        atrous.refine(photo, given, out=tmp_path / f"out{suffix}", crf=never)
    assert not (tmp_path / f"out{suffix}").exists()


def test_a_gif_of_a_folder_becomes_a_png(tmp_path: Path, photo: Path) -> None:
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
    (tmp_path / "images" / "a.png").write_bytes(photo.read_bytes())
    saved(MASKS["palette"], tmp_path / "masks" / "a.gif", optimize=False)
    done = atrous.refine(tmp_path / "images", tmp_path / "masks", out=tmp_path / "out")
    assert list(done.changes) == [tmp_path / "out" / "a.png"]
    np.testing.assert_array_equal(read_mask(tmp_path / "out" / "a.png"), TRUTH * 2)


def test_an_encoder_that_refuses_is_told_and_leaves_nothing(tmp_path: Path) -> None:
    with (
        pytest.raises(AtrousError, match=r"a.ppm: could not be written \(cannot write mode P as PPM\).*another format"),
        atomic(tmp_path / "a.ppm") as temporary,
    ):
        MASKS["palette"].save(temporary)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("suffix", "dtype", "expected"),
    [
        (".png", np.uint16, np.uint16),
        (".tif", np.uint16, np.uint16),
        (".tif", np.int16, np.int16),
        (".tif", np.int32, np.int32),
        (".tif", np.uint8, np.uint8),
    ],
)
def test_small_values_keep_their_depth(tmp_path: Path, photo: Path, suffix: str, dtype: type, expected: type) -> None:
    import tifffile

    given, out = tmp_path / f"mask{suffix}", tmp_path / f"out{suffix}"
    if suffix == ".tif":
        tifffile.imwrite(given, FAT.astype(dtype) * 3)
    else:
        Image.fromarray(FAT.astype(dtype) * 3).save(given)
    atrous.refine(photo, given, out=out)
    assert read_mask(out).dtype == expected
    np.testing.assert_array_equal(read_mask(out), TRUTH * 3)


def channelled(mode: str) -> Image.Image:
    """Return a mask with holes in its alpha, which has 90 elsewhere in the first row."""
    image = Image.fromarray(np.where(HOLE, 7, FAT * np.uint8(200)).astype(np.uint8)) if mode == "LA" else None
    image = image or Image.fromarray(np.where(HOLE[..., None], 7, COLOURS).astype(np.uint8))
    alpha = np.where(HOLE, 0, 255).astype(np.uint8)
    alpha[0] = 90
    image.putalpha(Image.fromarray(alpha))
    return image


@pytest.mark.parametrize("mode", ["LA", "RGBA"])
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_holes_of_alpha_are_open_and_alpha_is_kept(tmp_path: Path, photo: Path, mode: str, suffix: str) -> None:
    given = saved(channelled(mode), tmp_path / f"mask{suffix}")
    plain = np.array(MASKS["grey" if mode == "LA" else "colours"])
    for keep in (False, True):
        out = tmp_path / f"out{keep}{suffix}"
        done = atrous.refine(photo, given, out=out, keep_ignored=keep)
        assert done.total.filled == (0 if keep else HOLE.sum())
        with Image.open(out) as image:
            assert image.mode == mode
            found = np.array(image)
        np.testing.assert_array_equal(found[0, :, -1], 90)
        assert set(np.unique(found[HOLE][:, -1])) == {0 if keep else 255}
        kept = np.array(channelled(mode))[HOLE][:, :-1]
        inside = np.broadcast_to(np.atleast_1d(plain[20, 30]), kept.shape)
        np.testing.assert_array_equal(found[HOLE][:, :-1], kept if keep else inside)


@pytest.mark.parametrize(
    ("image", "key"),
    [
        (Image.fromarray(np.where(HOLE, 7, FAT).astype(np.uint8)), 7),
        (Image.fromarray(np.where(HOLE, 700, DEEP).astype(np.uint16)), 700),
        (Image.fromarray(np.where(HOLE[..., None], 7, COLOURS).astype(np.uint8)), (7, 7, 7)),
        (with_palette(np.where(HOLE, 3, FAT * 2).astype(np.uint8)), 3),
        (with_palette(np.where(HOLE, 3, FAT * 2).astype(np.uint8)), b"\xff\x50\xff\x00"),
    ],
)
def test_holes_of_a_transparent_value_are_open(
    tmp_path: Path, photo: Path, image: Image.Image, key: int | bytes | tuple[int, int, int]
) -> None:
    given = saved(image, tmp_path / "mask.png", transparency=key)
    assert len(read_any_mask(given).values) == 2
    for keep in (False, True):
        out = tmp_path / f"out{keep}.png"
        done = atrous.refine(photo, given, out=out, keep_ignored=keep)
        assert done.total.filled == (0 if keep else HOLE.sum())
        with Image.open(given) as before, Image.open(out) as after:
            assert after.mode == before.mode
            assert after.info["transparency"] == before.info["transparency"]
        old, new = read_mask(given), read_mask(out)
        inside = np.broadcast_to(old[15, 30], old[HOLE].shape)
        np.testing.assert_array_equal(new[HOLE], old[HOLE] if keep else inside)
    with pytest.raises(ValueError, match=r"with transparent pixels, which \.bmp does not hold"):
        atrous.refine(photo, given, out=tmp_path / "out.bmp")


def test_a_transparent_bit_is_read_and_written(tmp_path: Path) -> None:
    given = saved(Image.fromarray(HOLE), tmp_path / "bit.png", transparency=1)
    mask = read_any_mask(given)
    np.testing.assert_array_equal(mask.labels, np.where(HOLE, 255, 0))
    mask.write(tmp_path / "out.png", mask.labels)
    with Image.open(tmp_path / "out.png") as found:
        assert (found.mode, found.info["transparency"]) == ("1", 255)  # as Pillow reads a one
        np.testing.assert_array_equal(np.array(found), HOLE)


def test_a_gif_keeps_its_transparent_index(tmp_path: Path, photo: Path) -> None:
    image = with_palette(np.where(HOLE, 3, FAT * 2).astype(np.uint8))
    given = saved(image, tmp_path / "mask.gif", transparency=3, optimize=False)
    atrous.refine(photo, given, out=tmp_path / "o.gif", keep_ignored=True)
    with Image.open(tmp_path / "o.gif") as found:
        assert found.info["transparency"] == 3
    np.testing.assert_array_equal(read_mask(tmp_path / "o.gif"), np.where(HOLE, 3, TRUTH * 2))


def test_deep_alpha_with_holes_is_refused(tmp_path: Path, photo: Path) -> None:
    import cv2

    deep = np.dstack([COLOURS * np.uint16(0) + DEEP[..., None], np.where(HOLE, 0, 65_535)]).astype(np.uint16)
    path = tmp_path / "mask.png"
    assert cv2.imwrite(str(path), deep)
    with pytest.raises(AtrousError, match=r"transparent pixels came .* more than 8 bits.* Save it as an 8-bit PNG"):
        atrous.refine(photo, path, out=tmp_path / "o.png")


def test_nothing_but_transparency_is_refused(tmp_path: Path) -> None:
    path = saved(Image.new("RGBA", (4, 3)), tmp_path / "m.png")
    with pytest.raises(AtrousError, match="every pixel has the ignore value or is transparent"):
        read_any_mask(path)
