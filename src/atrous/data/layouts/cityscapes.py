"""The layout of Cityscapes: `leftImg8bit/train/city/*_leftImg8bit.png` and `gtFine/train/city/*_gtFine_labelIds.png`.

The 19 classes that the benchmark counts are read: from `*_labelTrainIds.png` where an image has one, else from the 35
ids of its `*_labelIds.png` through the public table below, which gives the same labels. `gtCoarse` is read where there
is no `gtFine`, and with it `train_extra`. The masks of `test` are empty and are not read.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from atrous.contract import IGNORE, AtrousError, Colour
from atrous.data.found import Found
from atrous.data.pairs import Matched, files_below, named
from atrous.data.parts import Source, path_of, renumbered
from atrous.data.wishes import Wishes

LABELS: tuple[tuple[str, int, int, Colour], ...] = (
    ("unlabeled", 0, 255, (0, 0, 0)),
    ("ego vehicle", 1, 255, (0, 0, 0)),
    ("rectification border", 2, 255, (0, 0, 0)),
    ("out of roi", 3, 255, (0, 0, 0)),
    ("static", 4, 255, (0, 0, 0)),
    ("dynamic", 5, 255, (111, 74, 0)),
    ("ground", 6, 255, (81, 0, 81)),
    ("road", 7, 0, (128, 64, 128)),
    ("sidewalk", 8, 1, (244, 35, 232)),
    ("parking", 9, 255, (250, 170, 160)),
    ("rail track", 10, 255, (230, 150, 140)),
    ("building", 11, 2, (70, 70, 70)),
    ("wall", 12, 3, (102, 102, 156)),
    ("fence", 13, 4, (190, 153, 153)),
    ("guard rail", 14, 255, (180, 165, 180)),
    ("bridge", 15, 255, (150, 100, 100)),
    ("tunnel", 16, 255, (150, 120, 90)),
    ("pole", 17, 5, (153, 153, 153)),
    ("polegroup", 18, 255, (153, 153, 153)),
    ("traffic light", 19, 6, (250, 170, 30)),
    ("traffic sign", 20, 7, (220, 220, 0)),
    ("vegetation", 21, 8, (107, 142, 35)),
    ("terrain", 22, 9, (152, 251, 152)),
    ("sky", 23, 10, (70, 130, 180)),
    ("person", 24, 11, (220, 20, 60)),
    ("rider", 25, 12, (255, 0, 0)),
    ("car", 26, 13, (0, 0, 142)),
    ("truck", 27, 14, (0, 0, 70)),
    ("bus", 28, 15, (0, 60, 100)),
    ("caravan", 29, 255, (0, 0, 90)),
    ("trailer", 30, 255, (0, 0, 110)),
    ("train", 31, 16, (0, 80, 100)),
    ("motorcycle", 32, 17, (0, 0, 230)),
    ("bicycle", 33, 18, (119, 11, 32)),
    ("license plate", -1, 255, (0, 0, 142)),
)
"""The public labels: name, id, the number to train on (255 is ignore), colour."""

TRAIN_IDS = {label: number for _, label, number, _ in LABELS if number != 255}
"""The number to train on of each id that has one."""

ACCEPTED = "leftImg8bit/ + gtFine/ (Cityscapes)"

_SPLITS = {"train": ("train",), "val": ("val",)}
_COARSE_SPLITS = {"train": ("train", "train_extra"), "val": ("val",)}


def recognise(root: Path) -> Found | None:
    """Return the splits of the dataset, or None when it is laid out otherwise.

    The folders may lie in those that the archives unpack to, `leftImg8bit_trainvaltest/` and `gtFine_trainvaltest/`.

    Raises `AtrousError` where there are annotations and none is a mask of ids.
    """
    images = _folder(root, "leftImg8bit")
    kind = next((kind for kind in ("gtFine", "gtCoarse") if _folder(root, kind)), "")
    masks = _folder(root, kind) if kind else None
    if images is None or masks is None:
        return None
    folders = _COARSE_SPLITS if kind == "gtCoarse" else _SPLITS
    splits = {split: _matched(root, images, masks, names, f"_{kind}") for split, names in folders.items()}
    if not any(each.pairs for each in splits.values()) and any(each.images_alone for each in splits.values()):
        raise AtrousError(
            f"{masks}: no file of these images ends in _{kind}_labelIds.png or _{kind}_labelTrainIds.png. Copy them "
            f"from the archive {kind}_trainvaltest; polygons and colours are not read."
        )
    tests = _files(images / "test", "_leftImg8bit.png").values()
    splits["test"] = Matched(tuple(named(root, image, None) for image in tests))
    return Found({split: each for split, each in splits.items() if each != Matched(())}, told())


def _folder(root: Path, name: str) -> Path | None:
    places = (root / name, root / f"{name}_trainvaltest" / name)
    return next((path for path in places if path.is_dir()), None)


def _files(folder: Path, ending: str) -> dict[str, Path]:
    """Return the files that end so by their name before it, which holds city, sequence and frame."""
    return {path.name[: -len(ending)]: path for path in files_below(folder, lambda name: name.endswith(ending))}


def _matched(root: Path, images: Path, masks: Path, folders: tuple[str, ...], kind: str) -> Matched:
    pictures, ready, ids = (
        {name: path for folder in folders for name, path in _files(base / folder, ending).items()}
        for base, ending in (
            (images, "_leftImg8bit.png"), (masks, f"{kind}_labelTrainIds.png"), (masks, f"{kind}_labelIds.png"),
        )
    )  # fmt: skip
    labels: dict[str, Source] = {name: renumbered(path, TRAIN_IDS, rest=IGNORE) for name, path in ids.items()}
    labels |= ready
    pairs = (replace(named(root, path, None), mask=labels[name]) for name, path in pictures.items() if name in labels)
    return Matched(
        tuple(pairs),
        tuple(path for name, path in pictures.items() if name not in labels),
        tuple(path_of(mask) for name, mask in labels.items() if name not in pictures),
    )


def told() -> Wishes:
    """Return the 19 classes that the benchmark counts, with their numbers to train on and their colours."""
    counted = [label for label in LABELS if label[2] != IGNORE]
    return Wishes(
        classes=tuple(name for name, *_ in counted),
        colours=tuple(colour for *_, colour in counted),
        values=tuple(number for _, _, number, _ in counted),
        ignore=IGNORE,
    )
