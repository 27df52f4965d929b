"""The layout of nnU-Net and of the Medical Segmentation Decathlon, 2-D pictures and volumes alike.

    imagesTr/spleen_002_0000.nii.gz   labelsTr/spleen_002.nii.gz   imagesTs/...   dataset.json   splits_final.json

The four digits are the channel, and the channels of a case become one image; a file named like its label has all
channels itself, as in the Decathlon. Of `dataset.json`, which may be missing, the classes are read, in the words of
version 1 (`{"0": "background"}`) and 2 (`{"background": 0, "ignore": 3}`), and where the folders are named otherwise,
its list of images and labels. Of `splits_final.json` the first fold is taken.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from pathlib import Path
from typing import Any

from atrous.contract import AtrousError
from atrous.data.found import Found, Problem
from atrous.data.images import bare, is_image_name
from atrous.data.lists import is_file, slashed
from atrous.data.names import composed
from atrous.data.pairs import Matched, Pair, files_below, path_below, without_suffix
from atrous.data.parts import Channels, Source
from atrous.data.wishes import Wishes

ACCEPTED = "imagesTr/ + labelsTr/ + dataset.json (nnU-Net, Medical Segmentation Decathlon)"
_FOLDERS = {"train": "Tr", "val": "Va", "test": "Ts"}
_WHOLE = -1  # the channel of a file that has them all
_CHANNEL = re.compile(r"^(.+)_(\d{4})$")


def recognise(root: Path) -> Found | None:
    """Return the splits of an nnU-Net or Decathlon folder, or None when it is laid out otherwise.

    Raises `AtrousError` for regions, which overlap, as classes.
    """
    folders = (root / "imagesTr").is_dir() and (root / "labelsTr").is_dir()
    problems: list[Problem] = []
    if not folders and not _lists_training(root / "dataset.json"):
        return None
    described = _json(root / "dataset.json", problems)
    described = described if isinstance(described, dict) else {}
    if folders:
        there = [split for split, ending in _FOLDERS.items() if (root / f"images{ending}").is_dir()]
        whole = _named_as_labels(root)
        matched = {split: _matched(root, split, problems, whole=whole) for split in there}
    else:
        matched = _listed(root, described)
        problems = []  # of a JSON file that may be another layout's
    if not matched:
        return None
    told, notes = _told(root / "dataset.json", described.get("labels"), problems)
    splits, more = _by_fold(root, matched, problems) if folders and "val" not in matched else (matched, [])
    return Found(splits, told, tuple(notes + more), tuple(problems))


def _lists_training(path: Path) -> bool:
    """Say whether a JSON file may be the Decathlon's, without reading all of what may be another's long list."""
    try:
        return path.is_file() and b'"training"' in path.read_bytes()
    except OSError:
        return False


def _json(path: Path, problems: list[Problem]) -> Any:
    if not path.is_file():
        return None
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except (ValueError, OSError, RecursionError) as error:
        problems.append(Problem("broken-annotation", path, f"this is not JSON ({error}), so it was left out"))
        return None


def _named_as_labels(root: Path) -> bool:
    """Say whether most training images are named as their labels: then the end of a name is never a channel."""
    labels = {composed(bare(path).name) for path in (root / "labelsTr").iterdir()}
    images = [composed(bare(path).name) in labels for path in (root / "imagesTr").iterdir()]
    return 2 * sum(images) > len(images)


def _matched(root: Path, split: str, problems: list[Problem], *, whole: bool) -> Matched:
    """Return the cases of `imagesTr` or another such folder with their labels, all channels of a case in one image."""
    images, masks = (root / f"{kind}{_FOLDERS[split]}" for kind in ("images", "labels"))
    labels, doubles = _by_stem(masks) if masks.is_dir() else ({}, [])
    cases, more = _cases(images, whole=whole)
    most = max(map(len, cases.values()), default=1)
    pairs, alone = [], []
    for case, channels in cases.items():
        if sorted(channels) not in ([_WHOLE], list(range(most))):
            problems.append(_channels_missing(case, channels, most))
            labels.pop(case, None)
            continue
        files = [channels[number] for number in sorted(channels)]
        image: Source = files[0] if len(files) == 1 else Channels(tuple(files))
        if case not in labels and split != "test":
            alone.append(files[0])
            continue
        name = (images / case).relative_to(root).as_posix()
        pairs.append(Pair(name, image, labels.pop(case, None)))
    return Matched(tuple(pairs), tuple(alone), tuple(labels.values()), tuple(doubles + more))


def _channels_missing(case: str, channels: dict[int, Path], most: int) -> Problem:
    came = ", ".join(path.name for _, path in sorted(channels.items()))
    path = next(iter(channels.values()))
    return Problem("mixed-channels", path, f"case {case} has {came}, and others have {most} channels from 0000 on")


def _by_stem(folder: Path) -> tuple[dict[str, Path], list[tuple[Path, Path]]]:
    found: dict[str, Path] = {}
    doubles = []
    for path in files_below(folder, is_image_name):
        stem = composed(without_suffix(path_below(folder, path)))
        if stem in found:
            doubles.append((found[stem], path))
        found.setdefault(stem, path)
    return found, doubles


def _cases(folder: Path, *, whole: bool) -> tuple[dict[str, dict[int, Path]], list[tuple[Path, Path]]]:
    """Return the files of each case by channel, `_WHOLE` where the name has no channel."""
    files, doubles = _by_stem(folder)
    cases: defaultdict[str, dict[int, Path]] = defaultdict(dict)
    for stem, path in files.items():
        parts = _CHANNEL.match(stem)
        if parts is None or whole:
            cases[stem][_WHOLE] = path
        else:
            cases[parts[1]][int(parts[2])] = path
    return dict(sorted(cases.items())), doubles


def _listed(root: Path, described: dict[str, Any]) -> dict[str, Matched]:
    """Return the cases that `dataset.json` lists as the Decathlon does, {} where it has no such list or no file."""
    training, tests = described.get("training"), described.get("test", [])
    if not isinstance(training, list) or not all(_is_entry(entry) for entry in training):
        return {}
    pairs, missing = [], []
    for entry in training:
        image, label = (_there(root, entry[key]) for key in ("image", "label"))
        if image is not None and label is not None:
            pairs.append(_pair(root, image, label))
        else:
            missing.append(without_suffix(slashed(entry["image" if image is None else "label"])) or "a name of nothing")
    if not pairs:
        return {}
    found = {"train": Matched(tuple(pairs), missing=tuple(missing))}
    shown = [_there(root, name) for name in tests if isinstance(name, str)] if isinstance(tests, list) else []
    test = tuple(_pair(root, path, None) for path in shown if path is not None)
    return {**found, "test": Matched(test)} if test else found


def _is_entry(entry: Any) -> bool:
    return isinstance(entry, dict) and all(isinstance(entry.get(key), str) for key in ("image", "label"))


def _there(root: Path, name: str) -> Path | None:
    """Return the file that a name means, None for none: a name may be anything that JSON has."""
    name = slashed(name)
    found = (path for path in (f"{root}/{name}", name) if name and is_file(path))
    return next(map(Path, found), None)


def _pair(root: Path, image: Path, label: Path | None) -> Pair:
    """Return a pair; the name of an image that is elsewhere has nothing that would lead out of a folder."""
    below = image.relative_to(root) if image.is_relative_to(root) else image
    return Pair("/".join(part for part in bare(below).parts if part not in ("..", below.anchor)), image, label)


def _told(path: Path, labels: Any, problems: list[Problem]) -> tuple[Wishes, list[str]]:
    """Return what `dataset.json` says of the classes; raises `AtrousError` for regions."""
    if labels is None:
        return Wishes(), []
    values = _values(path, labels)
    if values is None:
        problems.append(Problem("broken-annotation", path, f"labels {str(labels)[:80]} are not names and numbers"))
        return Wishes(), []
    ignore = values.pop("ignore", None)
    notes = []
    if 0 not in values.values():
        values["background"] = 0
        notes.append("dataset.json has no class 0; it was taken for the background")
    ordered = sorted(values, key=lambda name: values[name])
    numbers = tuple(values[name] for name in ordered)
    return Wishes(classes=tuple(ordered), ignore=ignore, labels="indices", values=numbers), notes


def _values(path: Path, labels: Any) -> dict[str, int] | None:
    """Return the value of every class by name, None where `labels` are not what either version has."""
    if not isinstance(labels, dict) or not labels:
        return None
    regions = [name for name, value in labels.items() if isinstance(value, list | tuple)]
    if regions:
        raise AtrousError(
            f"{path}: the class {regions[0]!r} is a region of several labels, and regions overlap. One label per pixel "
            'is learnt: give every label a name of its own, such as {"background": 0, "edema": 1, "core": 2}.'
        )
    if all(_number(key) is not None and isinstance(value, str) for key, value in labels.items()):
        labels = {value: key for key, value in labels.items()} if len(set(labels.values())) == len(labels) else {}
    values = {str(name): _number(value) for name, value in labels.items()}
    sound = {name: value for name, value in values.items() if value is not None and value >= 0}
    return sound if sound and len(set(sound.values())) == len(labels) else None


def _number(value: Any) -> int | None:
    if isinstance(value, str) and value.isascii() and value.isdigit():
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _by_fold(root: Path, matched: dict[str, Matched], problems: list[Problem]) -> tuple[dict[str, Matched], list[str]]:
    """Return the training cases divided as the first fold of `splits_final.json` does, where there is one."""
    path = root / "splits_final.json"
    folds = _json(path, problems)
    if folds is None:
        return matched, []
    fold = folds[0] if isinstance(folds, list) and folds else None
    names = [fold.get(split) if isinstance(fold, dict) else None for split in ("train", "val")]
    if not all(isinstance(each, list) and each and all(isinstance(name, str) for name in each) for each in names):
        problems.append(Problem("broken-annotation", path, 'the first fold is not {"train": [names], "val": [names]}'))
        return matched, []
    whole = matched["train"]
    by_case = {composed(pair.name.removeprefix("imagesTr/")): pair for pair in whole.pairs}
    divided = {split: _those(by_case, wanted or []) for split, wanted in zip(("train", "val"), names, strict=True)}
    first = divided["train"]
    divided["train"] = Matched(first.pairs, whole.images_alone, whole.masks_alone, whole.doubles, first.missing)
    left = len(by_case) - sum(len(each.pairs) for each in divided.values())
    notes = [f"splits_final.json: fold 0 of {len(folds)} makes the split"]
    if left > 0:
        notes.append(f"splits_final.json: {left:,} cases are in neither part of fold 0, and were left out")
    return {**divided, **{name: each for name, each in matched.items() if name != "train"}}, notes


def _those(by_case: dict[str, Pair], names: list[str]) -> Matched:
    names = list(dict.fromkeys(map(composed, names)))
    there = tuple(by_case[name] for name in names if name in by_case)
    return Matched(there, missing=tuple(name for name in names if name not in by_case))
