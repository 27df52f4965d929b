"""The doctor's page is one whole file that shows what was found and asks nothing of a network."""

import re
from base64 import b64decode
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from atrous import inspect
from atrous.contract import AtrousError
from atrous.data import examine
from atrous.data.diagnosis.page import chosen
from atrous.data.scenes import write_scenes


@pytest.fixture
def page(tmp_path):
    """Return a function that writes a set's page and returns its text."""

    def written(root, **options):
        inspect(root, html=tmp_path / "page.html", **options)
        return (tmp_path / "page.html").read_text("utf-8")

    return written


def pictures(text):
    found = re.findall(r'<img alt="(\w+)" width="\d+" src="data:image/\w+;base64,([^"]+)">', text)
    return [(name, Image.open(BytesIO(b64decode(data)))) for name, data in found]


def test_a_healthy_set(tmp_path, page):
    write_scenes(tmp_path / "street & <b>", train=4, val=2, size=(48, 64), seed=1)
    text = page(tmp_path / "street & <b>")
    assert "Nothing is wrong." in text
    assert "street &amp; &lt;b&gt;" in text
    assert "street & <b>" not in text
    assert [name for name, _ in pictures(text)] == ["image", "mask", "both"] * 6
    assert not re.search(r"<script|https?://", text)


def test_findings_are_shown_with_their_pictures(tmp_path, page):
    root = tmp_path / "한국어 🙂"
    write_scenes(root, train=5, val=2, size=(48, 64), seed=1)
    masks = sorted((root / "masks" / "train").iterdir())
    images = sorted((root / "images" / "train").iterdir())
    Image.open(masks[0]).resize((30, 20), Image.Resampling.NEAREST).save(masks[0])
    images[1].write_bytes(b"no image")
    Image.open(masks[2]).convert("L").save(masks[2].with_suffix(".jpg"))
    masks[2].unlink()
    text = page(root)
    for kind in ("size-differs", "unreadable-file", "jpeg-mask"):
        assert f"<h3>{kind} (1)</h3>" in text
        assert f"<b>{kind}</b>" in text
    assert "masks/train/0000.png: the mask is 20 x 30 (height x width) and its image 48 x 64" in text
    assert "<div>cannot be read</div>" in text
    figures = re.findall(r"<figure>.*?</figure>", text)
    shown = {
        kind: [name for name, _ in pictures(figure)]
        for figure in figures
        for kind in re.findall(r"<b>(.*)</b>", figure)
    }
    assert shown == {"size-differs": ["image", "mask"], "unreadable-file": [], "jpeg-mask": ["image", "mask"]}


def test_sick_pairs_are_never_shown_as_healthy(tmp_path):
    write_scenes(tmp_path / "street", train=9, val=2, size=(48, 64), seed=1)
    for path in sorted((tmp_path / "street" / "masks" / "train").iterdir())[:6]:
        Image.open(path).resize((30, 20), Image.Resampling.NEAREST).save(path)
    shown = chosen(examine(tmp_path / "street"))
    assert [kinds for _, kinds in shown] == [("size-differs",)] * 3 + [()] * 5
    healthy = {look.pair.name for look, kinds in shown if not kinds}
    assert healthy.isdisjoint(f"images/train/{place:04d}" for place in range(6))


def test_masks_that_are_not_understood_are_shown_as_they_are(tmp_path, page):
    for index in range(4):
        for kind, top in (("images", 255), ("masks", 60_000)):
            (tmp_path / "set" / kind).mkdir(parents=True, exist_ok=True)
            pixels = np.random.default_rng(index).integers(0, top, (24, 24))
            Image.fromarray(pixels.astype(np.uint8 if top == 255 else np.uint16)).save(
                tmp_path / "set" / kind / f"{index}.png"
            )
    text = page(tmp_path / "set")
    assert "not understood" in text
    assert {name for name, _ in pictures(text)} == {"image", "mask"}


def test_the_command_line_and_a_page_that_cannot_be_written(tmp_path, run):
    write_scenes(tmp_path / "street", train=3, val=1, size=(48, 64), seed=1)
    code, out, _ = run("inspect", tmp_path / "street", "--html", tmp_path / "page.html")
    assert code in (0, 1)
    assert "layout folders, 4 images" in out
    assert (tmp_path / "page.html").stat().st_size > 10_000
    (tmp_path / "file").write_text("")
    with pytest.raises(AtrousError, match=r"file/page.html: could not be written \(File exists\)"):
        inspect(tmp_path / "street", html=tmp_path / "file" / "page.html")
