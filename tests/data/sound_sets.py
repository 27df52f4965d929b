"""Small datasets of many kinds, made for the doctor, with nothing wrong.

A scene has a shaded, noisy background and a square, a disc and a bar in colours of their own, so that edges of images
lie where masks have borders, and no two scenes are alike. `SOUND` is the table that the tests go through.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

SIZE = (64, 96)
TRAIN, VAL = 12, 6
NAMES = ("ground", "square", "disc", "bar")
COLOURS = np.uint8([[0, 0, 0], [200, 30, 30], [30, 200, 60], [40, 60, 220]])


def labels_of(seed, size=SIZE):
    """Return labels (h, w), 0..3, of a scene."""
    random = np.random.default_rng(seed)
    height, width = size
    rows, columns = np.mgrid[:height, :width]
    labels = np.zeros(size, np.uint8)
    for value, part in ((1, 0), (2, 1), (3, 2)):
        row = random.integers(height // 4, 3 * height // 4)
        column = random.integers(part * width // 3 + width // 9, part * width // 3 + 2 * width // 9)
        half = random.integers(max(1, height // 10), max(2, height // 6))
        inside = (abs(rows - row) <= half) & (abs(columns - column) <= half)
        if value == 2:
            inside = (rows - row) ** 2 + (columns - column) ** 2 <= half**2
        elif value == 3:
            inside = (abs(rows - row) <= half * 1.5) & (abs(columns - column) <= max(1, half // 2))
        labels[inside] = value
    return labels


def image_of(labels, seed, *, noise=6):
    """Return the photo (h, w, 3) of labels."""
    random = np.random.default_rng(seed + 1_000_000)
    height, width = labels.shape
    small = random.integers(60, 190, (4, 4, 3), np.uint8)
    ground = np.asarray(Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC), np.float32)
    shades = random.integers(-60, 60, (256, 3)) + np.resize([[0, 0, 0], [120, -90, 60], [-90, 120, -60]], (256, 3))
    image = ground + shades[labels] * (labels > 0)[..., None] + random.normal(0, noise, (*labels.shape, 3))
    return np.clip(image, 0, 255).astype(np.uint8)


def save(path, array):
    """Write an array as the file's suffix says."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)


def names(train=TRAIN, val=VAL):
    """Return (split, name, seed) of each pair."""
    pairs = [("train", index) for index in range(train)] + [("val", index) for index in range(val)]
    return [(split, f"{split[0]}{index:02d}", index + 1000 * (split == "val")) for split, index in pairs]


def write_set(root, *, encode=lambda labels: labels, size=SIZE, train=TRAIN, val=VAL, picture=image_of):
    """Write images/ and masks/, both with train/ and val/; `encode` makes the mask of labels."""
    for split, name, seed in names(train, val):
        labels = labels_of(seed, size)
        save(root / "images" / split / f"{name}.png", picture(labels, seed))
        save(root / "masks" / split / f"{name}.png", encode(labels))
    return root


def mask_paths(root):
    """Return the masks, sorted."""
    return sorted((root / "masks").rglob("*.png"))


def palette(root):
    """Palette masks."""
    write_set(root)
    for path in mask_paths(root):
        image = Image.open(path)
        image.putpalette(COLOURS.tobytes())
        image.save(path)


def objects(root):
    """Object numbers that differ from mask to mask."""

    def numbered(labels):
        rows = np.arange(labels.shape[0])[:, None] // 4
        return ((rows * (labels.shape[1] // 4) + np.arange(labels.shape[1]) // 4 + 1) * (labels > 0)).astype(np.uint16)

    def dense(labels):
        _, numbers = np.unique(numbered(labels), return_inverse=True)
        return numbers.reshape(labels.shape).astype(np.uint16)

    write_set(root, encode=dense)


def many_classes(root):
    """Forty classes in stripes, shifted from image to image."""

    def striped(labels):
        return (np.arange(labels.shape[1]) // 3 + int(labels.sum()) % 40).astype(np.uint8) % 40 + 0 * labels

    write_set(root, encode=striped, size=(48, 120))


def deep(root):
    """Images of 16 bits."""
    write_set(root, picture=lambda labels, seed: image_of(labels, seed)[..., 0].astype(np.uint16) * 250)


def mostly_background(root):
    """Objects on half of the images only."""
    write_set(root)
    for path in mask_paths(root)[::2]:
        save(path, np.zeros(SIZE, np.uint8))


def outlined(root):
    """A class that is drawn as a thin outline, its value between the two that it parts."""

    def outline(labels):
        inside = labels > 0
        core = inside.copy()
        for axis in (0, 1):
            for step in (-1, 1):
                core &= np.roll(inside, step, axis)
        return (2 * inside + (4 * labels + 2) * core).astype(np.uint8)

    write_set(root, encode=outline)


def void_border(root):
    """255 around every object."""

    def bordered(labels):
        result = labels.copy()
        for axis in (0, 1):
            result[np.roll(labels, 1, axis) != labels] = 255
        return result

    write_set(root, encode=bordered)


def film(root):
    """Frames that hardly differ from one to the next, the clips of train and val apart."""
    for split, name, seed in names():
        shift, clip = seed % 1000, 5 + 90 * (split == "val")
        labels = np.roll(labels_of(clip), shift, axis=1)
        save(root / "images" / split / f"{name}.png", np.roll(image_of(labels_of(clip), clip), shift, axis=1))
        save(root / "masks" / split / f"{name}.png", labels)


def microscopy(root):
    """Images that share their strong shading, with a few faint cells."""

    def dark(labels, seed):
        rows, columns = np.mgrid[-1 : 1 : labels.shape[0] * 1j, -1 : 1 : labels.shape[1] * 1j]
        shade = 130 - 60 * (rows**2 + columns**2)
        noise = np.random.default_rng(seed).normal(0, 1.5, labels.shape)
        return np.clip(shade + 5 * (labels > 0) + noise, 0, 255).astype(np.uint8)

    write_set(root, encode=lambda labels: np.uint8(255) * (labels > 0), picture=dark)


def phantom(root):
    """Grey slices of one anatomy, which differ in little but their noise."""

    def organ(labels, seed):
        rows, columns = np.mgrid[-1 : 1 : labels.shape[0] * 1j, -1 : 1 : labels.shape[1] * 1j]
        body = 30 + 90 * (rows**2 + columns**2 < 0.8) + 50 * (rows**2 + (columns + 0.3) ** 2 < 0.08)
        noise = np.random.default_rng(seed).normal(0, 4, labels.shape)
        return np.clip(body + 50 * (labels > 0) + noise, 0, 255).astype(np.uint8)

    def lesion(labels):
        seed = int(np.flatnonzero(labels).sum())
        top, left, height, width = np.random.default_rng(seed).integers((14, 36, 8, 8), (30, 50, 20, 24))
        result = np.zeros_like(labels)
        result[top : top + height, left : left + width] = 1
        return result

    write_set(root, encode=lesion, picture=lambda labels, seed: organ(lesion(labels), seed))


def odd_names(root):
    """Names with spaces, Korean and emoji."""
    write_set(root)
    for kind in ("images", "masks"):
        for place, name in enumerate(("with space", "한국어 사진", "🙂", "a.b.c", "100%")):
            path = root / kind / "train" / f"t0{place}.png"
            path.rename(path.with_name(f"{name}.png"))


def jpeg_images(root):
    """Images as JPEG, three of them turned by EXIF, with masks as they are seen."""
    write_set(root, size=(64, 64))
    for place, path in enumerate(sorted((root / "images").rglob("*.png"))):
        image = Image.open(path)
        exif = Image.Exif()
        if place < 3:
            exif[274] = 6
            image = image.transpose(Image.Transpose.ROTATE_90)
        image.save(path.with_suffix(".jpg"), quality=92, exif=exif)
        path.unlink()


def grey_among_colour(root):
    """Some images in grey."""
    write_set(root)
    for path in sorted((root / "images").rglob("*.png"))[:4]:
        Image.open(path).convert("L").save(path)


def flattened(root):
    """Turn split folders into lists, with the paths of another machine."""
    for split in ("train", "val"):
        paths = sorted((root / "images" / split).iterdir())
        (root / f"{split}.txt").write_text("".join(f"/home/a b/data/{path.name}\n" for path in paths))
        for kind in ("images", "masks"):
            for path in sorted((root / kind / split).iterdir()):
                path.rename(root / kind / path.name)
            (root / kind / split).rmdir()


def with_lists(root):
    """The split in list files."""
    write_set(root)
    flattened(root)


def coco(change):
    """Return a function that writes a set of COCO with three categories, its annotations changed."""

    def make(root):
        images, entries = [], []
        for place in range(TRAIN):
            labels = labels_of(place)
            save(root / "images" / f"{place:02d}.png", image_of(labels, place))
            images.append({"id": place, "file_name": f"{place:02d}.png", "height": SIZE[0], "width": SIZE[1]})
            for value in (1, 2, 3):
                rows, columns = np.nonzero(labels == value)
                top, left, bottom, right = (
                    int(each) for each in (rows.min(), columns.min(), rows.max(), columns.max())
                )
                outline = [left, top, right, top, right, bottom, left, bottom]
                entry = {"id": len(entries), "image_id": place, "category_id": value, "segmentation": [outline]}
                entries.append(entry)
        categories = [{"id": value, "name": NAMES[value]} for value in (1, 2, 3)]
        content = {"images": images, "annotations": entries, "categories": categories}
        change(entries[4], content)
        (root / "coco.json").write_text(json.dumps(content))

    return make


@dataclass(frozen=True)
class Sound:
    """A set without a finding."""

    make: Callable[[Path], Any]
    options: dict[str, Any] = field(default_factory=dict)
    encoding: str = "indices"


SOUND = {
    "indices": Sound(write_set),
    "palette": Sound(palette, encoding="palette"),
    "colours": Sound(lambda root: write_set(root, encode=lambda labels: COLOURS[labels]), encoding="colours"),
    "0 and 255": Sound(
        lambda root: write_set(root, encode=lambda labels: np.uint8(255) * (labels > 0)), encoding="0 and 255"
    ),
    "object numbers": Sound(objects, encoding="instances"),
    "object numbers, as is said": Sound(objects, {"labels": "instances"}, "instances"),
    "16 bits": Sound(deep),
    "many classes": Sound(many_classes),
    "tiny images": Sound(lambda root: write_set(root, size=(9, 9))),
    "mostly background": Sound(mostly_background),
    "grey levels": Sound(lambda root: write_set(root, encode=lambda labels: np.uint8([0, 128, 254, 64])[labels])),
    "film": Sound(film),
    "uneven splits": Sound(lambda root: write_set(root, train=20, val=2)),
    "outlines": Sound(outlined),
    "void border": Sound(void_border),
    "microscopy": Sound(microscopy, encoding="0 and 255"),
    "one anatomy": Sound(phantom),
    "odd names": Sound(odd_names),
    "JPEG images": Sound(jpeg_images),
    "grey among colour": Sound(grey_among_colour),
    "lists of another machine": Sound(with_lists),
    "COCO": Sound(coco(lambda entry, content: None)),
    "names given": Sound(write_set, {"classes": NAMES}),
}
