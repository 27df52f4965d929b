"""One image on standard input, and a camera: sources that are no files."""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from itertools import chain, islice
from pathlib import Path
from typing import BinaryIO

import cv2
import numpy as np

from atrous.contract import AtrousError, LabelSpace, Sample, Scorer
from atrous.data.images import MAX_PIXELS, as_image, picture
from atrous.prediction.films import Frame, Frames, quiet, sound_rate
from atrous.prediction.folders import of_image
from atrous.prediction.images import predicted
from atrous.prediction.outputs import write_prediction
from atrous.prediction.video import predict_frames
from atrous.prediction.wanted import Progress, Wanted

STANDARD_INPUT = "-"
"""The source that means one image on standard input."""

STREAM_NAME = "stdin"
"""What the results of an image on standard input are called."""

_WHERE = Path("standard input")
_PIXEL_BYTES = 16  # the largest pixel that is read: four channels of float32

Camera = Callable[[int], AbstractContextManager[Frames]]


def read_stream(stream: bytes | BinaryIO | None = None, *, max_pixels: int = MAX_PIXELS) -> Sample:
    """Return the image in bytes, or in a stream that is read to its end, standard input by default.

    It may have any format of image files but `.npy`. The sample has no path.

    Raises `AtrousError` for a terminal, for nothing, for more bytes than `max_pixels` pixels could have, and for what
    `data.read_image` refuses.

    >>> read_stream(b"P5 2 1 255 ab").image.tolist()
    [[[97], [98]]]
    """
    data = stream if isinstance(stream, bytes) else _read(stream or sys.stdin.buffer, max_pixels * _PIXEL_BYTES)
    if not data:
        raise AtrousError("standard input: nothing came (0 bytes); send one image: atrous predict MODEL - < photo.jpg")
    return Sample(image=as_image(picture(_WHERE, data, max_pixels=max_pixels)))


def _read(stream: BinaryIO, most: int) -> bytes:
    if stream.isatty():
        raise AtrousError("standard input: this is a terminal; send one image: atrous predict MODEL - < photo.jpg")
    data = stream.read(most + 1)
    if len(data) > most:
        raise AtrousError(f"standard input: more than {most:,} bytes came, which no image accepted here has")
    return data


def predict_stream(
    stream: bytes | BinaryIO | None, scorer: Scorer, space: LabelSpace, out: Path, wanted: Wanted
) -> list[Path]:
    """Write what is wanted of the image on a stream, as `stdin`, below `out`, and return the files.

    Raises `AtrousError` as `read_stream` does, and where the disk refuses.
    """
    sample = read_stream(stream, max_pixels=wanted.max_pixels)
    return write_prediction(out, STREAM_NAME, of_image(scorer, sample, space, wanted), sample, save=wanted.save)


def camera_index(source: str) -> int | None:
    """Return which camera a source names, None where it names none; raises `ValueError` for one that is no number.

    >>> camera_index("webcam"), camera_index("webcam:1"), camera_index("webcam.mp4")
    (0, 1, None)
    """
    word, colon, number = source.partition(":")
    if word != "webcam":
        return None
    if colon and not (number.isascii() and number.isdigit()):
        raise ValueError(f"source {source!r} came; a camera is webcam, or webcam:1 for the second")
    return int(number or 0)


@contextmanager
def opened_camera(index: int) -> Iterator[Frames]:
    """Yield the frames of a camera as they come, and its rate; they end where it stops sending.

    Raises `AtrousError` where there is no such camera, or another program has it.
    """
    with quiet():
        capture = cv2.VideoCapture(index)
    try:
        if not capture.isOpened():
            raise AtrousError(
                f"webcam:{index}: there is no such camera, or another program has it. Cameras count from 0: webcam:0"
            )
        yield Frames(_pictures(capture), sound_rate(f"webcam:{index}", capture.get(cv2.CAP_PROP_FPS)))
    finally:
        capture.release()


def _pictures(capture: cv2.VideoCapture) -> Iterator[Frame]:
    while True:
        there, frame = capture.read()
        if not there or frame is None:
            return
        yield np.ascontiguousarray(frame[..., ::-1])


def predict_camera(
    index: int,
    scorer: Scorer,
    space: LabelSpace,
    out: Path,
    wanted: Wanted,
    *,
    frames: int | None = None,
    progress: Progress | None = None,
    camera: Camera = opened_camera,
) -> list[Path]:
    """Write what is wanted of a camera's frames below `out`, as a video called `webcam`, and return the files.

    It goes on until the camera ends, `frames` are done, or Ctrl-C, which ends it well: all files are whole. The
    overlay has the camera's rate, or that at which the first frames could be predicted where that is less. `camera` is
    what opens the frames.

    Raises `ValueError` for fewer than one frame, `AtrousError` where there is no camera or it sends nothing.
    """
    if frames is not None and frames < 1:
        raise ValueError(f"frames {frames} came; 1 or more is accepted, or none for no end")
    with camera(index) as film, _until_interrupted() as stopped:
        pictures = _until(film.pictures, stopped) if frames is None else islice(_until(film.pictures, stopped), frames)
        timed = _at_reached_rate(replace(film, pictures=pictures, count=frames), scorer, space)
        name = "webcam" if index == 0 else f"webcam-{index}"
        paths, count = predict_frames(timed, name, scorer, space, out, wanted, progress=progress)
    if not count:
        raise AtrousError(f"webcam:{index}: the camera sent no frame; is it covered by another program?")
    return paths


def _until(pictures: Iterable[Frame], stopped: threading.Event) -> Iterator[Frame]:
    for each in pictures:
        if stopped.is_set():
            return
        yield each


def _at_reached_rate(film: Frames, scorer: Scorer, space: LabelSpace) -> Frames:
    """Return the film at the rate at which its frames can be predicted, where that is less than its own.

    The first frame is predicted twice for that: once to warm up, and once with the clock.
    """
    pictures = iter(film.pictures)
    first = next(pictures, None)
    if first is None:
        return film
    for _ in range(2):
        start = time.perf_counter()
        predicted(scorer, Sample(image=first), space)
    reached = 1 / max(time.perf_counter() - start, 1e-9)
    return replace(film, pictures=chain([first], pictures), rate=min(film.rate, reached))


@contextmanager
def _until_interrupted() -> Iterator[threading.Event]:
    """Yield an event that Ctrl-C sets in place of ending the program; a second Ctrl-C ends it."""
    stopped = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stopped
        return
    before = signal.getsignal(signal.SIGINT)

    def stop(number: int, frame: object) -> None:
        stopped.set()
        signal.signal(signal.SIGINT, before)

    signal.signal(signal.SIGINT, stop)
    try:
        yield stopped
    finally:
        signal.signal(signal.SIGINT, before)
