"""Files in, arrays out: every depth and mode as stored, and words for every file that is broken."""

import struct
import zlib
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image, ImageOps

from atrous.contract import AtrousError
from atrous.data import read_image, read_mask


def noise(*shape, dtype=np.uint8, seed=0):
    return np.random.default_rng(seed).integers(0, np.iinfo(dtype).max, shape, dtype=dtype, endpoint=True)


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (7, 1), (10, 20000), (20000, 10)])
@pytest.mark.parametrize("suffix", [".png", ".tif", ".bmp"])
def test_any_size_comes_back_as_stored(tmp_path, size, suffix):
    array = noise(*size, 3)
    path = tmp_path / f"a{suffix}"
    Image.fromarray(array).save(path)
    np.testing.assert_array_equal(read_image(path), array)


@pytest.mark.parametrize("name", ["with spaces.png", "한국어.png", "🙂.png", "CAPITALS.PNG"])
def test_any_name_is_read(tmp_path, name):
    array = noise(3, 4, dtype=np.uint16)
    (tmp_path / name).write_bytes(cv2.imencode(".png", array)[1].tobytes())
    np.testing.assert_array_equal(read_image(tmp_path / name)[..., 0], array)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_sixteen_bit_png_is_kept_and_rgb(tmp_path, channels):
    array = noise(5, 6, channels, dtype=np.uint16)
    cv2.imwrite(str(tmp_path / "a.png"), array)
    wanted = array[..., 2::-1] if channels > 1 else array
    got = read_image(tmp_path / "a.png")
    assert got.dtype == np.uint16
    np.testing.assert_array_equal(got, wanted)


@pytest.mark.parametrize(
    ("mode", "shape"), [("L", (4, 5, 1)), ("LA", (4, 5, 1)), ("RGBA", (4, 5, 3)), ("P", (4, 5, 3)), ("1", (4, 5, 1))]
)
def test_modes_lose_alpha_and_palette_only(tmp_path, mode, shape):
    source = Image.fromarray(noise(4, 5, 4)).convert("RGB").convert(mode)
    source.save(tmp_path / "a.png")
    wanted = np.asarray(source.convert("RGB" if shape[2] == 3 else "L")).reshape(shape)
    got = read_image(tmp_path / "a.png")
    assert got.dtype == np.uint8
    np.testing.assert_array_equal(got, wanted)


def test_cmyk_becomes_rgb(tmp_path):
    Image.new("CMYK", (8, 8), (255, 0, 0, 0)).save(tmp_path / "a.jpg")
    red, green, blue = read_image(tmp_path / "a.jpg")[4, 4].astype(int)
    assert red < 10
    assert min(green, blue) > 240


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16, np.float32])
@pytest.mark.parametrize("planar", ["contig", "separate"])
def test_tiff_of_any_depth_and_five_channels(tmp_path, dtype, planar):
    array = noise(6, 7, 5).astype(dtype)
    stored = array if planar == "contig" else array.transpose(2, 0, 1)
    tifffile.imwrite(tmp_path / "a.tif", stored, photometric="minisblack", planarconfig=planar)
    got = read_image(tmp_path / "a.tif")
    assert got.dtype == dtype
    np.testing.assert_array_equal(got, array)


def test_tiff_grey_rgba_and_compression(tmp_path):
    rgba = noise(6, 7, 4, dtype=np.uint16)
    tifffile.imwrite(tmp_path / "rgba.tif", rgba, photometric="rgb", extrasamples=["unassalpha"])
    np.testing.assert_array_equal(read_image(tmp_path / "rgba.tif"), rgba[..., :3])
    grey = noise(6, 7)
    for compression in ("tiff_lzw", "tiff_deflate", "packbits"):
        Image.fromarray(grey).save(tmp_path / "grey.tif", compression=compression)
        np.testing.assert_array_equal(read_image(tmp_path / "grey.tif")[..., 0], grey)


def test_tiff_stack_is_refused(tmp_path):
    tifffile.imwrite(tmp_path / "stack.tif", noise(4, 6, 7, dtype=np.uint8), photometric="minisblack")
    with pytest.raises(AtrousError, match=r"stack.tif: a stack of shape \(4, 6, 7\).*one image is wanted"):
        read_image(tmp_path / "stack.tif")


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_turns_image_and_mask_alike(tmp_path, orientation):
    array = noise(5, 8)
    exif = Image.Exif()
    exif[274] = orientation
    for name, options in (("a.png", {}), ("a.tif", {}), ("b.tif", {"compression": "tiff_lzw"})):
        Image.fromarray(array).save(tmp_path / name, exif=exif, **options)
        with Image.open(tmp_path / "a.png") as image:
            wanted = np.asarray(ImageOps.exif_transpose(image))
        np.testing.assert_array_equal(read_image(tmp_path / name)[..., 0], wanted)
        np.testing.assert_array_equal(read_mask(tmp_path / name), wanted)
    np.testing.assert_array_equal(read_mask(tmp_path / "a.png", orientation=1), array)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif", ".bmp"])
@pytest.mark.parametrize("share", [0.3, 0.7])
def test_truncated_files_are_refused(tmp_path, suffix, share):
    path = tmp_path / f"cut{suffix}"
    Image.fromarray(noise(64, 64, 3)).save(path)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    with pytest.raises(AtrousError, match=rf"cut\{suffix}: the image is truncated or damaged .*Copy it again"):
        read_image(path)
    with pytest.raises(AtrousError, match="truncated or damaged"):
        read_mask(path)


def test_truncated_sixteen_bit_colour_is_refused(tmp_path):
    path = tmp_path / "cut.png"
    cv2.imwrite(str(path), noise(64, 64, 3, dtype=np.uint16))
    path.write_bytes(path.read_bytes()[:9000])
    with pytest.raises(AtrousError, match="truncated or damaged"):
        read_image(path)


def test_words_for_what_is_no_image(tmp_path):
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "text.png").write_text("these are words")
    with pytest.raises(AtrousError, match=r"^.*empty.png: the file is empty \(0 bytes\)"):
        read_image(tmp_path / "empty.png")
    with pytest.raises(AtrousError, match=r"text.png: this is not an image \(it begins with b'these ar'\)"):
        read_image(tmp_path / "text.png")
    with pytest.raises(AtrousError, match=r"none.png: no such file"):
        read_image(tmp_path / "none.png")
    with pytest.raises(AtrousError, match=r"this is a folder, and one image file is wanted"):
        read_image(tmp_path)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif", ".bmp"])
def test_too_many_pixels_are_refused(tmp_path, suffix):
    path = tmp_path / f"big{suffix}"
    Image.fromarray(noise(20, 30)).save(path)
    with pytest.raises(AtrousError, match=r"big.*: 20 x 30 pixels came, and 599 are accepted"):
        read_image(path, max_pixels=599)
    assert read_image(path, max_pixels=600).shape == (20, 30, 1)


def test_header_of_a_bomb_is_enough(tmp_path):
    path = tmp_path / "bomb.png"
    Image.new("L", (1, 1)).save(path)
    data = bytearray(path.read_bytes())
    data[16:24] = struct.pack(">II", 20000, 20000)
    data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    path.write_bytes(data)
    with pytest.raises(AtrousError, match=r"20,000 x 20,000 pixels came, and 200,000,000 are accepted"):
        read_image(path)


def test_masks_keep_indices_and_depth(tmp_path):
    indices = noise(5, 6) % 4
    image = Image.fromarray(indices)
    image.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0, 0, 0, 255])
    image.save(tmp_path / "palette.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "palette.png"), indices)
    np.testing.assert_array_equal(read_mask(tmp_path / "palette.png", colours=True), np.asarray(image.convert("RGB")))
    deep = noise(5, 6, dtype=np.uint16)
    cv2.imwrite(str(tmp_path / "deep.png"), deep)
    np.testing.assert_array_equal(read_mask(tmp_path / "deep.png"), deep)
    wide = noise(5, 6, dtype=np.int32)
    tifffile.imwrite(tmp_path / "wide.tif", wide)
    np.testing.assert_array_equal(read_mask(tmp_path / "wide.tif"), wide)
    Image.fromarray(indices > 1).save(tmp_path / "bit.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "bit.png"), (indices > 1) * 255)


def test_equal_channels_are_one(tmp_path):
    grey = noise(5, 6)
    Image.fromarray(np.dstack([grey] * 3)).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "a.png"), grey)
    colours = noise(5, 6, 4)
    Image.fromarray(colours).save(tmp_path / "b.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "b.png"), colours[..., :3])


def test_four_bit_grey_masks_keep_their_values(tmp_path):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 2, 1, 4, 0, 0, 0, 0)
    data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\x00\x3f"))
    (tmp_path / "a.png").write_bytes(data + chunk(b"IEND", b""))
    assert read_mask(tmp_path / "a.png").tolist() == [[3, 15]]


def test_jpeg_and_fraction_masks_are_refused(tmp_path):
    Image.fromarray(noise(16, 16)).save(tmp_path / "a.jpg")
    with pytest.raises(AtrousError, match=r"a.jpg: this mask is a JPEG, which changes label values; \d+ distinct"):
        read_mask(tmp_path / "a.jpg")
    tifffile.imwrite(tmp_path / "a.tif", np.full((4, 4), 0.5, np.float32))
    with pytest.raises(AtrousError, match="a mask of fractions came"):
        read_mask(tmp_path / "a.tif")


def test_many_threads_read_the_same(tmp_path):
    arrays = [noise(40, 50, 3, seed=seed) for seed in range(8)]
    for index, array in enumerate(arrays):
        Image.fromarray(array).save(tmp_path / f"{index}.png")
    with ThreadPoolExecutor(8) as pool:
        for array, got in zip(arrays, pool.map(read_image, sorted(tmp_path.glob("*.png"))), strict=True):
            np.testing.assert_array_equal(got, array)


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(rows, width, *, depth, kind, extra=b""):
    """Return a PNG of packed rows; `extra` are chunks before the pixels."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, len(rows), depth, kind, 0, 0, 0))
    pixels = chunk(b"IDAT", zlib.compress(b"".join(b"\x00" + row for row in rows)))
    return b"\x89PNG\r\n\x1a\n" + header + extra + pixels + chunk(b"IEND", b"")


def turned_by(orientation):
    exif = Image.Exif()
    exif[274] = orientation
    return exif


def patches(height=4, width=6, side=16):
    """Return a picture of even squares, which lossy formats keep near enough to tell them apart."""
    return np.kron(noise(height, width, 3, seed=3) // 32 * 32, np.ones((side, side, 1), np.uint8))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(("name", "options"), [("a.webp", {"lossless": True}), ("a.webp", {}), ("a.jpg", {})])
def test_exif_turns_webp_and_jpeg(tmp_path, name, options, orientation):
    Image.fromarray(patches()).save(tmp_path / name, exif=turned_by(orientation), quality=95, **options)
    with Image.open(tmp_path / name) as image:
        wanted = np.asarray(ImageOps.exif_transpose(image))
    np.testing.assert_array_equal(read_image(tmp_path / name), wanted)
    if options:
        np.testing.assert_array_equal(read_mask(tmp_path / name), wanted)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(("kind", "channels"), [(0, 1), (2, 3), (4, 2), (6, 4)])
def test_exif_turns_sixteen_bit_png(tmp_path, kind, channels, orientation):
    array = noise(5, 8, channels, dtype=np.uint16)
    exif = chunk(b"eXIf", turned_by(orientation).tobytes().removeprefix(b"Exif\x00\x00"))
    (tmp_path / "a.png").write_bytes(
        png([row.astype(">u2").tobytes() for row in array], 8, depth=16, kind=kind, extra=exif)
    )
    small = Image.fromarray((array[..., 0] >> 8).astype(np.uint8))
    small.save(tmp_path / "b.png", exif=turned_by(orientation))
    got = read_image(tmp_path / "a.png")
    np.testing.assert_array_equal(got[..., 0] >> 8, read_image(tmp_path / "b.png")[..., 0])
    mask = read_mask(tmp_path / "a.png") if kind in (0, 4) else None
    if mask is not None:
        np.testing.assert_array_equal(mask, got[..., 0])


@pytest.mark.parametrize(("depth", "kind", "row", "wanted"), [
    (1, 0, b"\xa0", [255, 0, 255]), (2, 0, b"\x1b", [0, 1, 2, 3]), (4, 0, b"\x3f", [3, 15]),
    (8, 0, b"\x07\xff", [7, 255]),
    (16, 0, b"\x01\x02\x00\x07", [258, 7]), (8, 4, b"\x07\x00\x09\xff", [7, 9]),
    (16, 4, b"\x01\x02\x00\x00\x00\x07\xff\xff", [258, 7]),
    (1, 3, b"\xa0", [1, 0, 1]), (2, 3, b"\x1b", [0, 1, 2, 3]), (4, 3, b"\x3f", [3, 15]), (8, 3, b"\x02\x03", [2, 3]),
])  # fmt: skip
@pytest.mark.parametrize("transparent", [False, True])
def test_masks_of_every_png_depth(tmp_path, depth, kind, row, wanted, transparent):
    extra = chunk(b"PLTE", bytes(range(48))) if kind == 3 else b""
    if transparent and kind == 3:
        extra += chunk(b"tRNS", b"\x00\x80\xff")
    elif transparent and kind == 0:
        extra += chunk(b"tRNS", b"\x00\x00")
    (tmp_path / "m.png").write_bytes(png([row], len(wanted), depth=depth, kind=kind, extra=extra))
    assert read_mask(tmp_path / "m.png").tolist() == [wanted]
    if kind == 3:
        colours = [[3 * value, 3 * value + 1, 3 * value + 2] for value in wanted]
        assert read_mask(tmp_path / "m.png", colours=True).tolist() == [colours]


@pytest.mark.parametrize("largest", [1, 3, 20, 255, 256, 1000, 65535])
@pytest.mark.parametrize("plain", [False, True])
def test_pnm_keeps_its_values(tmp_path, largest, plain):
    """The header of a PNM tells its largest value; decoders like to stretch it to 255."""
    values = np.array([[0, 1, largest], [largest // 2, largest, 0]])
    data = (
        " ".join(map(str, values.ravel())).encode()
        if plain
        else values.astype(">u2" if largest > 255 else "u1").tobytes()
    )
    for suffix in (".pgm", ".pnm"):
        path = tmp_path / f"a{suffix}"
        path.write_bytes(f"P{2 if plain else 5}\n# a remark\n3 2\n{largest}\n".encode() + data)
        np.testing.assert_array_equal(read_mask(path), values)
        got = read_image(path)
        assert got.dtype == (np.uint16 if largest > 255 else np.uint8)
        np.testing.assert_array_equal(got[..., 0], values)


def bomb(path, side=60000):
    """Write a small file whose header promises side x side pixels."""
    if path.suffix == ".png":
        path.write_bytes(png([b"\x00"] * side, side, depth=8, kind=0))
    elif path.suffix == ".bmp":
        Image.new("L", (1, 1)).save(path)
        data = bytearray(path.read_bytes())
        data[18:26] = struct.pack("<ii", side, side)
        path.write_bytes(data)
    elif path.suffix in (".pgm", ".ppm"):
        path.write_bytes(f"P{5 if path.suffix == '.pgm' else 6}\n{side} {side}\n255\n".encode() + bytes(10))
    elif path.suffix == ".gif":
        Image.new("L", (1, 1)).save(path)
        data = bytearray(path.read_bytes())
        data[6:10] = struct.pack("<HH", side, side)
        path.write_bytes(data)
    elif path.suffix == ".webp":
        Image.new("RGB", (1, 1)).save(path, lossless=True)
        data = bytearray(path.read_bytes())
        data[21:25] = struct.pack("<I", 16382 | 16382 << 14)
        path.write_bytes(data)
    elif path.suffix == ".jpg":
        Image.new("L", (1, 1)).save(path)
        data = bytearray(path.read_bytes())
        place = data.index(b"\xff\xc0") + 5
        data[place : place + 4] = struct.pack(">HH", side, side)
        path.write_bytes(data)
    else:
        tifffile.imwrite(
            path, shape=(side, side), dtype=np.uint8, tile=(1 << 14, 1 << 14), compression="zlib", data=iter(())
        )


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".pgm", ".ppm", ".gif", ".webp", ".jpg"])
def test_bombs_are_refused_by_their_headers(tmp_path, suffix):
    path = tmp_path / f"bomb{suffix}"
    bomb(path)
    for read in (read_image, read_mask):
        with pytest.raises(AtrousError, match=r"bomb.*pixels") as caught:
            read(path)
        assert caught.value.kind == "too-many-pixels"


@pytest.mark.parametrize("shape", [(60000, 60000, 1), (1000, 1000, 60000)])
def test_bombs_of_tiff(tmp_path, shape):
    path = tmp_path / "bomb.tif"
    tifffile.imwrite(
        path, np.zeros((16, 16, 2), np.uint8), photometric="minisblack", planarconfig="contig", metadata=None
    )
    with tifffile.TiffFile(path, mode="r+") as file:
        tags = file.pages[0].tags
        for name, value in zip(
            ("ImageLength", "ImageWidth", "SamplesPerPixel", "RowsPerStrip"), (*shape, shape[0]), strict=True
        ):
            tags[name].overwrite(value)
    for read in (read_image, read_mask):
        with pytest.raises(AtrousError, match=r"bomb.tif: .*pixels") as caught:
            read(path)
        assert caught.value.kind == "too-many-pixels"


def test_tiff_without_pixels_is_refused(tmp_path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, noise(16, 16), metadata=None)
    with tifffile.TiffFile(path, mode="r+") as file:
        file.pages[0].tags["ImageLength"].overwrite(0)
    for read in (read_image, read_mask):
        with pytest.raises(AtrousError, match=r"a.tif: the image is truncated or damaged \(0 x 16 pixels\)"):
            read(path)
