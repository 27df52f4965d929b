"""Video files: opened, turned, broken off, written."""

import errno
import resource
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from atrous.contract import AtrousError
from atrous.prediction import films
from atrous.prediction.films import missing_bytes, opened_film, sound_rate, written_film

sys.path.append(str(Path(__file__).parent))  # tests are no package, so they import no neighbours
from films_made import film, frames_of, turned, uneven, with_index_first


def test_frames_rate_and_count(tmp_path):
    path = film(tmp_path / "a%02d: 사진 😀.mp4", 5, rate=29.97)
    with opened_film(path) as found:
        frames = list(found.pictures)
    assert (found.rate, found.count, len(frames)) == (29.97, 5, 5)
    assert [round(float(frame.mean()), -1) for frame in frames] == [0, 40, 80, 120, 160]
    assert {(frame.shape, frame.dtype) for frame in frames} == {((24, 32, 3), np.dtype(np.uint8))}


def test_colours_are_red_green_blue(tmp_path):
    red = np.zeros((16, 16, 3), np.uint8)
    red[..., 0] = 200
    with opened_film(film(tmp_path / "a.mp4", 1, size=(16, 16), pictures=[red])) as found:
        colour = next(iter(found.pictures))[8, 8]
    assert colour[0] > 180
    assert max(colour[1:]) < 20


def test_a_phone_that_was_held_upright(tmp_path):
    with opened_film(turned(film(tmp_path / "a.mp4", 2))) as found:
        assert [frame.shape for frame in found.pictures] == [(32, 24, 3)] * 2


def test_frames_at_uneven_times_have_their_mean_rate(tmp_path, caplog):
    path = uneven(film(tmp_path / "a.mp4", 10, rate=10.0))
    with opened_film(path) as found:
        assert len(list(found.pictures)) == 10
    assert found.rate == pytest.approx(10 / 3, rel=1e-3)
    assert (
        "its frames come at uneven times; an overlay shows them all at their mean rate, 3.333 a second" in caplog.text
    )
    caplog.clear()
    with opened_film(film(tmp_path / "b.mp4", 10)) as found:
        list(found.pictures)
    assert caplog.text == ""


def test_files_that_are_no_videos(tmp_path):
    path = film(tmp_path / "a.mp4", 5)
    whole = path.read_bytes()
    for data, words in (
        (b"", r"a.mp4: the file is empty \(0 bytes\)"),
        (b"not a video", r"a.mp4: this video cannot be opened; it is damaged, cut off, or has no picture in it. Copy"),
        (whole[: len(whole) // 3], r"a.mp4: this video cannot be opened; it ends [\d,]+ bytes early. Copy it again"),
    ):
        path.write_bytes(data)
        with pytest.raises(AtrousError, match=words), opened_film(path):
            pass
    with pytest.raises(AtrousError, match=r"gone.mp4: no such file"), opened_film(tmp_path / "gone.mp4"):
        pass
    path.write_bytes(whole)
    with pytest.raises(AtrousError, match=r"a.mp4: 24 x 32 pixels came"), opened_film(path, max_pixels=700):
        pass


@pytest.mark.slow
def test_a_broken_video_is_told_of_once(tmp_path):
    path = with_index_first(film(tmp_path / "a.mp4", 5))
    path.write_bytes(path.read_bytes()[:200])
    program = (
        "from pathlib import Path; from atrous.contract import AtrousError; from atrous.prediction.films import *\n"
        "try:\n    opened_film(Path('a.mp4')).__enter__()\nexcept AtrousError as error:\n    print('told')"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("told\n", "")


def test_missing_bytes(tmp_path):
    path = with_index_first(film(tmp_path / "a.mp4", 5))
    whole = path.read_bytes()
    assert len(frames_of(path)) == 5
    assert missing_bytes(path) == 0
    path.write_bytes(whole[:-100])
    assert missing_bytes(path) == 100
    path.write_bytes(b"\0\0\0\1mdat" + (2**40).to_bytes(8, "big"))
    assert missing_bytes(path) == 2**40 - 16
    path.write_bytes(b"\0\0\0\0mdatabcdefgh")
    assert missing_bytes(path) == 0
    path.write_bytes(b"\0\0\0\x10ab")
    assert missing_bytes(path) == 0
    other = film(tmp_path / "a.avi", 5, codec="MJPG")
    assert missing_bytes(other) == 0
    other.write_bytes(other.read_bytes()[:-50])
    assert missing_bytes(other) == 50
    other = film(tmp_path / "a.mkv", 5, codec="MJPG")
    assert missing_bytes(other) == 0
    other.write_bytes(other.read_bytes()[:-50])
    assert missing_bytes(other) == 50
    for live in (b"\x1aE\xdf\xa3\x80\x18S\x80g\xff", b"\x1aE\xdf\xa3\x80other", b"\x1aE\xdf\xa3"):
        other.write_bytes(live)
        assert missing_bytes(other) == 0


@pytest.mark.parametrize("rate", [0.0, -1.0, float("nan"), float("inf"), 90_000.0])
def test_rates_that_are_none(rate, caplog):
    assert sound_rate("a.mp4", rate) == 25
    assert "a.mp4: says no frame rate; 25 a second are taken" in caplog.text


@pytest.mark.parametrize(("size", "even"), [((1, 1), (2, 2)), ((5, 8), (6, 8)), ((8, 5), (8, 6)), ((8, 8), (8, 8))])
def test_odd_sides_are_made_even(tmp_path, size, even):
    with written_film(tmp_path / "new" / "a.mp4", 12.5) as put:
        for grey in (10, 200):
            put(np.full((*size, 3), grey, np.uint8))
    frames = frames_of(tmp_path / "new" / "a.mp4")
    assert [frame.shape for frame in frames] == [(*even, 3)] * 2
    assert cv2.VideoCapture(str(tmp_path / "new" / "a.mp4")).get(cv2.CAP_PROP_FPS) == 12.5
    np.testing.assert_allclose(frames[1], 200, atol=6)


def test_a_frame_of_another_size_is_scaled(tmp_path):
    with written_film(tmp_path / "a.mp4", 5) as put:
        put(np.zeros((16, 20, 3), np.uint8))
        put(np.full((32, 20, 3), 90, np.uint8))
    assert [frame.shape for frame in frames_of(tmp_path / "a.mp4")] == [(16, 20, 3)] * 2


def write(path, frames):
    with written_film(path, 5) as put:
        for frame in frames:
            put(frame)


def test_what_interrupts_leaves_nothing(tmp_path):
    def frames():
        yield np.zeros((16, 20, 3), np.uint8)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write(tmp_path / "a.mp4", frames())
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk(tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    noise = np.random.default_rng(0).integers(0, 255, (20, 128, 128, 3), dtype=np.uint8)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, hard))
        with pytest.raises(AtrousError, match=r"a.mp4: the video could not be written whole; free some space"):
            write(tmp_path / "a.mp4", noise)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(tmp_path.iterdir()) == []


def test_no_codec(tmp_path, monkeypatch):
    monkeypatch.setattr(films, "_CODECS", ("nope",))
    words = r"a.mp4: a video of 16 x 20 pixels \(height x width\) could not be started with the codecs nope."
    with pytest.raises(AtrousError, match=words):
        write(tmp_path / "a.mp4", [np.zeros((16, 20, 3), np.uint8)])


def test_a_disk_that_fills_up_is_told_before_the_last_frame(tmp_path, monkeypatch):
    taken = []

    def frames():
        for index in range(50):
            taken.append(index)
            yield np.zeros((16, 20, 3), np.uint8)

    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=1000 if len(taken) > 3 else 1 << 30))
    with pytest.raises(AtrousError, match=r"a.mp4: could not be written \(No space left on device\)") as told:
        write(tmp_path / "a.mp4", frames())
    assert len(taken) == 4
    assert told.value.__cause__.errno == errno.ENOSPC
    assert list(tmp_path.iterdir()) == []
