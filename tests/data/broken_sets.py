"""Small datasets with exactly one defect each, which the doctor has to name; `BROKEN` is the table of them."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from PIL import Image, ImageFilter
from sound_sets import (
    COLOURS,
    NAMES,
    SIZE,
    TRAIN,
    coco,
    flattened,
    image_of,
    labels_of,
    names,
    objects,
    save,
    write_set,
)


@dataclass(frozen=True)
class Broken:
    """A set with one defect: `files` are all that the finding names, `remedy` is in its words, `told` in a detail."""

    kind: str
    make: Callable[[Path], Any]
    files: tuple[str, ...]
    remedy: str
    told: str = ""
    options: dict[str, Any] = field(default_factory=dict)


def changed(change: Callable[[Path], Any], **options: Any) -> Callable[[Path], Any]:
    """Return a function that writes a sound set and then changes it."""

    def make(root: Path) -> None:
        write_set(root, **options)
        change(root)

    return make


def every(kind: str, suffix: str = ".png") -> tuple[str, ...]:
    """Return the paths of all images or masks."""
    return tuple(f"{kind}/{split}/{name}{suffix}" for split, name, _ in names())


def cut_short(root):
    """End a file in its middle."""
    path = root / "images/train/t03.png"
    path.write_bytes(path.read_bytes()[:2000])


def bomb(root):
    """Write a file whose header promises 60,000 x 60,000 pixels."""
    header = struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(bytes(1000))), (b"IEND", b"")]
    written = b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks
    )
    (root / "images/val/v02.png").write_bytes(b"\x89PNG\r\n\x1a\n" + written)


def as_jpeg(array, quality):
    """Return what is left of an array after JPEG."""
    file = BytesIO()
    Image.fromarray(array).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file))


def jpeg_mask(root):
    """Save one mask as JPEG."""
    path = root / "masks/train/t04.png"
    Image.open(path).save(path.with_suffix(".jpg"))
    path.unlink()


def photo_as_mask(root):
    """Put another photo where a mask should be."""
    (root / "masks/val/v01.png").write_bytes((root / "images/train/t02.png").read_bytes())


def dim(labels, seed):
    """Return a dark grey image without noise, so that most neighbours are equal."""
    return image_of(labels, seed, noise=0)[..., 0] // 2


def jpeg_photo_as_mask(root):
    """Put a photo where a mask should be, as JPEG."""
    Image.open(root / "images/val/v01.png").save(root / "masks/val/v01.jpg")
    (root / "masks/val/v01.png").unlink()


def swapped(root):
    """Exchange the two folders."""
    (root / "images").rename(root / "other")
    (root / "masks").rename(root / "images")
    (root / "other").rename(root / "masks")


def smooth(array, factor=1.5):
    """Return an array made smaller and larger again with interpolation."""
    image = Image.fromarray(array)
    small = (round(image.width / factor), round(image.height / factor))
    return np.asarray(image.resize(small, Image.Resampling.BILINEAR).resize(image.size, Image.Resampling.BILINEAR))


def altered(change, *which, kind="masks"):
    """Return a function that changes the arrays of some files, all of them without names."""

    def change_files(root):
        for path in [root / name for name in which] or sorted((root / kind).rglob("*.png")):
            save(path, np.ascontiguousarray(change(np.array(Image.open(path)))))

    return change_files


def blurred(mask):
    """Return a mask that fades over many pixels."""
    return np.asarray(Image.fromarray(mask).filter(ImageFilter.GaussianBlur(5)))


def fringed(mask):
    """Return a mask with the same three steps of grey around every object."""
    for grey in (192, 128, 64):
        near = np.maximum.reduce([np.roll(mask, step, axis) for axis in (0, 1) for step in (-1, 1)])
        mask = np.where((mask == 0) & (near > 0), np.uint8(grey), mask)
    return mask


def turned_by_exif(root):
    """Images whose EXIF turns them by 180 degrees, with masks that lie as the sensor did."""
    for split, name, _ in names():
        path = root / "images" / split / f"{name}.png"
        exif = Image.Exif()
        if split == "train":
            exif[274] = 3
        Image.open(path).save(path.with_suffix(".jpg"), quality=95, exif=exif)
        path.unlink()


def exchanged(labels):
    """Return a mask in which 255 is the background and 0 the lines around objects."""
    result = np.where(labels == 0, 255, labels + 4).astype(np.uint8)
    for axis in (0, 1):
        result[np.roll(labels, 1, axis) != labels] = 0
    return result


def list_with_a_stranger(root):
    """Name an image in a list that is not there."""
    flattened(root)
    with (root / "val.txt").open("a") as file:
        file.write("ghost\n")


def copied(change):
    """Return a function that makes one image of val a changed copy of one of train, with its mask."""

    def make(root):
        image = Image.open(root / "images/train/t05.png")
        mask = Image.open(root / "masks/train/t05.png")
        image, mask = change(image, mask)
        image.save(root / "images/val/v03.png")
        mask.save(root / "masks/val/v03.png")

    return make


def recompressed(image, mask):
    """Return the pair with its image saved as JPEG of quality 75."""
    return Image.fromarray(as_jpeg(np.asarray(image), 75)), mask


def resized(image, mask):
    """Return the pair at two thirds."""
    size = (SIZE[1] * 2 // 3, SIZE[0] * 2 // 3)
    return image.resize(size, Image.Resampling.BILINEAR), mask.resize(size, Image.Resampling.NEAREST)


def brightened(image, mask):
    """Return the pair with its image brighter and of more contrast."""
    return Image.fromarray(np.clip(np.asarray(image) * 1.1 + 8, 0, 255).astype(np.uint8)), mask


def mirrored(image, mask):
    """Return the pair mirrored."""
    turn = Image.Transpose.FLIP_LEFT_RIGHT
    return image.transpose(turn), mask.transpose(turn)


def same(image, mask):
    """Return the pair."""
    return image, mask


def five_channels(root):
    """Save one image with five channels."""
    path = root / "images/train/t02.png"
    tifffile.imwrite(
        path.with_suffix(".tif"),
        np.random.default_rng(0).integers(0, 255, (*SIZE, 5), np.uint8),
        metadata={"axes": "YXC"},
    )
    path.unlink()


def without(value, folder):
    """Return a function that takes a class out of the masks of one split."""
    return altered(lambda mask: np.where(mask == value, 0, mask), *(f"{folder}/{name}" for name in _files(folder)))


def _files(folder):
    return tuple(f"{name}.png" for split, name, _ in names() if folder.endswith(split))


def write_bytes(name, data):
    """Return a function that overwrites a file."""
    return lambda root: (root / name).write_bytes(data)


def removed(name):
    """Return a function that removes a file."""
    return lambda root: (root / name).unlink()


def filled(value, *which):
    """Return a function that fills masks with one value."""
    return altered(lambda mask: np.full_like(mask, value), *which)


def outline_is(segmentation):
    """Return a function that gives an annotation another outline."""
    return lambda entry, content: entry.update(segmentation=segmentation)


def two_of_objects(root):
    """One mask of object numbers in each split."""
    objects(root)
    for kind in ("images", "masks"):
        for path in sorted((root / kind).rglob("*.png")):
            if path.stem not in ("t00", "v00"):
                path.unlink()


def faint(labels, seed):
    """Return a photo whose edges are hardly stronger where masks have borders than anywhere."""
    return image_of(labels, seed, noise=40)


_SOME = tuple(f"masks/train/t{place:02d}.png" for place in range(6))
T4, V1, T2 = "masks/train/t04.png", "masks/val/v01.png", "masks/train/t02.png"
BLACK_AND_WHITE = {"encode": lambda labels: np.uint8(255) * (labels > 0)}
IN_COLOURS = {"encode": lambda labels: COLOURS[labels]}
FAR_APART = {"encode": lambda labels: np.uint8([0, 9, 4, 14])[labels]}

BROKEN = {
    "image cut short": Broken("unreadable-file", changed(cut_short), ("images/train/t03.png",), "Copy the files again"),
    "mask of no bytes": Broken("unreadable-file", changed(write_bytes(T4, b"")), (T4,), "Copy the files", "0 bytes"),
    "text as image": Broken(
        "unreadable-file",
        changed(write_bytes("images/val/v00.png", b"not an image")),
        ("images/val/v00.png",),
        "remove them",
        "this is not an image",
    ),
    "decompression bomb": Broken(
        "too-many-pixels", changed(bomb), ("images/val/v02.png",), "tiles", "60,000 x 60,000 pixels came"
    ),
    "mask as JPEG": Broken("jpeg-mask", changed(jpeg_mask), ("masks/train/t04.jpg",), "Save the masks as PNG"),
    "photo as mask": Broken("mask-is-image", changed(photo_as_mask), (V1,), "pictures", "as in a picture"),
    "dark image as mask": Broken(
        "mask-is-image",
        changed(lambda root: (root / V1).write_bytes((root / "images/val/v01.png").read_bytes()), picture=dim),
        (V1,),
        "pictures",
        "the very pixels of its image",
    ),
    "JPEG photo as mask": Broken(
        "mask-is-image", changed(jpeg_photo_as_mask), ("masks/val/v01.jpg",), "pictures", "as in a picture"
    ),
    "folders swapped": Broken("mask-is-image", changed(swapped), every("masks"), "rename", "seem to be swapped"),
    "indices resized with interpolation": Broken(
        "anti-aliased-mask", changed(altered(smooth, T4, V1), **FAR_APART), (T4, V1), "nearest neighbour", "in between"
    ),
    "colours resized with interpolation": Broken(
        "anti-aliased-mask", changed(altered(smooth, T4), **IN_COLOURS), (T4,), "nearest neighbour", "in between"
    ),
    "all colours resized": Broken(
        "anti-aliased-mask", changed(altered(smooth), **IN_COLOURS), every("masks"), "nearest neighbour"
    ),
    "colours through JPEG": Broken(
        "anti-aliased-mask",
        changed(altered(lambda mask: as_jpeg(mask, 75), V1), **IN_COLOURS),
        (V1,),
        "without JPEG",
        "as JPEG leaves them",
    ),
    "indices through JPEG": Broken(
        "anti-aliased-mask",
        changed(altered(lambda mask: as_jpeg(mask, 90), T4), encode=lambda labels: np.uint8([0, 40, 80, 120])[labels]),
        (T4,),
        "without JPEG",
    ),
    "one soft mask": Broken(
        "soft-mask", changed(altered(smooth, T4), **BLACK_AND_WHITE), (T4,), "Round them at one half", "in between"
    ),
    "all masks soft": Broken(
        "soft-mask", changed(altered(smooth), **BLACK_AND_WHITE), every("masks"), "Round them at one half"
    ),
    "probabilities as masks": Broken(
        "soft-mask",
        changed(altered(blurred), size=(128, 192), **BLACK_AND_WHITE),
        every("masks"),
        "Round them at one half",
        "grey levels",
    ),
    "steps of grey around objects": Broken(
        "soft-mask",
        changed(altered(fringed), size=(128, 192), **BLACK_AND_WHITE),
        every("masks"),
        "Round them at one half",
        "5 grey levels between 0 and 255",
    ),
    "numbers of objects in two masks": Broken(
        "object-numbers",
        two_of_objects,
        ("masks/train/t00.png", "masks/val/v00.png"),
        "--labels instances",
        "run from 1",
    ),
    "values beyond a byte": Broken(
        "classes-unknown",
        changed(lambda root: None, encode=lambda labels: labels.astype(np.uint16) * 900),
        every("masks"),
        "classes.json",
        "values from 0 to 2,700",
    ),
    "another size": Broken(
        "size-differs",
        changed(altered(lambda mask: mask[:-2, :-3], T4)),
        (T4,),
        "nearest neighbour",
        "62 x 93 (height x width) and its image 64 x 96",
    ),
    "height and width exchanged": Broken(
        "axes-swapped", changed(altered(lambda mask: mask.T, T4, V1)), (T4, V1), "Transpose", "96 x 64"
    ),
    "all masks mirrored": Broken(
        "orientation-differs",
        changed(altered(lambda mask: mask[:, ::-1])),
        every("masks"),
        "Turn them",
        "mirrored left to right",
    ),
    "all masks transposed": Broken(
        "orientation-differs",
        changed(altered(lambda mask: mask.T), size=(64, 64)),
        every("masks"),
        "Turn them",
        "transposed",
    ),
    "two masks upside down": Broken(
        "orientation-differs",
        changed(altered(lambda mask: mask[::-1], "masks/train/t03.png", "masks/val/v03.png")),
        ("masks/train/t03.png", "masks/val/v03.png"),
        "Turn them",
        "mirrored top to bottom",
    ),
    "masks as the sensor saw them": Broken(
        "orientation-differs",
        changed(turned_by_exif),
        tuple(f"masks/train/t{index:02d}.png" for index in range(TRAIN)),
        "Turn them",
        "turned by 180 degrees, as the sensor saw it",
    ),
    "label outside": Broken(
        "label-outside",
        changed(altered(lambda mask: np.where(mask == 3, 22, mask), T4)),
        (T4,),
        "Try --labels colours",
        "label 22 is outside 0..3",
        {"classes": NAMES},
    ),
    "values from 1, names given": Broken(
        "zero-convention",
        changed(lambda root: None, encode=lambda labels: labels + np.uint8(1)),
        every("masks"),
        "--ignore 0",
        "0 is never used",
        {"classes": NAMES},
    ),
    "values from 1": Broken(
        "zero-convention",
        changed(lambda root: None, encode=lambda labels: labels + np.uint8(1)),
        every("masks"),
        "--ignore 0",
        "reach 4 and 0 is never used",
    ),
    "0 is other": Broken(
        "zero-convention", write_set, every("masks"), "--ignore 0", "3 classes were named", {"classes": NAMES[1:]}
    ),
    "0 and 255 exchanged": Broken(
        "zero-convention", changed(lambda root: None, encode=exchanged), every("masks"), "--ignore 0", "only lines"
    ),
    "mask missing": Broken(
        "image-without-mask", changed(removed(T4)), ("images/train/t04.png",), "Add masks of the same name"
    ),
    "image missing": Broken(
        "mask-without-image", changed(removed("images/val/v01.png")), (V1,), "Add images of the same name"
    ),
    "two of a name": Broken(
        "name-twice",
        changed(lambda root: save(root / "images/train/t04.bmp", image_of(labels_of(77), 77))),
        ("images/train/t04.bmp", "images/train/t04.png"),
        "Remove or rename",
    ),
    "listed and not there": Broken(
        "listed-missing", changed(list_with_a_stranger), ("ghost",), "take their names off the list", "list of val"
    ),
    "class not in train": Broken(
        "class-missing-in-train",
        changed(without(3, "masks/train")),
        ("images/val/v00.png",),
        "Split anew",
        "class 3 is on 6 images of val and on none of train",
    ),
    "class not in val": Broken(
        "class-missing-in-val",
        changed(without(2, "masks/val")),
        ("images/train/t00.png",),
        "Split anew",
        "class 2 is on 12 images of train and on none of val",
    ),
    "copy through JPEG": Broken(
        "near-duplicate",
        changed(copied(recompressed)),
        ("images/val/v03.png",),
        "Keep them in one split",
        "is nearly images/train/t05.png in train",
    ),
    "copy resized": Broken(
        "near-duplicate", changed(copied(resized)), ("images/val/v03.png",), "Keep them in one split"
    ),
    "copy brightened": Broken(
        "near-duplicate", changed(copied(brightened)), ("images/val/v03.png",), "Keep them in one split"
    ),
    "copy mirrored": Broken(
        "near-duplicate",
        changed(copied(mirrored)),
        ("images/val/v03.png",),
        "Keep them in one split",
        "in train, mirrored",
    ),
    "same image in two splits": Broken(
        "identical-files",
        changed(copied(same)),
        ("images/train/t05.png", "images/val/v03.png"),
        "keep them in one",
        "same pixels as images/val/v03.png in val",
    ),
    "same image twice in train": Broken(
        "identical-files",
        changed(
            lambda root: [
                (root / kind / "train/t07.png").write_bytes((root / kind / "train/t05.png").read_bytes())
                for kind in ("images", "masks")
            ]
        ),
        ("images/train/t05.png", "images/train/t07.png"),
        "Remove all but one",
    ),
    "run lengths too short": Broken(
        "broken-rle",
        coco(outline_is({"counts": [10, 20], "size": list(SIZE)})),
        ("coco.json",),
        "Export the annotations again",
        "01.png: the run lengths are broken: the counts add up to 30",
    ),
    "polygon outside": Broken(
        "shape-outside",
        coco(outline_is([[5, 5, 140, 5, 140, 30]])),
        ("images/01.png",),
        "clip them",
        "beyond the image",
    ),
    "category not listed": Broken(
        "class-unknown", coco(lambda entry, content: entry.update(category_id=9)), ("coco.json",), "Add the category"
    ),
    "annotation without outline": Broken(
        "broken-annotation", coco(outline_is(None)), ("images/01.png",), "mend the entries", "it has no outline"
    ),
    "nothing but ignore": Broken(
        "all-ignore-mask", changed(filled(255, T4)), (T4,), "Label the images", "all 6,144 pixels are ignore"
    ),
    "empty masks": Broken("empty-mask", changed(filled(0, T4, V1)), (T4, V1), "Right if the images show nothing else"),
    "all masks black": Broken(
        "nothing-labelled", changed(filled(0)), every("masks"), "Check the export", "class 0 alone, as on all masks"
    ),
    "masks of 0 and 1 beside 0 and 255": Broken(
        "mixed-encodings",
        changed(altered(lambda mask: mask * np.uint8(255), *_SOME), encode=lambda labels: np.uint8(labels > 0)),
        _SOME,
        "same value",
        "it holds 255 beside 0, and 12 other masks hold 1",
    ),
    "indices beside grey levels": Broken(
        "mixed-encodings",
        changed(altered(lambda mask: mask * np.uint8(80), *_SOME)),
        _SOME,
        "same value",
        "it holds 80, 160, 240 beside 0, and 12 other masks hold 1, 2, 3",
    ),
    "faint images upside down": Broken(
        "orientation-differs",
        changed(altered(lambda mask: mask[::-1, ::-1]), picture=faint),
        every("masks"),
        "Turn them as their images are",
        "turned by 180 degrees",
    ),
    "nothing labelled": Broken("nothing-labelled", changed(filled(1)), every("masks"), "Check the export"),
    "depths mixed": Broken(
        "mixed-depth",
        changed(
            altered(lambda image: image.astype(np.uint16) * 257, "images/train/t01.png"),
            picture=lambda labels, seed: image_of(labels, seed)[..., 0],
        ),
        ("images/train/t01.png",),
        "one depth",
        "uint16, and most images have uint8",
    ),
    "channels mixed": Broken(
        "mixed-channels", changed(five_channels), ("images/train/t02.tif",), "same channels", "5, and most"
    ),
}
