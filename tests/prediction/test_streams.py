"""One image on standard input, and frames of a camera."""

import io
import os
import signal
import sys
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from atrous.contract import AtrousError, LabelSpace
from atrous.prediction.films import Frames
from atrous.prediction.streams import camera_index, opened_camera, predict_camera, predict_stream, read_stream
from atrous.prediction.wanted import Wanted

sys.path.append(str(Path(__file__).parent))  # tests are no package, so they import no neighbours
from films_made import frames_of

SPACE = LabelSpace(names=("dark", "light"))
IMAGE = np.random.default_rng(0).integers(0, 255, (7, 5, 3), dtype=np.uint8)


def bright(images):
    light = images[:, 0].astype(np.float32) / 255
    return np.stack([1 - light, light], 1)


def encoded(form, image=IMAGE):
    file = io.BytesIO()
    Image.fromarray(image).save(file, form)
    return file.getvalue()


@pytest.mark.parametrize("form", ["PNG", "TIFF", "BMP", "PPM"])
def test_an_image_of_any_format(form):
    for stream in (encoded(form), io.BytesIO(encoded(form))):
        sample = read_stream(stream)
        np.testing.assert_array_equal(sample.image, IMAGE)
        assert sample.path is None
    assert read_stream(encoded(form, IMAGE[..., 0])).image.shape == (7, 5, 1)


def test_standard_input_is_the_default(monkeypatch):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(encoded("PNG"))))
    np.testing.assert_array_equal(read_stream().image, IMAGE)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", r"standard input: nothing came \(0 bytes\); send one image: atrous predict MODEL - < photo.jpg"),
        (b"hello there", r"standard input: this is not an image \(it begins with b'hello th'\)"),
        (encoded("PNG")[:60], r"standard input: the image is truncated or damaged"),
        (encoded("TIFF")[:60], r"standard input: "),
    ],
)
def test_what_is_no_image(data, words):
    for stream in (data, io.BytesIO(data)):
        with pytest.raises(AtrousError, match=words):
            read_stream(stream)


def test_too_much():
    with pytest.raises(AtrousError, match=r"standard input: 7 x 5 pixels came, and 34 are accepted"):
        read_stream(encoded("PNG"), max_pixels=34)
    with pytest.raises(AtrousError, match=r"standard input: more than 160 bytes came"):
        read_stream(io.BytesIO(bytes(161)), max_pixels=10)


def test_a_terminal():
    class Terminal(io.BytesIO):
        def isatty(self):
            return True

    with pytest.raises(AtrousError, match=r"standard input: this is a terminal; send one image"):
        read_stream(Terminal(b"x"))


def test_results_are_called_stdin(tmp_path):
    paths = predict_stream(encoded("PNG"), bright, SPACE, tmp_path, Wanted())
    assert sorted(path.relative_to(tmp_path).as_posix() for path in paths) == ["masks/stdin.png", "overlays/stdin.jpg"]
    with Image.open(tmp_path / "masks/stdin.png") as mask:
        np.testing.assert_array_equal(np.array(mask), IMAGE[..., 0] > 127)


def test_which_camera():
    assert [camera_index(text) for text in ("webcam", "webcam:0", "webcam:12", "webcam.mp4", "photos", "-")] == [
        0, 0, 12, None, None, None,
    ]  # fmt: skip
    for text in ("webcam:", "webcam:-1", "webcam:front"):
        with pytest.raises(
            ValueError, match=r"source 'webcam:.*' came; a camera is webcam, or webcam:1 for the second"
        ):
            camera_index(text)


def test_no_camera(tmp_path):
    with pytest.raises(AtrousError, match=r"webcam:97: there is no such camera, or another program has it."):
        predict_camera(97, bright, SPACE, tmp_path, Wanted())
    with pytest.raises(AtrousError, match=r"webcam:97"), opened_camera(97):
        pass
    assert list(tmp_path.iterdir()) == []


def camera_of(pictures, rate=30.0):
    @contextmanager
    def opened(index):
        yield Frames(iter(pictures), rate)

    return opened


def test_frames_of_a_camera_until_it_ends_or_enough_came(tmp_path):
    noise, seen = np.random.default_rng(0).integers(0, 255, (5, 24, 32, 3), dtype=np.uint8), []
    paths = predict_camera(0, bright, SPACE, tmp_path, Wanted(), camera=camera_of(noise))
    assert len(paths) == 6
    assert len(frames_of(tmp_path / "overlays/webcam.mp4")) == 5
    for number, frame in enumerate(noise):
        with Image.open(tmp_path / f"masks/webcam/{number:06d}.png") as mask:
            np.testing.assert_array_equal(np.array(mask), frame[..., 0] > 127)
    predict_camera(
        1,
        bright,
        SPACE,
        tmp_path,
        Wanted(),
        frames=2,
        camera=camera_of(noise),
        progress=lambda *done: seen.append(done),
    )
    assert len(frames_of(tmp_path / "overlays/webcam-1.mp4")) == 2
    assert seen == [(1, 2), (2, 2)]


def test_ctrl_c_ends_a_camera_well(tmp_path):
    def pictures():
        for number in range(1000):
            if number == 5:
                os.kill(os.getpid(), signal.SIGINT)
            yield np.full((24, 32, 3), number % 250, np.uint8)

    before = signal.getsignal(signal.SIGINT)
    paths = predict_camera(0, bright, SPACE, tmp_path, Wanted(), camera=camera_of(pictures()))
    assert 1 <= len(paths) - 1 < 20
    assert len(frames_of(tmp_path / "overlays/webcam.mp4")) == len(paths) - 1
    assert signal.getsignal(signal.SIGINT) is before


def test_cameras_that_send_nothing(tmp_path):
    with pytest.raises(AtrousError, match=r"webcam:0: the camera sent no frame"):
        predict_camera(0, bright, SPACE, tmp_path, Wanted(), camera=camera_of([]))
    with pytest.raises(ValueError, match=r"frames 0 came; 1 or more is accepted, or none for no end"):
        predict_camera(0, bright, SPACE, tmp_path, Wanted(), frames=0)
