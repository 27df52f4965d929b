"""`atrous refine` as a user meets it: masks of any tool, probabilities and strokes, files and folders."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

import atrous
from atrous import cli
from atrous.contract import AtrousError
from atrous.crf import pydensecrf_example, soft_labels
from atrous.data import read_image
from atrous.data.any_mask import read_any_mask
from atrous.data.strokes import read_strokes
from atrous.prediction.probability_files import read_probabilities

Run = Callable[..., tuple[int, str, str]]
TRUTH = np.zeros((48, 64), np.uint8)
TRUTH[12:36, 20:44] = 1
FAT = np.zeros((48, 64), np.uint8)
FAT[9:39, 17:47] = 1


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Return a function that runs the command line in this process: exit code, output, errors."""

    def call(*arguments: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as stop:
            cli.main(["refine", *(str(argument) for argument in arguments)])
        captured = capsys.readouterr()
        return int(stop.value.code or 0), captured.out, captured.err

    return call


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """Return a picture of a light square on dark ground, with some noise."""
    pixels = np.where(TRUTH[..., None] == 1, (210, 180, 60), (40, 60, 90))
    noise = np.random.default_rng(0).normal(0, 4, pixels.shape)
    Image.fromarray((pixels + noise).clip(0, 255).astype(np.uint8)).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


def saved(path: Path, array: np.ndarray, palette: list[int] | None = None, mode: str | None = None) -> Path:
    """Write a picture, and return its path."""
    image = Image.fromarray(array)
    if palette is not None:
        image.putpalette(palette)
    (image if mode is None else image.convert(mode)).save(path)
    return path


def pixels(path: Path, mode: str | None = None) -> np.ndarray:
    """Read a picture, converted where a mode is given."""
    with Image.open(path) as image:
        return np.array(image if mode is None else image.convert(mode))


def test_a_palette_mask_comes_back_with_its_palette_and_moves_to_the_edge(
    run: Run, photo: Path, tmp_path: Path
) -> None:
    palette = [0, 0, 0, 9, 9, 9, 200, 30, 30]
    mask = saved(tmp_path / "mask.png", FAT * 2, palette)
    code, out, _ = run(photo, mask, "--out", tmp_path / "out.png", "--overlay", tmp_path / "look.jpg")
    assert code == 0
    with Image.open(tmp_path / "out.png") as image:
        assert image.mode == "P"
        assert image.getpalette()[:9] == palette
        assert (np.array(image) == TRUTH * 2).all()
    moved = int((FAT != TRUTH).sum())
    assert out.splitlines() == [
        str(tmp_path / "out.png"),
        f"{moved} of 3,072 pixels changed ({100 * moved / 3072:.2f} %): 0 +{moved} -0, 2 +0 -{moved}",
        "refined with deeplab_v2 (w1 4, sigma_alpha 67, sigma_beta 3, w2 3, sigma_gamma 3)",
    ]
    assert read_image(tmp_path / "look.jpg").shape[1] == 64


@pytest.mark.parametrize(
    ("name", "array", "mode"),
    [
        ("grey.png", FAT * np.uint8(255), "L"),
        ("index.png", FAT, "L"),
        ("one_bit.png", FAT.astype(bool), "1"),
        ("colour.png", np.where(FAT[..., None] == 1, (255, 0, 9), (0, 80, 0)).astype(np.uint8), "RGB"),
        ("wide.png", FAT.astype(np.uint16) * 1000, "I;16"),
        ("colour.bmp", np.where(FAT[..., None] == 1, (255, 0, 9), (0, 80, 0)).astype(np.uint8), "RGB"),
        ("index.tif", FAT * np.uint8(3), "L"),
    ],
)
def test_every_form_is_kept(photo: Path, tmp_path: Path, name: str, array: np.ndarray, mode: str) -> None:
    mask = saved(tmp_path / name, array)
    out = tmp_path / f"out{mask.suffix}"
    done = atrous.refine(photo, mask, out=out)
    assert done.total.changed == (FAT != TRUTH).sum()
    with Image.open(out) as image, Image.open(mask) as before:
        assert image.mode == before.mode == mode
        found, given = np.array(image), np.array(before)
    assert (found[TRUTH == 1] == given[FAT == 1][0]).all()
    assert (found[TRUTH == 0] == given[0, 0]).all()


def test_ignored_pixels_get_a_class_unless_they_are_kept(photo: Path, tmp_path: Path) -> None:
    labels = FAT.copy()
    labels[20:24, 25:30] = 255
    mask = saved(tmp_path / "mask.png", labels + np.uint8(0))
    done = atrous.refine(photo, mask, out=tmp_path / "filled.png")
    assert done.total.filled == 20
    assert "20 without a class got one" in done.total.as_text()
    assert (pixels(tmp_path / "filled.png") == TRUTH).all()
    done = atrous.refine(photo, mask, out=tmp_path / "kept.png", keep_ignored=True)
    assert done.total.filled == 0
    assert (pixels(tmp_path / "kept.png") == np.where(labels == 255, 255, TRUTH)).all()


def test_an_ignore_colour_means_its_index_in_a_palette(tmp_path: Path) -> None:
    palette = [10, 20, 30, 0, 0, 0, 200, 30, 30]
    mask = read_any_mask(saved(tmp_path / "m.png", np.uint8([[0, 1, 2]]), palette), ignore=(0, 0, 0))
    assert (mask.values, mask.ignore, mask.labels.tolist()) == ((0, 2), 1, [[0, 255, 1]])
    assert mask.space.colours == ((10, 20, 30), (200, 30, 30))


def test_255_is_ignored_but_where_it_is_one_of_two_values(tmp_path: Path) -> None:
    assert read_any_mask(saved(tmp_path / "a.png", np.uint8([[0, 255]]))).values == (0, 255)
    assert read_any_mask(saved(tmp_path / "b.png", np.uint8([[3, 255]]))).values == (3,)
    with_palette = saved(tmp_path / "c.png", np.uint8([[0, 255]]), list(range(256)) * 3)
    assert read_any_mask(with_palette).labels.tolist() == [[0, 255]]


def test_a_mask_of_one_class_stays_as_it_is(run: Run, photo: Path, tmp_path: Path) -> None:
    mask = saved(tmp_path / "mask.png", np.full((48, 64), 7, np.uint8))
    code, out, _ = run(photo, mask, "--out", tmp_path / "out.png")
    assert code == 0
    assert "0 of 3,072 pixels changed (0.00 %)" in out
    assert (pixels(tmp_path / "out.png") == 7).all()


@pytest.mark.parametrize("suffix", [".npz", ".npy"])
def test_probabilities_come_back_as_they_came(photo: Path, tmp_path: Path, suffix: str) -> None:
    given = soft_labels(FAT, 2, confidence=0.6).astype(np.float16)
    path = tmp_path / f"p{suffix}"
    if suffix == ".npy":
        np.save(path, given)
    else:
        np.savez_compressed(path, probabilities=given, names=np.array(["ground", "square"]))
    done = atrous.refine(photo, path, out=tmp_path / f"out{suffix}")
    found = read_probabilities(tmp_path / f"out{suffix}")
    assert found.dtype == np.float16
    assert found.names == (("ground", "square") if suffix == ".npz" else None)
    assert (found.probabilities.argmax(0) == TRUTH).mean() > 0.99
    assert done.words.startswith("mild")
    atrous.refine(photo, path, out=tmp_path / "out.png", crf="guided")
    with Image.open(tmp_path / "out.png") as image:
        assert image.mode == "P"


def test_crf_and_its_numbers_can_be_chosen(run: Run, photo: Path, tmp_path: Path) -> None:
    mask = saved(tmp_path / "mask.png", FAT)
    for name in ("superpixels", "guided", "pydensecrf_example"):
        code, out, _ = run(photo, mask, "--out", tmp_path / f"{name}.png", "--crf", name)
        assert code == 0
        assert f"refined with {name}" in out
    code, out, _ = run(photo, mask, "--out", tmp_path / "o.png", "--w1", 0, "--w2", 0, "--iterations", 1, "--json")
    told = json.loads(out)
    assert told["written"][str(tmp_path / "o.png")]["changed"] == 0
    assert told["refined"].endswith("with w1 0.0, w2 0.0, iterations 1")
    code, _, err = run(photo, mask, "--out", tmp_path / "o.png", "--crf", "guided", "--w1", 1)
    assert code == 2
    assert "w1 came, which are numbers of a CRF, and guided is none" in err


def test_published_strokes_are_an_ignored_colour_away(data_dir: Path, tmp_path: Path) -> None:
    folder = data_dir / "crf"
    out = tmp_path / "out.png"
    image, drawn = folder / "im1.png", folder / "anno1.png"
    atrous.refine(image, drawn, out=out, ignore=(0, 0, 0), crf=pydensecrf_example())
    published = pixels(folder / "out1.png", "RGB")
    assert (pixels(out, "RGB") == published).all(2).mean() >= 0.999


def strokes_on(ground: Image.Image, *, width: int = 3) -> Image.Image:
    """Draw a blue line on the ground and a red one on the square."""
    pen = ImageDraw.Draw(ground)
    pen.line([(3, 4), (60, 5)], fill=(0, 0, 255), width=width)
    pen.line([(25, 20), (38, 28)], fill=(255, 0, 0), width=width)
    return ground


@pytest.mark.parametrize(
    "ground", ["black", "white", "grey", "transparent", "photo", "smooth", "jpeg", "jpeg on photo"]
)
def test_strokes_on_any_ground_become_a_mask(run: Run, photo: Path, tmp_path: Path, ground: str) -> None:
    colours = {"white": (255, 255, 255), "grey": (120, 120, 120)}
    if "photo" in ground:
        picture = strokes_on(Image.fromarray(pixels(photo)))
    elif ground == "transparent":
        picture = strokes_on(Image.new("RGBA", (64, 48), (0, 0, 0, 0)))
    elif ground == "smooth":
        large = Image.new("RGB", (256, 192))
        ImageDraw.Draw(large).line([(12, 16), (240, 23)], fill=(0, 0, 255), width=13)
        ImageDraw.Draw(large).line([(100, 80), (152, 112)], fill=(255, 0, 0), width=13)
        picture = large.resize((64, 48), Image.Resampling.BICUBIC)
    else:
        picture = strokes_on(Image.new("RGB", (64, 48), colours.get(ground, (0, 0, 0))), width=4)
    path = tmp_path / ("strokes.jpg" if "jpeg" in ground else "strokes.png")
    picture.save(path, **({"quality": 92} if "jpeg" in ground else {}))
    code, out, err = run(photo, "--scribbles", path, "--out", tmp_path / "mask.png")
    assert code == 0, err
    found = pixels(tmp_path / "mask.png", "RGB").astype(int)
    assert len(np.unique(found.reshape(-1, 3), axis=0)) == 2
    assert ((found[..., 0] > found[..., 2]) == TRUTH).mean() > 0.99
    assert "without a class got one" in out
    assert ("smoothed or saved with loss; taken for classes" in err) == (ground in ("smooth", "jpeg", "jpeg on photo"))


def test_strokes_of_a_palette_keep_it_and_few_levels_are_classes(photo: Path, tmp_path: Path) -> None:
    strokes = np.zeros((48, 64), np.uint8)
    strokes[4, 5:60], strokes[24, 24:40] = 5, 9
    path = saved(tmp_path / "s.png", strokes, [0, 0, 0] + [40, 40, 40] * 8 + [90, 0, 0])
    atrous.refine(photo, scribbles=path, out=tmp_path / "o.png")
    assert (pixels(tmp_path / "o.png") == np.where(TRUTH == 1, 9, 5)).all()
    grey = read_strokes(saved(tmp_path / "g.png", strokes), read_image(photo))
    assert grey.values == ((5, 5, 5), (9, 9, 9))


def test_the_colour_without_strokes_can_be_said(tmp_path: Path) -> None:
    picture = np.full((4, 9, 3), 7, np.uint8)
    picture[0, :2], picture[0, 3:5], picture[2] = (255, 0, 0), (0, 0, 255), (0, 0, 0)
    path = saved(tmp_path / "s.png", picture)
    strokes = read_strokes(path, np.zeros((4, 9, 3), np.uint8), unknown=(7, 7, 7))
    assert len(strokes.values) == 3
    assert (strokes.labels == 255).sum() == 4 * 9 - 4 - 9


def test_strokes_that_cover_much_are_told(photo: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    strokes = np.full((48, 64, 3), 0, np.uint8)
    strokes[:9], strokes[15:33, 24:40], strokes[40:] = (0, 0, 255), (255, 0, 0), (0, 0, 255)
    path = saved(tmp_path / "s.png", strokes)
    atrous.refine(photo, scribbles=path, out=tmp_path / "o.png")
    assert "45 % of the pixels are strokes, and those keep their class" in caplog.text


@pytest.mark.parametrize(
    ("name", "array", "words"),
    [
        ("none.png", np.zeros((48, 64, 3), np.uint8), "no strokes were found. Draw at least one line"),
        (
            "one.png",
            np.eye(48, 64, dtype=np.uint8) * 255,
            "all strokes have one colour, 255,255,255. Draw at least two",
        ),
        ("small.png", np.zeros((4, 6, 3), np.uint8), "the strokes are 4 x 6 .* and the image is 48 x 64. Draw on"),
        ("wide.png", np.zeros((48, 64), np.uint16), "strokes are colours of 8 bits, and I;16 came"),
    ],
)
def test_strokes_that_cannot_be_used_are_refused(
    photo: Path, tmp_path: Path, name: str, array: np.ndarray, words: str
) -> None:
    path = saved(tmp_path / name, array)
    with pytest.raises(AtrousError, match=words):
        atrous.refine(photo, scribbles=path, out=tmp_path / "o.png")
    assert not (tmp_path / "o.png").exists()


def ramp() -> np.ndarray:
    """Return grey levels that fade from 0 to 255."""
    return np.tile(np.linspace(0, 255, 64).astype(np.uint8), (48, 1))


@pytest.mark.parametrize(
    ("name", "array", "words"),
    [
        ("small.png", FAT[:9, :9], "the mask is 9 x 9 .* Make them equal"),
        ("soft.png", ramp() | np.arange(48, dtype=np.uint8)[:, None], "grey levels came that fade from 0 to 255"),
        (
            "noise.png",
            np.random.default_rng(0).integers(0, 256, (48, 64, 3)).astype(np.uint8),
            "colours came, and up to",
        ),
        ("wide.png", np.arange(48 * 64, dtype=np.uint16).reshape(48, 64), "3,071 values came, and up to 254"),
        ("void.png", np.full((48, 64), 255, np.uint8), "every pixel has the ignore value"),
        ("lossy.jpg", FAT * np.uint8(255), "this mask is a JPEG, which changes label values"),
    ],
)
def test_masks_that_cannot_be_used_are_refused(
    photo: Path, tmp_path: Path, name: str, array: np.ndarray, words: str
) -> None:
    path = saved(tmp_path / name, array)
    with pytest.raises(AtrousError, match=words):
        atrous.refine(photo, path, out=tmp_path / "o.png")
    assert not (tmp_path / "o.png").exists()


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.full((2, 4, 4), 0.5, np.float32), r"probabilities of shape \(2, 4, 4\) came, .* Make them equal"),
        (np.full((2, 48, 64), 0.9, np.float32), "a pixel's probabilities sum to 1.8, and must to 1"),
        (np.full((2, 48, 64), -1, np.float32), "Are these logits"),
        (FAT, r"an array of uint8 and shape \(48, 64\) came"),
        (np.array([{}]), "the array cannot be read"),
    ],
)
def test_probabilities_that_cannot_be_used_are_refused(
    photo: Path, tmp_path: Path, array: np.ndarray, words: str
) -> None:
    np.save(tmp_path / "p.npy", array, allow_pickle=True)
    with pytest.raises(AtrousError, match=words):
        atrous.refine(photo, tmp_path / "p.npy", out=tmp_path / "o.npy")


def test_settings_that_cannot_be_are_refused(run: Run, photo: Path, tmp_path: Path) -> None:
    mask = saved(tmp_path / "mask.png", FAT)
    for arguments, words in (
        ((photo,), "give a mask to refine, or scribbles in its place"),
        ((photo, mask, "--scribbles", mask), "one of them"),
        ((photo, mask, "--confidence", 1.5), "confidence is 1.5"),
        ((photo, mask, "--unknown", "red"), "--unknown red: a colour like 255,255,255 is accepted"),
        ((photo, mask, "--sigma-alpha", 0), "sigma_alpha is 0"),
        ((photo, tmp_path / "none.png"), "no such file"),
        ((tmp_path, mask), "is a folder, and"),
    ):
        code, _, err = run(*arguments, "--out", tmp_path / "o.png")
        assert code == 2
        assert words in err
    for out, words in (
        (mask, "would replace what is read"),
        (tmp_path / "o.jpg", "written without loss; name it .png"),
    ):
        code, _, err = run(photo, mask, "--out", out)
        assert code == 2
        assert words in err


def test_folders_are_paired_by_name_and_one_bad_file_is_skipped(run: Run, photo: Path, tmp_path: Path) -> None:
    images, masks, out = tmp_path / "images", tmp_path / "masks", tmp_path / "out"
    for folder in (images / "a", masks / "a"):
        folder.mkdir(parents=True)
    for name in ("one", "a/two", "broken", "alone"):
        (images / f"{name}.png").write_bytes(photo.read_bytes())
    saved(masks / "one_mask.png", FAT)
    saved(masks / "a" / "two.png", FAT * np.uint8(255))
    (masks / "broken.png").write_bytes(b"no picture")
    code, told, err = run(images, masks, "--out", out, "--overlay", tmp_path / "looks")
    assert code == 1
    assert told.startswith(f"2 refined, 2 failed: {out}\n")
    assert "broken.png: this is not an image" in err
    assert sorted(path.relative_to(out).as_posix() for path in out.rglob("*.png")) == ["a/two.png", "one_mask.png"]
    assert (pixels(out / "one_mask.png") == TRUTH).all()
    assert (tmp_path / "looks" / "a" / "two.jpg").is_file()
    code, _, err = run(images, masks, "--out", masks / "new")
    assert code == 2
    assert "whose files are read. Choose another folder" in err


def test_folders_of_probabilities_are_paired_by_name(photo: Path, tmp_path: Path) -> None:
    images, arrays = tmp_path / "images", tmp_path / "arrays"
    images.mkdir(), arrays.mkdir()
    (images / "one.png").write_bytes(photo.read_bytes())
    for name in ("one", "two"):
        np.savez(arrays / f"{name}.npz", probabilities=soft_labels(FAT, 2, confidence=0.6))
    done = atrous.refine(images, arrays, out=tmp_path / "out")
    assert list(done.changes) == [tmp_path / "out" / "one.npz"]
    assert list(done.failed) == [arrays / "two.npz"]


def test_deep_and_many_channel_images_are_brought_to_bytes(tmp_path: Path) -> None:
    import tifffile

    deep = np.where(TRUTH == 1, 40_000, 3_000).astype(np.uint16)
    mask = saved(tmp_path / "mask.png", FAT)
    for name, array in (("deep.tif", deep), ("bands.tif", np.stack([deep] * 5, axis=2))):
        tifffile.imwrite(
            tmp_path / name, array, photometric="minisblack", planarconfig="contig" if array.ndim == 3 else None
        )
        atrous.refine(tmp_path / name, mask, out=tmp_path / "out.png")
        assert (pixels(tmp_path / "out.png") == TRUTH).all()
