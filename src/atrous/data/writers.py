"""Images and masks out: whole or not at all, so that a full disk never costs what was there before."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from atrous.contract import IGNORE, AtrousError, LabelSpace

_TIFF_SUFFIXES = (".tif", ".tiff")
_JPEG_QUALITY = 95


@contextmanager
def atomic(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`, with its suffix, that takes its place when the block ends well.

    The folder is made where it is missing. When the block raises, the temporary file is removed and what `path` held
    stays. Raises `AtrousError` for a path that is a folder, in place of the system's error when the disk is full or the
    folder not writable, and of an encoder's for a picture that its format cannot hold.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "scores.json"
    >>> with atomic(path) as temporary:
    ...     _ = temporary.write_text("{}")
    >>> path.read_text()
    '{}'
    """
    path = Path(path)
    refuse_folder(path)
    start = path.stem.encode(errors="replace")[:80].decode(errors="ignore")  # bytes, of which a name has 255 at most
    temporary = path.with_name(f".{start}-{uuid4().hex}{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        temporary.replace(path)
    except OSError as error:
        with suppress(OSError):  # the folder may be a file
            temporary.unlink(missing_ok=True)
        advice = "choose another format" if error.errno is None else "free some space or choose another folder"
        raise AtrousError(
            f"{path}: could not be written ({error.strerror or error}). What was there before is unchanged; {advice}."
        ) from error
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def refuse_folder(path: str | Path) -> None:
    """Raise `AtrousError` for a path that is a folder, where a file is to be written."""
    if Path(path).is_dir():
        raise AtrousError(f"{path}: this is a folder, and a file is to be written. Name a file in it.")


def write_image(path: str | Path, array: NDArray[Any]) -> None:
    """Write (h, w), (h, w, 1) or (h, w, 3) RGB in the format of the suffix, whole or not at all.

    PNG takes uint8 and uint16, TIFF any depth and any number of channels, the other formats uint8.

    Raises `ValueError` for a shape, depth or suffix that the format cannot hold, `AtrousError` when the disk refuses.

    >>> import tempfile
    >>> write_image(Path(tempfile.mkdtemp()) / "black.png", np.zeros((2, 3, 3), np.uint8))
    """
    path = Path(path)
    array = array[..., 0] if array.ndim == 3 and array.shape[-1] == 1 else array
    if path.suffix.lower() in _TIFF_SUFFIXES:
        _write_tiff(path, array)
        return
    if array.ndim != 2 and array.shape[2:] != (3,):
        raise ValueError(f"{path}: an array of shape {array.shape} came; (h, w), (h, w, 1) and (h, w, 3) are written")
    if array.dtype == np.uint16 and path.suffix.lower() == ".png":
        import cv2

        _, data = cv2.imencode(".png", array if array.ndim == 2 else array[..., ::-1])
        with atomic(path) as temporary:
            temporary.write_bytes(data.tobytes())
        return
    if array.dtype != np.uint8:
        raise ValueError(f"{path}: {array.dtype} came; uint8 is written, uint16 as PNG too, other depths as TIFF")
    _save(path, Image.fromarray(np.ascontiguousarray(array)))


def write_mask(path: str | Path, labels: NDArray[Any], space: LabelSpace, *, values: bool = False) -> None:
    """Write labels (h, w), 0..n-1 and 255, as an index PNG with the colours of `space`; 255 is black.

    With `values` the file holds `space.values` and `space.ignore` instead, which must be numbers from 0 to 255.

    Raises `ValueError` for a label that is none, another shape, or a suffix other than .png, and `AtrousError` when
    the disk refuses.

    >>> import tempfile
    >>> write_mask(Path(tempfile.mkdtemp()) / "m.png", np.zeros((2, 3), np.uint8), LabelSpace(names=("road",)))
    """
    path = Path(path)
    if path.suffix.lower() != ".png":
        raise ValueError(f"{path}: masks are written as PNG, since other formats change labels; name it .png")
    if labels.ndim != 2 or labels.size == 0 or labels.dtype.kind not in "iu":
        raise ValueError(f"{path}: labels of shape {labels.shape} and {labels.dtype} came; (h, w) integers are written")
    outside = (labels != IGNORE) & ((labels < 0) | (labels >= len(space)))
    if outside.any():
        raise ValueError(
            f"{path}: label {int(labels[outside][0])} is outside 0..{len(space) - 1} and is not the ignore value 255; "
            f"{int(outside.sum()):,} pixels have it or another such"
        )
    numbers = _numbers(space) if values else np.arange(256, dtype=np.uint8)
    palette = np.zeros((256, 3), np.uint8)
    palette[numbers[: len(space)]] = space.colours
    image = Image.fromarray(numbers[labels])
    image.putpalette(palette.tobytes())
    _save(path, image)


def _numbers(space: LabelSpace) -> NDArray[np.uint8]:
    """Return what stands for each label in the source's masks; raises `ValueError` where a byte cannot hold it."""
    ignore = IGNORE if space.ignore is None else space.ignore
    if space.encoding != "indices" or not all(isinstance(value, int) for value in (*space.values, ignore)):
        raise ValueError(f"the source's masks hold {space.encoding}, which an index mask cannot; leave values out")
    numbers = np.array([*space.values, ignore], np.int64)
    if numbers.min() < 0 or numbers.max() > 255:
        raise ValueError(
            f"the source's masks hold {numbers.min():,} to {numbers.max():,}, and a byte 0 to 255; leave values out"
        )
    table = np.full(256, numbers[-1], np.uint8)
    table[: len(space)] = numbers[:-1]
    return table


def _save(path: Path, image: Image.Image) -> None:
    options: dict[str, Any] = {}
    if path.suffix.lower() in (".jpg", ".jpeg"):
        options = {"quality": _JPEG_QUALITY, "subsampling": 0}
    elif path.suffix.lower() == ".png":
        options = {"compress_level": 3}  # a third of the time of the default, a few per cent more bytes
    elif path.suffix.lower() not in Image.registered_extensions():
        raise ValueError(f"{path}: no image format has the suffix {path.suffix!r}; .png, .jpg and .tif are usual")
    with atomic(path) as temporary:
        image.save(temporary, **options)


def _write_tiff(path: Path, array: NDArray[Any]) -> None:
    from tifffile import imwrite

    if array.ndim not in (2, 3):
        raise ValueError(f"{path}: an array of shape {array.shape} came; (h, w) and (h, w, c) are written")
    colour = array.ndim == 3 and array.shape[2] == 3 and array.dtype.kind == "u"
    layout: dict[str, Any] = {"photometric": "rgb" if colour else "minisblack"}
    if array.ndim == 3:
        layout["planarconfig"] = "contig"
    with atomic(path) as temporary:
        imwrite(temporary, array, metadata=None, **layout)


def check_figure(path: str | Path) -> None:
    """Raise `AtrousError` where matplotlib is missing, `ValueError` for a suffix that it does not write."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
    except ImportError as error:
        raise AtrousError('--plot needs matplotlib: pip install "atrous[plots]"') from error
    known = sorted(FigureCanvasAgg.get_supported_filetypes())
    if Path(path).suffix[1:].lower() not in known:
        raise ValueError(f"--plot {path}: a figure is written as {', '.join(known)}; choose one of these as suffix")
