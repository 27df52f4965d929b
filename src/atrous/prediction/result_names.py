"""What results are called: below the output folder whatever the source's path, once each, and on every file system."""

from __future__ import annotations

import ntpath
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path, PurePath
from unicodedata import normalize

from atrous.data.images import bare

LONGEST = 235
"""How many bytes a part of a name may have: file systems end at 255, and a suffix of up to 20 is added."""

_UNSAFE = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff\\]")


@dataclass(frozen=True)
class Titled:
    """A source's path, and the path from which its results are called; `opens` where its name becomes a folder."""

    path: Path
    title: PurePath
    opens: bool = False


def result_names(sources: Sequence[Titled]) -> list[str]:
    """Return for each source, which are all different, its results' path below the output folder, without suffix.

    That is its title without suffix; sources that would share it keep theirs, and those that still do, since their
    names differ only in capitals or in what no file system holds, end in eight digits of their path's SHA-256. So does
    a name that is too long. Capitals and composed letters count as equal, because results are copied to file systems
    that take them for equal. A video or volume, whose name becomes a folder, also gives way to sources below a folder
    of that name.

    >>> result_names([Titled(Path(name), PurePath(name)) for name in ("1.jpg", "1.png", "2.png", "../../etc/x.png")])
    ['1.jpg', '1.png', '2', 'etc/x']
    """
    levels = [0] * len(sources)
    while True:
        names = [_name(source, level) for source, level in zip(sources, levels, strict=True)]
        keys = [normalize("NFC", name).casefold() for name in names]
        folders = {folder for key in set(keys) for folder in _folders(key)}
        uses = Counter(keys)
        lowest: dict[str, int] = {}
        for key, level in zip(keys, levels, strict=True):
            lowest[key] = min(level, lowest.get(key, level))
        raised = [
            level + 1
            if level < 2 and ((uses[key] > 1 and level == lowest[key]) or (source.opens and key in folders))
            else level
            for source, key, level in zip(sources, keys, levels, strict=True)
        ]
        if raised == levels:
            return names
        levels = raised


def _name(source: Titled, level: int) -> str:
    """Return a source's name without its suffix, with it, or with a number that no other has."""
    title = Path(source.title)
    name = safe_name((bare(title) if level == 0 and title.name else title).as_posix())
    return f"{name}~{_digits(source.path)}" if level == 2 else name


def safe_name(path: str) -> str:
    r"""Return a path as one that stays below a folder: without root, drive and `..`, and without control characters.

    Parts of more than 235 bytes are cut, and end in eight digits of their own SHA-256.

    >>> safe_name("/etc/../a.png"), safe_name("../../b"), safe_name(r"C:\data\c"), safe_name("line\nfeed")
    ('a.png', 'b', 'data/c', 'line_feed')
    """
    drive, rest = ntpath.splitdrive(path)
    parts: list[str] = []
    for part in (rest.replace("\\", "/") if drive else path).split("/"):
        if part == "..":
            del parts[-1:]
        elif part not in ("", "."):
            parts.append(_short(_UNSAFE.sub("_", part)))
    return "/".join(parts) or "source"


def _short(part: str) -> str:
    if len(part.encode()) <= LONGEST:
        return part
    return f"{part.encode()[: LONGEST - 9].decode(errors='ignore')}~{_digits(part)}"


def _digits(path: str | Path) -> str:
    return sha256(str(path).encode(errors="surrogateescape")).hexdigest()[:8]


def _folders(key: str) -> list[str]:
    return [key[:at] for at, letter in enumerate(key) if letter == "/"]
