"""Images and masks that are no picture file: a slice of a volume, channels in several files, shapes in a JSON.

Wherever a `Pair` has a file it may have a part instead. A part is a small frozen dataclass, so that it can be compared,
hashed and sent to a worker process; it says which file it comes from, and reads its pixels when it is asked.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from atrous.contract import AtrousError
from atrous.data.images import read_image, read_mask


@runtime_checkable
class Part(Protocol):
    """Pixels that come from `path`, the file to name in messages.

    Of an image, `read` returns (h, w, c) as `read_image` does; of a mask, (h, w) integers or (h, w, 3) uint8 colours as
    `read_mask` does. A part may also offer `instances() -> (h, w) int32`, object numbers with 0 for none, and `place`,
    the spacing or georeference of its pixels. Both raise `AtrousError` for a file that does not hold what it should.
    One whose pixels hang on other files too says which by `paths`.
    """

    @property
    def path(self) -> Path:
        """The file that the pixels come from."""
        ...

    def read(self) -> NDArray[Any]:
        """Return the pixels."""
        ...


Source = Path | Part
"""Where an image or a mask comes from: a picture file, or a part."""


def path_of(source: Source) -> Path:
    """Return the file that a source comes from."""
    return source if isinstance(source, Path) else source.path


def paths_of(source: Source) -> tuple[Path, ...]:
    """Return every file that the pixels of a source hang on, the one to name in messages first.

    >>> paths_of(Channels((Path("a_0000.png"), Path("a_0001.png"))))[-1].name
    'a_0001.png'
    """
    if isinstance(source, Path):
        return (source,)
    others: tuple[Path, ...] = getattr(source, "paths", ())
    return tuple(dict.fromkeys((source.path, *others)))


def image_pixels(source: Source) -> NDArray[Any]:
    """Return the image (h, w, c) of a source as stored; raises `AtrousError` as `read_image` does."""
    return read_image(source) if isinstance(source, Path) else source.read()


def mask_pixels(source: Source, *, orientation: int | None = None, colours: bool = False) -> NDArray[Any]:
    """Return the mask of a source as stored; the options are `read_mask`'s, and are no concern of parts."""
    if isinstance(source, Path):
        return read_mask(source, orientation=orientation, colours=colours)
    return source.read()


@dataclass(frozen=True)
class Channels:
    """One image whose channels, or groups of them, lie in files of their own, in the order of `sources`."""

    sources: tuple[Source, ...]

    @property
    def path(self) -> Path:
        """The file of the first channel."""
        return path_of(self.sources[0])

    @property
    def paths(self) -> tuple[Path, ...]:
        """The files of all channels."""
        return tuple(path for source in self.sources for path in paths_of(source))

    @property
    def place(self) -> Any:
        """The place of the first channel, None where it has none."""
        return getattr(self.sources[0], "place", None)

    def read(self) -> NDArray[Any]:
        """Return (h, w, c), all channels in the depth that holds them all.

        Raises `AtrousError` for files of different sizes.

        >>> import tempfile
        >>> from atrous.data import write_image
        >>> paths = tuple(Path(tempfile.mkdtemp()) / name for name in ("a_0000.png", "a_0001.png"))
        >>> for path in paths:
        ...     write_image(path, np.eye(4, dtype=np.uint8))
        >>> Channels(paths).read().shape
        (4, 4, 2)
        """
        arrays = [image_pixels(source) for source in self.sources]
        for source, array in zip(self.sources, arrays, strict=True):
            if array.shape[:2] != arrays[0].shape[:2]:
                raise AtrousError(
                    f"{path_of(source)}: this channel is {array.shape[0]} x {array.shape[1]} (height x width) and the "
                    f"first, {self.path}, is {arrays[0].shape[0]} x {arrays[0].shape[1]}. Make them equal.",
                    kind="size-differs",
                )
        return np.concatenate(arrays, axis=2)


@dataclass(frozen=True)
class Renumbered:
    """A mask of numbers in which every number of `table` is another; those that are not in it become `rest`.

    `table` has pairs (number in the file, number to read), since a mapping cannot be hashed; `rest` None keeps them.
    """

    source: Source
    table: tuple[tuple[int, int], ...]
    rest: int | None = None

    @property
    def path(self) -> Path:
        """The mask's file."""
        return path_of(self.source)

    @property
    def paths(self) -> tuple[Path, ...]:
        """The files of the mask."""
        return paths_of(self.source)

    def read(self) -> NDArray[Any]:
        """Return (h, w) int32; raises `AtrousError` for a mask of colours.

        >>> import tempfile
        >>> from atrous.data import write_image
        >>> path = Path(tempfile.mkdtemp()) / "a.png"
        >>> write_image(path, np.uint8([[7, 8, 9]]))
        >>> Renumbered(path, ((7, 0), (8, 1)), rest=255).read().tolist()
        [[0, 1, 255]]
        """
        mask = mask_pixels(self.source)
        if mask.ndim == 3:
            raise AtrousError(f"{self.path}: a colour mask came, and this layout's masks hold numbers. Check the file.")
        result = mask.astype(np.int32) if self.rest is None else np.full(mask.shape, self.rest, np.int32)
        for old, new in self.table:
            result[mask == old] = new
        return result


def renumbered(source: Source, table: Mapping[int, int], rest: int | None = None) -> Renumbered:
    """Return the mask with the numbers of a mapping."""
    return Renumbered(source, tuple(table.items()), rest)
