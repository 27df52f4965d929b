"""What `atrous refine` refuses, and in what words: flags, files of probabilities, strokes, names of refiners."""

from __future__ import annotations

import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import atrous
from atrous import cli, flags
from atrous.contract import AtrousError
from atrous.crf import soft_labels
from atrous.data.any_mask import read_any_mask
from atrous.prediction.probability_files import read_probabilities

Run = Callable[..., tuple[int, str]]
FAT = np.zeros((12, 16), np.uint8)
FAT[3:9, 4:12] = 1
HALF = np.full((2, 12, 16), 0.5, np.float32)


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Return a function that runs the command line in this process: exit code and errors."""

    def call(*arguments: object) -> tuple[int, str]:
        with pytest.raises(SystemExit) as stop:
            cli.main([str(argument) for argument in arguments])
        return int(stop.value.code or 0), capsys.readouterr().err

    return call


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """Return a folder with a photo, a mask, strokes and probabilities."""
    Image.fromarray(np.repeat(FAT[..., None] * np.uint8(200), 3, axis=2)).save(tmp_path / "photo.png")
    Image.fromarray(FAT).save(tmp_path / "mask.png")
    strokes = np.zeros((12, 16, 3), np.uint8)
    strokes[0, 2:9], strokes[5, 6:9] = (255, 0, 0), (0, 0, 255)
    Image.fromarray(strokes).save(tmp_path / "strokes.png")
    np.savez(tmp_path / "p.npz", probabilities=soft_labels(FAT, 2, confidence=0.6))
    return tmp_path


@pytest.mark.parametrize(
    ("given", "settings", "words"),
    [
        ("scribbles", {"keep_ignored": True}, "keep_ignored came, and a picture of strokes has .* takes unknown"),
        ("scribbles", {"ignore": 0}, "ignore came, and a picture of strokes"),
        ("scribbles", {"confidence": 0.7}, "confidence came, and a picture of strokes"),
        ("p.npz", {"confidence": 0.9}, "confidence came, and a file of probabilities .* takes none of these"),
        ("p.npz", {"ignore": 0, "keep_ignored": True}, "ignore, keep_ignored came, and a file of probabilities"),
        ("mask.png", {"unknown": (0, 0, 0)}, "unknown came, and a mask has no use for that: it takes confidence, ig"),
    ],
)
def test_settings_without_a_use_are_refused(files: Path, given: str, settings: dict, words: str) -> None:
    scribbles = files / "strokes.png" if given == "scribbles" else None
    mask = None if scribbles else files / given
    out = files / ("o.npz" if given == "p.npz" else "o.png")
    with pytest.raises(ValueError, match=words):
        atrous.refine(files / "photo.png", mask, scribbles=scribbles, out=out, **settings)
    assert not out.exists()


def test_their_flags_are_refused(run: Run, files: Path) -> None:
    code, err = run("refine", files / "photo.png", files / "p.npz", "--confidence", "0.7", "--out", files / "o.npz")
    assert code == 2
    assert "confidence came, and a file of probabilities has no use for that" in err


@pytest.mark.parametrize("colour", ["300,0,0", "-1,0,0", "0,0,256"])
def test_a_colour_has_channels_of_a_byte(run: Run, files: Path, colour: str) -> None:
    code, err = run("refine", files / "photo.png", files / "mask.png", f"--ignore={colour}", "--out", files / "o.png")
    assert code == 2
    assert f"--ignore {colour}: each channel of a colour is 0 to 255" in err


@pytest.mark.parametrize("ignore", [-1, 65_536, (300, 0, 0), (-1, 0, 0), (1, 2), 1.5, True, "7"])
def test_an_ignore_that_no_mask_holds(files: Path, ignore: object) -> None:
    with pytest.raises(ValueError, match=r"ignore .*: a number 0..65535 or a colour of three 0..255 is accepted"):
        read_any_mask(files / "mask.png", ignore=ignore)


@pytest.mark.parametrize("form", ["grey", "palette", "colours", "one bit"])
def test_an_ignore_that_this_mask_does_not_hold(files: Path, form: str) -> None:
    image = Image.fromarray(FAT)
    if form == "palette":
        image.putpalette([0, 0, 0, 90, 0, 0])
    if form == "colours":
        image = Image.fromarray(np.where(FAT[..., None] == 1, (255, 0, 9), (0, 80, 0)).astype(np.uint8))
    if form == "one bit":
        image = Image.fromarray(FAT.astype(bool))
    image.save(files / "m.png")
    with pytest.raises(AtrousError, match=r"m\.png: the ignore value 300 came, and this mask holds 0 to 255"):
        atrous.refine(files / "photo.png", files / "m.png", out=files / "o.png", ignore=300)
    Image.fromarray(FAT * np.uint16(300)).save(files / "deep.png")
    assert read_any_mask(files / "deep.png", ignore=300).values == (0,)
    assert read_any_mask(files / "deep.png", ignore=np.int64(300)).values == (0,)


def huge(path: Path) -> None:
    """Write a header that claims an array of a petabyte."""
    header = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 16777216, 16777216), }"
    header += " " * (117 - len(header)) + "\n"
    path.write_bytes(b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode())


def damaged(path: Path) -> None:
    """Write a .npz with broken bytes in its compressed part."""
    np.savez_compressed(path, probabilities=np.random.default_rng(0).random((2, 40, 40)))
    data = bytearray(path.read_bytes())
    data[60:400] = b"\xff" * 340
    path.write_bytes(bytes(data))


def marked(path: Path, places: tuple[int, int], value: int) -> None:
    """Write a .npz whose two headers have a value: flags (6, 8) or the method of compression (8, 10)."""
    np.savez(path, probabilities=HALF)
    data = bytearray(path.read_bytes())
    data[places[0]] = value
    data[data.rindex(b"PK\x01\x02") + places[1]] = value
    path.write_bytes(bytes(data))


def other(path: Path) -> None:
    """Write a zip that holds a text."""
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("readme.txt", "no array")


BROKEN: list[tuple[str, Callable[[Path], object], str]] = [
    ("0-d names", lambda path: np.savez(path, probabilities=HALF, names=np.array("a")), r"names are <U1 of shape \(\)"),
    ("2-d names", lambda path: np.savez(path, probabilities=HALF, names=np.array([["a"], ["b"]])), "not a row of"),
    ("numbers for names", lambda path: np.savez(path, probabilities=HALF, names=np.arange(2)), "not a row of texts"),
    ("names twice", lambda path: np.savez(path, probabilities=HALF, names=["a", "a"]), "2 names, 1 of them distinct"),
    ("huge", huge, "needs more memory than there is"),
    ("damaged", damaged, "the array cannot be read"),
    ("encrypted", lambda path: marked(path, (6, 8), 1), "the array cannot be read .*password"),
    ("compressed unknown", lambda path: marked(path, (8, 10), 99), "the array cannot be read"),
    ("text", other, "it holds nothing, and no array 'probabilities'"),
    ("objects", lambda path: np.savez(path, probabilities=np.array([{}])), "it holds Python objects, which are not"),
    ("no NumPy", lambda path: path.write_bytes(b"no array"), "this is no file of NumPy"),
    (
        "overflow",
        lambda path: np.savez(path, probabilities=HALF.astype(np.float64) * 1e300),
        "negative, infinite or NaN",
    ),
]


@pytest.mark.parametrize(("write", "words"), [each[1:] for each in BROKEN], ids=[each[0] for each in BROKEN])
def test_probabilities_that_cannot_be_read(files: Path, write: Callable[[Path], object], words: str) -> None:
    """Alone each is refused by name; in a folder the others are refined."""
    for folder in ("images", "arrays"):
        (files / folder).mkdir()
    for name in ("bad", "good"):
        (files / "images" / f"{name}.png").write_bytes((files / "photo.png").read_bytes())
    (files / "arrays" / "good.npz").write_bytes((files / "p.npz").read_bytes())
    path = files / "arrays" / "bad.npz"
    write(path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(AtrousError, match=words) as told:
            read_probabilities(path)
    assert str(path) in str(told.value)
    assert "allow_pickle" not in str(told.value)
    done = atrous.refine(files / "images", files / "arrays", out=files / "out")
    assert list(done.changes) == [files / "out" / "good.npz"]
    assert list(done.failed) == [path]


def test_noise_is_no_stroke(files: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (200, 300, 3)).astype(np.uint8)
    Image.fromarray(noise).save(files / "noise.png")
    Image.new("RGB", (300, 200)).save(files / "photo.png")
    with pytest.raises(AtrousError, match=r"noise.png: [\d,]+ colours came, and none covers enough to be a stroke"):
        atrous.refine(files / "photo.png", scribbles=files / "noise.png", out=files / "o.png")


@pytest.mark.parametrize(
    "line",
    [
        "refine photo.png --scribbles s.png --crf mlid --out o.png",
        "refine photo.png --crf mlid --out o.png",
        "predict run --out o photos --crf mlid",
        "predict run photos --crf mlid --quiet --out o",
        "evaluate run --crf mlid data",
    ],
)
def test_a_misspelt_refiner_is_told(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str) -> None:
    monkeypatch.chdir(tmp_path)
    code, err = run(*line.split())
    assert code == 2
    assert "crf 'mlid' is not known; did you mean 'mild'? There are mild, deeplab_v1" in err


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("refine photo.png --scribbles s.png --crf strong", "--crf"),
        ("refine photo.png --crf strong --scribbles=s.png", "--crf"),
        ("refine photo.png --crf mask.png --out o", "--crf=true"),
        ("refine --crf photo.png mask.png", "--crf=true"),
        ("predict run --out o photos --crf strong", "--crf"),
        ("predict run --out o --crf photos", "--crf=true"),
        ("predict run --quiet photos --out=o --crf strong", "--crf"),
    ],
)
def test_a_word_that_is_not_needed_elsewhere_is_the_refiner(line: str, expected: str) -> None:
    assert expected in flags.with_flag_values(line.split())


@pytest.mark.parametrize(("word", "words"), [("strong", "'strong' is not known; there are mild"), ("", "'' is not kn")])
def test_a_refiner_that_is_nothing_is_told(run: Run, files: Path, word: str, words: str) -> None:
    code, err = run("refine", files / "photo.png", files / "mask.png", f"--crf={word}", "--out", files / "o.png")
    assert code == 2
    assert f"crf {words}" in err


def test_an_overlay_that_is_no_picture_is_refused_first(run: Run, files: Path) -> None:
    out, look = files / "o.png", files / "look.txt"
    code, err = run("refine", files / "photo.png", files / "mask.png", "--out", out, "--overlay", look)
    assert code == 2
    assert "look.txt: no picture has this suffix; name the overlay .jpg" in err
    assert not out.exists()


def test_an_overlay_that_is_too_large_for_jpeg(tmp_path: Path) -> None:
    for folder, value in (("images", 200), ("masks", 1)):
        (tmp_path / folder).mkdir()
        array = np.zeros((2, 65_100), np.uint8)
        array[:, 40_000:] = value
        Image.fromarray(array).save(tmp_path / folder / "a.png")
    image, mask = tmp_path / "images" / "a.png", tmp_path / "masks" / "a.png"
    out = tmp_path / "o.png"
    for suffix in (".jpg", ".webp"):
        with pytest.raises(ValueError, match=f"look{suffix}: {suffix} ends at .* pixels a side.*; name it .png"):
            atrous.refine(image, mask, out=out, overlay=tmp_path / f"look{suffix}", crf="guided")
        assert not out.exists()
    atrous.refine(image.parent, mask.parent, out=tmp_path / "out", overlay=tmp_path / "looks", crf="guided")
    assert [path.name for path in (tmp_path / "looks").iterdir()] == ["a.png"]
