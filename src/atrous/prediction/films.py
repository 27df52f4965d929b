"""Video files opened, decoded and written: frames (h, w, 3) uint8 RGB, one after the other."""

from __future__ import annotations

import errno
import logging
import math
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import cv2
import numpy as np
from numpy.typing import NDArray

from atrous.contract import AtrousError
from atrous.data.decoders import check_pixels, file_bytes
from atrous.data.images import MAX_PIXELS
from atrous.data.writers import atomic

Frame = NDArray[np.uint8]

USUAL_RATE = 25.0
_FASTEST = 1000.0
_ROOM = 1 << 16
"""Bytes that must be free on a disk for the next frame: OpenCV goes on, and says nothing, where there are none."""

_CODECS = ("mp4v", "avc1", "vp09")
_EBML, _SEGMENT = b"\x1aE\xdf\xa3", b"\x18S\x80g"


@dataclass(frozen=True)
class Frames:
    """A film: its frames in order, how many of them a second has, and how many there are, where that is announced."""

    pictures: Iterable[Frame]
    rate: float = USUAL_RATE
    count: int | None = None


@contextmanager
def opened_film(path: Path, *, max_pixels: int = MAX_PIXELS) -> Iterator[Frames]:
    """Yield the frames of a video file, turned as its header says; they end where no more can be decoded.

    Raises `AtrousError` for a file that is missing, empty, no video, cut off before its index, or has frames of more
    than `max_pixels` pixels.
    """
    file_bytes(path, first=1)
    with quiet():
        # An absolute path, since FFmpeg takes a colon in another for a protocol.
        capture = cv2.VideoCapture(str(path.absolute()), cv2.CAP_FFMPEG)
    try:
        if not capture.isOpened():
            short = missing_bytes(path)
            why = f"; it ends {short:,} bytes early" if short else "; it is damaged, cut off, or has no picture in it"
            raise AtrousError(f"{path}: this video cannot be opened{why}. Copy it again from its source.")
        capture.set(cv2.CAP_PROP_ORIENTATION_AUTO, 1)
        size = [int(capture.get(key)) for key in (cv2.CAP_PROP_FRAME_HEIGHT, cv2.CAP_PROP_FRAME_WIDTH)]
        check_pixels(path, *size, max_pixels=max_pixels)
        count = max(int(capture.get(cv2.CAP_PROP_FRAME_COUNT)), 0)
        yield Frames(_decoded(path, capture), sound_rate(path, capture.get(cv2.CAP_PROP_FPS)), count or None)
    finally:
        capture.release()


def sound_rate(source: str | Path, rate: float) -> float:
    """Return the frames a second that a source announces; 25, which is said, where that is no rate."""
    if math.isfinite(rate) and 0 < rate <= _FASTEST:
        return rate
    logging.getLogger("atrous").warning("%s: says no frame rate; %.0f a second are taken", source, USUAL_RATE)
    return USUAL_RATE


def _decoded(path: Path, capture: cv2.VideoCapture) -> Iterator[Frame]:
    rate = capture.get(cv2.CAP_PROP_FPS)
    last, uneven, count = 0.0, 0, 0
    while True:
        there, frame = capture.read()
        if not there or frame is None:
            break
        at = capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
        uneven += count > 0 and abs((at - last) * rate - 1) > 0.5
        last, count = at, count + 1
        yield np.ascontiguousarray(frame[..., ::-1])
    if uneven > 0.01 * count:
        logging.getLogger("atrous").warning(
            "%s: its frames come at uneven times; an overlay shows them all at their mean rate, %.3f a second",
            path,
            rate,
        )


@contextmanager
def quiet() -> Iterator[None]:
    """Keep OpenCV and FFmpeg from writing to standard error of what is then raised as an error."""
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # read once, when the first video is opened
    before = cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        yield
    finally:
        cv2.utils.logging.setLogLevel(before)


def missing_bytes(path: Path) -> int:
    """Return by how much an MP4, MOV, AVI, Matroska or WebM file is shorter than it says, 0 where nothing tells.

    Source: ISO/IEC 14496-12, 4.2 (boxes); the RIFF header of AVI; RFC 8794, 4 to 7 (EBML elements).
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(64)
        if head[:4] == b"RIFF":
            return max(int.from_bytes(head[4:8], "little") + 8 - size, 0)
        if head[:4] == _EBML:
            return max(_end_of_segment(head) - size, 0)
        return max(_end_of_boxes(file, size) - size, 0)


def _end_of_boxes(file: BinaryIO, size: int) -> int:
    """Return where the last box ends of those that begin in the file, 0 where it is not made of boxes."""
    place = 0
    while place + 8 <= size:
        file.seek(place)
        head = file.read(16)
        if not head[4:8].isalnum():
            return 0
        length = int.from_bytes(head[:4], "big")
        length = int.from_bytes(head[8:], "big") if length == 1 else length
        if length < 8:  # 0 is a last box that runs to the end of the file
            return 0
        place += length
    return place


def _end_of_segment(head: bytes) -> int:
    """Return where the element ends that holds all of a Matroska file, 0 where its length is not known."""
    length, place = _variable(head, len(_EBML))
    place += length
    if head[place : place + 4] != _SEGMENT:
        return 0
    length, place = _variable(head, place + 4)
    return place + length if length else 0


def _variable(data: bytes, place: int) -> tuple[int, int]:
    """Return an EBML number of variable length and where it ends; 0 for one of all ones, which means unknown."""
    octets = 9 - data[place].bit_length() if place < len(data) else 1
    bits = 7 * octets
    number = int.from_bytes(data[place : place + octets], "big") & ((1 << bits) - 1)
    return (0 if number == (1 << bits) - 1 else number), place + octets


@contextmanager
def written_film(path: Path, rate: float) -> Iterator[Callable[[Frame], None]]:
    """Yield a function that adds a frame to an MP4 file, which appears whole when the block ends well.

    Sides are made even, as the codecs want them, by repeating the last row or column; a frame of another size than the
    first is scaled to it.

    Raises `AtrousError` where no codec is there, where the disk fills up, and where the file does not open again with
    as many frames: OpenCV does not tell of what it could not write.
    """
    with atomic(path) as temporary:
        writer: cv2.VideoWriter | None = None
        size, count = (0, 0), 0

        def put(picture: Frame) -> None:
            nonlocal writer, size, count
            picture = np.pad(picture, ((0, picture.shape[0] % 2), (0, picture.shape[1] % 2), (0, 0)), mode="edge")
            if writer is None:
                size = (picture.shape[1], picture.shape[0])
                writer = _writer(path, temporary, rate, size)
            if picture.shape[1::-1] != size:
                picture = np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)
            if shutil.disk_usage(temporary.parent).free < _ROOM:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            writer.write(np.ascontiguousarray(picture[..., ::-1]))
            count += 1

        try:
            yield put
        finally:
            if writer is not None:
                writer.release()
        if frames_announced(temporary) != count:
            raise AtrousError(f"{path}: the video could not be written whole; free some space or choose another folder")


def _writer(path: Path, temporary: Path, rate: float, size: tuple[int, int]) -> cv2.VideoWriter:
    temporary.parent.mkdir(parents=True, exist_ok=True)
    with quiet():
        for codec in _CODECS:
            fourcc = cv2.VideoWriter.fourcc(*codec)
            writer = cv2.VideoWriter(str(temporary.absolute()), cv2.CAP_FFMPEG, fourcc, rate, size)
            if writer.isOpened():
                return writer
    raise AtrousError(
        f"{path}: a video of {size[1]} x {size[0]} pixels (height x width) could not be started with the codecs "
        f"{', '.join(_CODECS)}. Is the folder writable? Leave overlays out of what is saved, or make the video smaller."
    )


def frames_announced(path: Path) -> int:
    """Return how many frames a video file's header announces, 0 for a file that does not open."""
    with quiet():
        capture = cv2.VideoCapture(str(path.absolute()), cv2.CAP_FFMPEG)
    try:
        return int(capture.get(cv2.CAP_PROP_FRAME_COUNT)) if capture.isOpened() else 0
    finally:
        capture.release()
