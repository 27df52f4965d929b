"""Lists of sources: a text file with a path per line, or a table with a column of paths."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from io import StringIO
from pathlib import Path

from atrous.contract import AtrousError
from atrous.data.lists import text_of

LIST_SUFFIXES = (".txt", ".csv")
_COLUMNS = ("image", "path", "file")
_SHOWN = 5


def listed(path: Path) -> list[Path]:
    """Return the files and folders that a list names, in order and each once.

    A `.txt` file has a path per line; empty lines, and what follows a `#` that begins a line or stands after a blank,
    mean nothing unless there is a file of that very name. A `.csv` file has a column `image`, `path` or `file`,
    between commas, semicolons or tabs. A path counts from the list's folder, else from the working directory.

    Raises `AtrousError` for a list that is no text, has no such column, names nothing, or names what is not there:
    every missing file is counted, and the first five are named with their lines.
    """
    found: dict[Path, Path] = {}
    missing: list[str] = []
    for number, entry in _entries(path):
        there = _there(path.parent, entry)
        if there is not None:
            found.setdefault(there.resolve(), there)
        elif _said(entry):
            missing.append(f"line {number}: {entry}")
    if missing:
        raise AtrousError(
            f"{path}: {len(missing):,} of the listed files are not there, neither from {path.parent.absolute()} nor "
            f"from the working directory: {'; '.join(missing[:_SHOWN])}{'; ...' if len(missing) > _SHOWN else ''}. "
            "Correct the paths, or take the lines out."
        )
    if not found:
        raise AtrousError(f"{path}: this list names no files; write one path per line")
    return list(found.values())


def _entries(path: Path) -> Iterator[tuple[int, str]]:
    """Yield every entry of a list with the number of its line."""
    text = text_of(path)
    if path.suffix.lower() == ".csv":
        yield from _column(path, text)
        return
    for number, line in enumerate(re.split(r"\r\n|\r|\n", text), 1):
        if line.strip():
            yield number, line.strip().strip("\"'")


def _column(path: Path, text: str) -> Iterator[tuple[int, str]]:
    head = text.splitlines()[0] if text else ""
    delimiter = max(",;\t", key=head.count)
    rows = csv.reader(StringIO(text, newline=""), delimiter=delimiter)
    try:
        names = [name.strip().lower() for name in next(rows, [])]
        column = next((names.index(name) for name in _COLUMNS if name in names), None)
        if column is None:
            shown = ", ".join(names) or "nothing"
            raise AtrousError(f"{path}: the columns are {shown}; one of them must be {', '.join(_COLUMNS)}")
        for row in rows:
            if len(row) > column and row[column].strip():
                yield rows.line_num, row[column].strip()
    except csv.Error as error:
        raise AtrousError(f"{path}: line {rows.line_num} is no row of a table ({error})") from error


def _said(entry: str) -> str:
    """Return an entry without its comment."""
    return re.split(r"(?:^|\s)#", entry, maxsplit=1)[0].strip()


def _there(folder: Path, entry: str) -> Path | None:
    """Return the file or folder that an entry means, None where it is not there."""
    for words in dict.fromkeys((entry, _said(entry), _said(entry).replace("\\", "/"))):
        for place in (folder / words, Path(words)) if words else ():
            try:
                if place.exists():
                    return place
            except (OSError, ValueError):  # a name that no file can have
                continue
    return None
