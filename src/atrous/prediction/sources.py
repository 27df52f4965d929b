"""What to predict, as files with the names their results will have: a file, a folder or a glob."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from atrous.contract import AtrousError
from atrous.data.images import SUFFIXES
from atrous.data.pairs import images_below

_MAGIC = frozenset("*?[")


@dataclass(frozen=True)
class Source:
    """An image file, and its results' path below the output folder, without suffix."""

    path: Path
    name: str


def find(source: str | Path, *, apart_from: Collection[Path] = ()) -> list[Source]:
    """Return the images that `source` means: a file, all images below a folder, or what a glob matches.

    A result is named after the image's path below the folder (or below the part of a glob that has no wildcard),
    without its suffix; images that would share a name keep theirs. Files below a folder of `apart_from` are left out:
    results written into the source folder are not its images.

    Raises `AtrousError` where nothing is there, or nothing there is an image, or a file is itself a result.
    """
    text, path = str(source), Path(source)
    results = {folder.resolve() for folder in apart_from}
    if path.is_file():
        if results & set(path.resolve().parents):
            raise AtrousError(f"{path}: lies where the results go; choose another folder for them")
        return [Source(path, path.stem)]
    if path.is_dir():
        base, paths = path, images_below(path)
        came = f"{path}: no images in this folder"
    elif _MAGIC & set(text):
        base = _plain_part(path)
        matches = sorted(found for found in base.glob(path.relative_to(base).as_posix()) if _shown(found, base))
        paths = [match for match in matches if match.is_file() and match.name.lower().endswith(SUFFIXES)]
        came = f"{text}: matches no images"
    else:
        raise AtrousError(
            f"{path}: no such file or folder; a file, a folder or a pattern like 'photos/*.jpg' is wanted"
        )
    if results:
        paths = [found for found in paths if not results & set(found.resolve().parents)]
    if not paths:
        raise AtrousError(f"{came}; images end in {', '.join(SUFFIXES)}")
    return _named(base, paths)


def _shown(path: Path, base: Path) -> bool:
    """Return whether no part below `base` is hidden: a wildcard does not mean those."""
    return not any(part.startswith(".") for part in path.relative_to(base).parts)


def _named(base: Path, paths: Sequence[Path]) -> list[Source]:
    full = [path.relative_to(base).as_posix() for path in paths]
    names = [path.relative_to(base).with_suffix("").as_posix() for path in paths]
    while len(set(names)) < len(names):  # a kept suffix may meet another's name: 1.jpg beside 1.png and 1.jpg.png
        uses = Counter(names)
        names = [name if uses[name] == 1 else whole for name, whole in zip(names, full, strict=True)]
    return [Source(path, name) for path, name in zip(paths, names, strict=True)]


def _plain_part(pattern: Path) -> Path:
    parts = []
    for part in pattern.parts[:-1]:
        if _MAGIC & set(part):
            break
        parts.append(part)
    return Path(*parts)
