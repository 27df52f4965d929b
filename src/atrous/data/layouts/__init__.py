"""The layouts that are recognised: a file each, tried in the order of `LAYOUTS`, the most particular first.

A layout is a module with `ACCEPTED`, a line that shows what it looks like, and `recognise(root)`, which returns what it
found there as `Found`, or None for a folder that is laid out otherwise. It reads names, lists and annotation files, and
no pixels.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import ModuleType

from atrous.contract import AtrousError
from atrous.data.dividing import apart, without_empty
from atrous.data.found import Found
from atrous.data.geotiff import georeferenced
from atrous.data.images import is_image_name
from atrous.data.layouts import (
    ade20k,
    bids,
    camvid,
    cityscapes,
    coco,
    coco_panoptic,
    cvat,
    dicom,
    folders,
    hugging_face,
    label_studio,
    labelme,
    lip,
    list_files,
    mapillary,
    nnunet,
    sbd,
    side_by_side,
    template,
    voc,
    yolo,
)
from atrous.data.pairs import Matched, files_below
from atrous.data.volumes import sliced

__all__ = ["LAYOUTS", "Found", "recognise"]

LAYOUTS: dict[str, ModuleType] = {
    "camvid": camvid,
    "cvat": cvat,
    "voc": voc,
    "cityscapes": cityscapes,
    "ade20k": ade20k,
    "mapillary": mapillary,
    "lip": lip,
    "sbd": sbd,
    "nnunet": nnunet,
    "bids": bids,
    "dicom": dicom,
    "hugging-face": hugging_face,
    "coco-panoptic": coco_panoptic,
    "coco": coco,
    "labelme": labelme,
    "label-studio": label_studio,
    "yolo": yolo,
    "folders": folders,
    "side-by-side": side_by_side,
    "lists": list_files,
}
"""The layouts by name, in the order in which they are tried."""


_ARCHIVES = (".zip", ".tar", ".tgz", ".tar.gz", ".7z", ".rar")


def recognise(root: Path, *, layout: str | None = None, masks: str | None = None) -> Found:
    """Return what was found in a folder, by the first layout that fits, by `layout`, or with a template of `masks`.

    Raises `AtrousError` for a folder that is missing, empty or laid out otherwise, `ValueError` for an unknown name or
    template.
    """
    if layout is not None and layout not in LAYOUTS:
        raise ValueError(f"layout {layout!r} came; there are {', '.join(LAYOUTS)}")
    _refuse_no_folder(root)
    if masks is not None:
        return _with_pairs(root, "template", template.recognise(root, masks))
    found = _recognised(root, layout)
    if found is None:
        raise _unknown(root, layout)
    return found


def _recognised(root: Path, layout: str | None) -> Found | None:
    for name, module in LAYOUTS.items():
        if layout in (None, name) and (found := module.recognise(root)) is not None:
            return _with_pairs(root, name, found)
    return _wrapped(root, layout)


def _wrapped(root: Path, layout: str | None) -> Found | None:
    """Return what is in the only folder of a folder, as archives are unpacked, None where that is no dataset.

    Raises `AtrousError` for a dataset that is broken, since its words say more than that nothing was recognised.
    """
    inside = [path for path in root.iterdir() if not path.name.startswith((".", "__MACOSX"))]
    folders = [path for path in inside if path.is_dir()]
    if len(folders) != 1 or folders[0].resolve() in root.resolve().parents:
        return None
    found = _recognised(folders[0], layout)
    if found is None:
        return None
    return replace(found, notes=(f"the dataset is the folder {found.root.name}/ inside", *found.notes))


def _refuse_no_folder(root: Path) -> None:
    if root.is_dir():
        if not any(not path.name.startswith(".") for path in root.iterdir()):
            raise AtrousError(f"{root}: the folder is empty. Put images/ and masks/ into it.")
        return
    if root.name.lower().endswith(_ARCHIVES) and root.is_file():
        raise AtrousError(f"{root}: this is an archive, and a folder is read. Unpack it, and name the folder.")
    came = "this is a file" if root.exists() else "no such folder"
    raise AtrousError(f"{root}: {came}, and a folder of images and masks is wanted. Check the path.")


def _with_pairs(root: Path, name: str, found: Found) -> Found:
    """Return what was found with its layout's name, rasters and volumes taken for what they are; raises where empty."""
    if all(each == Matched(()) for each in found.splits.values()):
        raise AtrousError(f"{root}: the folders are there and hold no images. Accepted are: {_accepted()}.")
    found = without_empty(apart(replace(found, layout=name, root=root)))
    return sliced(georeferenced(found))


def _unknown(root: Path, layout: str | None) -> AtrousError:
    inside = sorted(path.name + "/" * path.is_dir() for path in root.iterdir() if not path.name.startswith("."))
    listed = ", ".join(inside[:8]) + (f" and {len(inside) - 8:,} more" if len(inside) > 8 else "")
    loose = len(files_below(root, is_image_name))
    came = "no layout of images and masks was recognised" if layout is None else f"this is not the layout {layout}"
    accepted = _accepted() if layout is None else LAYOUTS[layout].ACCEPTED
    packed = [name for name in inside if name.lower().endswith(_ARCHIVES)]
    unpack = f"Unpack {packed[0]} first. " if packed else ""
    held = f"It holds {listed} ({loose:,} image files in all)"
    return AtrousError(f"{root}: {came}. {held}. {unpack}Accepted are: {accepted}.")


def _accepted() -> str:
    return "; ".join(module.ACCEPTED for module in LAYOUTS.values())
