"""Small films for tests: written by OpenCV, and changed in their boxes."""

import struct
from pathlib import Path

import cv2
import numpy as np


def film(path, count=6, *, size=(24, 32), rate=10.0, codec="mp4v", pictures=None):
    """Write `count` frames (h, w, 3), each of its own grey, and return the path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*codec), rate, size[::-1])
    for index in range(count):
        grey = np.full((*size, 3), 40 * index % 250, np.uint8)
        writer.write(grey if pictures is None else pictures[index][..., ::-1])
    writer.release()
    return path


def places(data, *names):
    """Return where each box of a path of boxes begins in the bytes of an MP4 file."""
    start, end, found = 0, len(data), []
    for name in names:
        at = start
        while data[at + 4 : at + 8] != name:
            at += int.from_bytes(data[at : at + 4], "big")
            if at >= end:
                raise KeyError(name)
        found.append(at)
        start, end = at + 8, at + int.from_bytes(data[at : at + 4], "big")
    return found


def with_index_first(path):
    """Move a film's index before its pictures, so that it opens where the file is cut off."""
    data = bytearray(path.read_bytes())
    (index,), (pictures,) = places(data, b"moov"), places(data, b"mdat")
    length = len(data) - index
    at = places(data, b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stco")[-1]
    for entry in range(int.from_bytes(data[at + 12 : at + 16], "big")):
        where = at + 16 + 4 * entry
        data[where : where + 4] = struct.pack(">I", int.from_bytes(data[where : where + 4], "big") + length)
    path.write_bytes(data[:pictures] + data[index:] + data[pictures:index])
    return path


def turned(path):
    """Say in a film's header that it is to be shown turned by 90 degrees."""
    data = bytearray(path.read_bytes())
    at = places(data, b"moov", b"trak", b"tkhd")[-1] + 8 + 4 + 20 + 16
    data[at : at + 36] = struct.pack(">9i", 0, 65536, 0, -65536, 0, 0, 0, 0, 1 << 30)
    path.write_bytes(data)
    return path


def uneven(path):
    """Show the second half of a film's frames five times as long, for which its edit list goes."""
    data = bytearray(path.read_bytes())
    around = places(data, b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stts")
    at = around[-1]
    count, length = struct.unpack_from(">II", data, at + 16)
    data[at + 12 : at + 16] = struct.pack(">I", 2)
    data[at + 16 : at + 24] = struct.pack(">IIII", count // 2, length, count - count // 2, 5 * length)
    for box in around:
        data[box : box + 4] = struct.pack(">I", int.from_bytes(data[box : box + 4], "big") + 8)
    at = places(data, b"moov", b"trak", b"edts")[-1]
    data[at + 4 : at + 8] = b"free"
    path.write_bytes(data)
    return path


def frames_of(path: Path):
    """Return all frames of a film as OpenCV decodes them, RGB."""
    capture, frames = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG), []
    while (read := capture.read())[0]:
        frames.append(read[1][..., ::-1])
    capture.release()
    return frames
