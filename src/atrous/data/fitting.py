"""The size in which annotations of an image are to be drawn: as it is seen, or as it is stored before EXIF turns it."""

from __future__ import annotations

from pathlib import Path

from atrous.contract import AtrousError
from atrous.data.decoders import file_bytes, opened, orientation
from atrous.data.images import MAX_PIXELS, read_image

Size = tuple[int, int]

_PLAIN = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp")


def fitting(path: Path, size: Size | None, image: Path) -> tuple[Size, int]:
    """Return the size to draw a mask in, and the EXIF orientation by which it is to be turned then.

    `size` (height, width) is what the annotation file `path` says of the image, None for nothing. Raises `AtrousError`
    where it is the size of the image neither as it is seen nor as it is stored.
    """
    height, width, turn = _stored_size(image)
    seen = (width, height) if turn >= 5 else (height, width)
    if size is None or size == seen:
        return seen, 1
    if size == (height, width):
        return size, turn
    swapped = size == seen[::-1]
    advice = "Height and width are swapped: correct them." if swapped else "Use the images that were annotated."
    raise AtrousError(
        f"{path}: it says that {image.name} is {size[0]} x {size[1]} (height x width), and the file is "
        f"{seen[0]} x {seen[1]}. {advice}",
        kind="axes-swapped" if swapped else "size-differs",
    )


def _stored_size(image: Path) -> tuple[int, int, int]:
    """Return height and width as stored, and the EXIF orientation; of unusual formats those of the decoded image."""
    if image.suffix.lower() not in _PLAIN:
        height, width = read_image(image).shape[:2]
        return height, width, 1
    header = opened(image, file_bytes(image), max_pixels=MAX_PIXELS)
    return header.height, header.width, orientation(header)
