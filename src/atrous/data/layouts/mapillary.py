"""The layout of Mapillary Vistas: `training/images/` beside `training/v1.2/labels/` or `training/labels/`.

The masks are palette files whose numbers are the classes of `config_v1.2.json` or `config_v2.0.json`, where these are
there; the last number stands for what is not labelled, which is ignored. Samples keep `images/`, `v1.2/` and `v2.0/`
without splits. Of two versions of the masks the first is read.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from atrous.contract import AtrousError
from atrous.data.found import Found
from atrous.data.lists import text_of
from atrous.data.names import split_of
from atrous.data.pairs import Matched, folders_in, match
from atrous.data.wishes import Wishes

ACCEPTED = "training/images/ + training/v1.2/labels/ (Mapillary Vistas)"

_VERSIONS = {"v1.2": 65, "v2.0": 123}
_LARGEST = 2**24  # bytes of a configuration, which has a line or two for each class
_UNLABELLED = ("void--unlabeled", "unlabeled")


def recognise(root: Path) -> Found | None:
    """Return the splits and classes of the dataset, or None when it is laid out otherwise.

    Raises `AtrousError` for a configuration that lists no classes.
    """
    bases = {split: path for path in folders_in(root) if (split := split_of(path.name))}
    bases = {split: base for split, base in bases.items() if (base / "images").is_dir()}
    if not bases and (root / "images").is_dir():
        bases = {"train": root}
    for version, config in (*((name, f"config_{name}.json") for name in _VERSIONS), ("", "config.json")):
        masks = {split: path for split, base in bases.items() if (path := _masks(base, version)) is not None}
        if masks and (version or _lists_labels(root / config)):
            splits = {split: _matched(root, base, split, masks.get(split)) for split, base in bases.items()}
            return Found(splits, _told(root / config, version), _notes(version, bases))
    return None


def _lists_labels(config: Path) -> bool:
    """Say whether a file lists labels with colours: of the name `config.json` are those of many programs."""
    try:
        labels = json.loads(text_of(config))["labels"] if config.stat().st_size <= _LARGEST else None
    except (OSError, ValueError, TypeError, KeyError, RecursionError, AtrousError):
        return False
    if not isinstance(labels, list) or not labels:
        return False
    return all(isinstance(entry, dict) and {"name", "color"} <= entry.keys() for entry in labels)


def _masks(base: Path, version: str) -> Path | None:
    places = (base / version / "labels", base / version) if version else (base / "labels",)
    return next((path for path in places if path.is_dir()), None)


def _matched(root: Path, base: Path, split: str, masks: Path | None) -> Matched:
    found = match(root, base / "images", masks)
    if masks is not None or split == "test":
        return found
    return Matched((), tuple(pair.image for pair in found.pairs if isinstance(pair.image, Path)))


def _notes(version: str, bases: dict[str, Path]) -> tuple[str, ...]:
    others = [name for name in _VERSIONS if name != version and any((base / name).is_dir() for base in bases.values())]
    return (f"the masks are those of {version}, and there are those of {others[0]} too",) if others else ()


def _told(config: Path, version: str) -> Wishes:
    """Return the classes of the configuration, or only which number is not labelled."""
    if not config.is_file():
        return Wishes(ignore=_VERSIONS[version])
    labels = _labels(config)
    void = next((index for index, (name, _) in enumerate(labels) if name.lower() in _UNLABELLED), None)
    kept = [(index, *label) for index, label in enumerate(labels) if index != void]
    return Wishes(
        classes=tuple(name for _, name, _ in kept),
        colours=tuple(colour for *_, colour in kept),
        values=tuple(index for index, *_ in kept),
        ignore=255 if void is None else void,
    )


def _labels(config: Path) -> list[tuple[str, tuple[int, int, int]]]:
    """Return the readable names, or where these repeat the whole ones, with the colours."""
    try:
        entries = json.loads(text_of(config))["labels"]
        names = [(str(entry["name"]), str(entry.get("readable", entry["name"]))) for entry in entries]
        colours = [_colour(entry["color"]) for entry in entries]
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise AtrousError(
            f"{config}: this is no configuration of Mapillary Vistas ({type(error).__name__}: {error}); it holds "
            '{"labels": [{"name": ..., "readable": ..., "color": [r, g, b]}, ...]}. Copy it from the archive.',
            kind="broken-annotation",
        ) from error
    readable = [short for _, short in names]
    return [
        (name if name.lower() in _UNLABELLED or readable.count(short) > 1 else short, colour)
        for (name, short), colour in zip(names, colours, strict=True)
    ]


def _colour(entry: Any) -> tuple[int, int, int]:
    red, green, blue = (int(channel) for channel in entry)
    return red, green, blue
