"""The few keys of a data set's YAML file: text, lists of text, and names by number, in lines or in brackets.

This is no reader of YAML: keys that are not asked for are passed over, and values that are anything else come as None.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path

from atrous.contract import AtrousError

Value = str | list[str] | dict[str, str] | None

_KEY = re.compile(r"^([A-Za-z_][\w-]*)\s*:(?:\s+(.*)|)$")
_TEXT = r"""'(?:[^']|'')*'|"(?:\\.|[^"\\])*"|[^,\[\]{}]*?"""
_ITEM = re.compile(rf"\s*({_TEXT})\s*(?:,|$)")
_PAIR = re.compile(rf"\s*('[^']*'|\"[^\"]*\"|[^,:]+?)\s*:\s*({_TEXT})\s*(?:,|$)")
_LINE_PAIR = re.compile(r"^('[^']*'|\"[^\"]*\"|[^:]+?)\s*:(?:\s+(.*)|)$")


def read_keys(path: Path, wanted: Collection[str]) -> dict[str, Value]:
    """Return the values of the wanted keys that a file has at its left margin.

    Raises `AtrousError` for a file that is no text in UTF-8.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "data.yaml"
    >>> _ = path.write_text("path: ../set  # here\\nnames:\\n  0: cat\\n  1: 'hot dog'\\ntrain: [a, b]\\n")
    >>> read_keys(path, ("names", "train"))
    {'names': {'0': 'cat', '1': 'hot dog'}, 'train': ['a', 'b']}
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise AtrousError(f"{path}: this is no text in UTF-8 ({error}). Save it again.") from error
    values: dict[str, Value] = {}
    key, block = None, [""]
    for line in [*(_without_comment(line) for line in lines), "end: "]:
        found = _KEY.match(line)
        if found is None:
            block.append(line)
            continue
        if key in wanted and key is not None:
            values[key] = _value(block)
        key, block = found[1], [found[2] or ""]
    return values


def _without_comment(line: str) -> str:
    """Return the line without what follows a # that stands apart and in no quotes."""
    quote = ""
    for place, character in enumerate(line):
        if quote:
            quote = "" if character == quote else quote
        elif character in "'\"" and (place == 0 or line[place - 1] in " [{,:\t"):
            quote = character
        elif character == "#" and (place == 0 or line[place - 1] in " \t"):
            return line[:place].rstrip()
    return line.rstrip()


def _value(block: list[str]) -> Value:
    whole = " ".join(line.strip() for line in block).strip()
    if whole.startswith("[") and whole.endswith("]"):
        return [_plain(found[1]) for found in _ITEM.finditer(whole[1:-1]) if found[1]]
    if whole.startswith("{") and whole.endswith("}"):
        return {_plain(found[1]): _plain(found[2]) for found in _PAIR.finditer(whole[1:-1])}
    lines = [line.strip() for line in block[1:] if line.strip()]
    if block[0].strip():
        return None if lines else _plain(block[0])
    if lines and all(line.startswith("- ") for line in lines):
        return [_plain(line[2:]) for line in lines]
    pairs = [_LINE_PAIR.match(line) for line in lines]
    return {_plain(found[1]): _plain(found[2] or "") for found in pairs if found} if lines and all(pairs) else None


def _plain(text: str) -> str:
    text = text.strip()
    if len(text) >= 2 and text[0] == text[-1] and text[0] in "'\"":
        inner = text[1:-1]
        return inner.replace("''", "'") if text[0] == "'" else re.sub(r'\\(["\\])', r"\1", inner)
    return text
