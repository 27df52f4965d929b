"""Decoded samples kept on disk and mapped into memory, so that an image is decoded once and not every epoch.

A cache has a folder of its own with four files: `cache.json` says what it holds, `index.bin` has a row per pair,
`samples.bin` the pixels, and `used.bin` how many of its bytes are taken. All processes of a run share them. Samples
are written as a file is, which fails where the disk is full: at a write into the map the system would end the process.
"""

from __future__ import annotations

import json
import shutil
import zlib
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from itertools import pairwise
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray

from atrous.contract import AtrousError, LabelSpace, Sample
from atrous.data.locking import locked
from atrous.data.pairs import Pair, refuse_repeated
from atrous.data.parts import path_of, paths_of
from atrous.data.samples import read_sample

_VERSION = 1
_DTYPES = (np.dtype(np.uint8), np.dtype(np.uint16), np.dtype(np.int16), np.dtype(np.float32))
_ROW = np.dtype([
    ("key", "<u8"), ("offset", "<u8"), ("height", "<u4"), ("width", "<u4"), ("channels", "<u4"),
    ("check", "<u4"), ("dtype", "u1"), ("instances", "u1"), ("ready", "u1"),
])  # fmt: skip
_FILES = {"cache.json", "index.bin", "samples.bin", "used.bin"}
_FREE_SHARE = 0.9  # of the free space at most, whatever the limit


@dataclass(frozen=True)
class Cache:
    """A reader of samples that keeps what it has decoded: `cache(pair)` is `read_sample(pair, space)`, sooner.

    It holds paths and numbers only, so it travels to worker processes. What does not fit into `limit` bytes is decoded
    every time. The arrays it returns are views of the file and cannot be written to.
    """

    folder: Path
    space: LabelSpace
    rows: dict[str, int]
    limit: int
    token: str
    instances: bool = True

    def __call__(self, pair: Pair) -> Sample:
        """Return the sample of a pair; raises `AtrousError` as `read_sample` does."""
        try:
            index, samples = _mapped(self.folder, self.token)
        except OSError:  # thrown away by a run with other data
            return self._read(pair)
        row = index[self.rows[pair.name]]
        if row["ready"] and (stored := _stored(samples, row, pair, self.token)) is not None:
            return stored
        sample = self._read(pair)
        if sample.labels is not None and sample.image.dtype in _DTYPES and not row["ready"]:
            self._keep(sample, row)
        return sample

    def _read(self, pair: Pair) -> Sample:
        return read_sample(pair, self.space, instances=self.instances)

    def _keep(self, sample: Sample, row: Any) -> None:
        data = b"".join(np.ascontiguousarray(array).tobytes() for array in _arrays(sample))
        try:
            with (self.folder / "samples.bin").open("r+b") as file:
                offset = _taken(self.folder, len(data), self.limit)
                if offset is None:
                    return
                file.seek(offset)
                file.write(data)
        except OSError:  # a full disk costs speed, not the run
            return
        row["height"], row["width"], row["channels"] = sample.image.shape
        row["dtype"], row["instances"] = _DTYPES.index(sample.image.dtype), sample.instances is not None
        row["offset"], row["check"] = offset, zlib.crc32(data)
        row["ready"] = 1


def cached(
    folder: str | Path,
    pairs: Sequence[Pair],
    space: LabelSpace,
    *,
    limit: int = 16_000_000_000,
    instances: bool = True,
) -> Cache:
    """Return the cache of these pairs in a folder, in place of any of other pairs, classes or another limit.

    A pair whose files have changed since is decoded again. `limit` is in bytes; nine tenths of the free disk space are
    taken at most. `instances` are held as `read_sample` returns them, four bytes a pixel; a cache with them is another
    than one without.

    Raises `ValueError` for a limit below one, `AtrousError` for a folder that holds other files or cannot be written,
    and for two pairs of one name.

    >>> import tempfile
    >>> from atrous.data import write_image
    >>> root = Path(tempfile.mkdtemp())
    >>> write_image(root / "a.png", np.eye(4, dtype=np.uint8))
    >>> cache = cached(root / "cache", [Pair("a", root / "a.png", root / "a.png")], LabelSpace(names=("off", "on")))
    >>> [cache(Pair("a", root / "a.png", root / "a.png")).labels[0].tolist() for _ in range(2)]
    [[1, 0, 0, 0], [1, 0, 0, 0]]
    """
    if limit < 1:
        raise ValueError(f"a cache of {limit} bytes came; give 1 or more, or no cache")
    refuse_repeated(pairs)
    head = {
        "version": _VERSION,
        "limit": limit,
        "space": _identity(space),
        "names": _names(pairs),
        "instances": instances,
    }
    place = Path(folder) / f"cache-{_hash(json.dumps(head))[:16]}"
    try:
        _refuse_strange(Path(folder))
        token = _token(place, head) or _made(place, head, len(pairs))
    except OSError as error:
        raise AtrousError(f"{folder}: no cache can be made there ({error.strerror}). Name another folder.") from error
    cache = Cache(place, space, {pair.name: row for row, pair in enumerate(pairs)}, limit, token, instances)
    _forget_changed(cache, pairs)
    return cache


def _refuse_strange(folder: Path) -> None:
    """Raise `AtrousError` for a folder with anything but caches in it: what is in it may be thrown away."""
    strange = [path.name for path in (folder.iterdir() if folder.exists() else ()) if not _is_cache(path)]
    if strange:
        raise AtrousError(f"{folder}: holds {min(strange)}, which is no cache. Name another folder.")


def _is_cache(path: Path) -> bool:
    """Say whether a folder holds the files of a cache and no others; a hidden one is being made or thrown away."""
    hidden = path.name.startswith(".cache-")
    if path.is_symlink() or not (hidden or path.name.startswith("cache-")):
        return False
    try:
        names = {each.name for each in path.iterdir()}
    except FileNotFoundError:  # another process has just thrown it away
        return True
    except NotADirectoryError:
        return False
    return names <= _FILES and (hidden or "cache.json" in names)


def _made(place: Path, head: dict[str, Any], count: int) -> str:
    """Make an empty cache and return its token; others in the folder are thrown away, so that the limit is one.

    Processes that have them open keep what they see, and decode what they cannot see any more.
    """
    token = uuid4().hex
    for other in place.parent.glob("cache-*"):
        if _is_cache(other) and (other != place or _token(place, head) is None):
            _throw_away(other, token)
    temporary = place.with_name(f".{place.name}-{token}")
    temporary.mkdir(parents=True)
    room = min(head["limit"], int(_FREE_SHARE * shutil.disk_usage(temporary).free))
    for name, size in (("index.bin", count * _ROW.itemsize), ("samples.bin", max(1, room)), ("used.bin", 8)):
        with (temporary / name).open("wb") as file:
            file.truncate(size)
    (temporary / "cache.json").write_text(json.dumps({**head, "token": token}), encoding="utf-8")
    try:
        temporary.rename(place)
    except OSError:
        shutil.rmtree(temporary, ignore_errors=True)
        if (theirs := _token(place, head)) is not None:  # another process of the run was sooner
            return theirs
        raise
    return token


def _throw_away(folder: Path, token: str) -> None:
    """Remove a cache; it is hidden before, so that no other process sees it in part."""
    hidden = folder.with_name(f".{folder.name}-{token}-old")
    with suppress(OSError):  # another process does the same
        folder.rename(hidden)
        shutil.rmtree(hidden, ignore_errors=True)


def _token(folder: Path, head: dict[str, Any]) -> str | None:
    """Return the token of the cache in a folder, None where there is none or it is another's."""
    try:
        stored = json.loads((folder / "cache.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    same = isinstance(stored, dict) and {key: stored.get(key) for key in head} == head
    return stored.get("token") if same else None


def _forget_changed(cache: Cache, pairs: Sequence[Pair]) -> None:
    index, _ = _mapped(cache.folder, cache.token)
    for row, pair in zip(index, pairs, strict=True):
        key = _key(pair)
        if row["key"] != key:
            row["ready"] = 0
            row["key"] = key


def _key(pair: Pair) -> int:
    """Return a number that changes when a file of the pair does."""
    words = [repr((pair.image, pair.mask))]
    sources = [source for source in (pair.image, pair.mask) if source is not None]
    for path in dict.fromkeys(path for source in sources for path in paths_of(source)):
        with suppress(OSError):  # that it is missing is said when it is read
            state = path.stat()
            words.append(f"{path} {state.st_size} {state.st_mtime_ns}")
    return int(_hash("\n".join(words))[:16], 16)


def _identity(space: LabelSpace) -> str:
    return _hash(repr((space.names, space.values, space.ignore, space.encoding)))


def _names(pairs: Sequence[Pair]) -> str:
    return _hash("\n".join(pair.name for pair in pairs))


def _hash(text: str) -> str:
    return sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


@lru_cache(maxsize=8)
def _mapped(folder: Path, token: str) -> tuple[Any, Any]:
    """Return the index, writable, and the samples of a cache; once for each process and token."""
    index = np.memmap(folder / "index.bin", _ROW, "r+")
    return np.asarray(index), np.asarray(np.memmap(folder / "samples.bin", np.uint8, "r"))


def _arrays(sample: Sample) -> list[NDArray[Any]]:
    arrays = (sample.image, sample.labels, sample.instances)
    return [array for array in arrays if array is not None]


def _stored(samples: Any, row: Any, pair: Pair, token: str) -> Sample | None:
    """Return the sample of a row, None where its bytes are not those that were written."""
    height, width, channels = (int(row[name]) for name in ("height", "width", "channels"))
    dtype = _DTYPES[int(row["dtype"])]
    lengths = [height * width * channels * dtype.itemsize, height * width, 4 * height * width * int(row["instances"])]
    ends = np.cumsum([int(row["offset"]), *lengths])
    if ends[-1] > len(samples) or not _sound(samples, int(ends[0]), int(ends[-1]), int(row["check"]), token):
        row["ready"] = 0
        return None
    image, labels, instances = (samples[start:end] for start, end in pairwise(ends))
    return Sample(
        image=image.view(dtype).reshape(height, width, channels),
        labels=labels.reshape(height, width),
        instances=instances.view(np.int32).reshape(height, width) if len(instances) else None,
        path=path_of(pair.image),
    )


_checked: set[tuple[str, int]] = set()


def _sound(samples: Any, start: int, end: int, check: int, token: str) -> bool:
    """Say whether bytes are those that were written; each is looked at once in a process."""
    if (token, start) not in _checked:
        if zlib.crc32(samples[start:end]) != check:
            return False
        _checked.add((token, start))
    return True


def _taken(folder: Path, size: int, limit: int) -> int | None:
    """Take `size` bytes, in whole 64s, and return where they begin; None where they do not fit."""
    with (folder / "used.bin").open("r+b") as file, locked(file):
        used = int.from_bytes(file.read(8), "little")
        if used + size > min(limit, (folder / "samples.bin").stat().st_size):
            return None
        file.seek(0)
        file.write((used + -(-size // 64) * 64).to_bytes(8, "little"))
        file.flush()
    return used
