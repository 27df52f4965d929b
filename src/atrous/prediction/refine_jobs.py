"""What is refined with what, and where the results go: a file, or two folders whose files have the same names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from atrous.contract import AtrousError
from atrous.data.any_mask import LOSSLESS
from atrous.data.pairs import images_below, match
from atrous.prediction.probability_files import SUFFIXES


@dataclass(frozen=True, kw_only=True)
class Job:
    """An image, what is to be refined with it, where that goes, and where an overlay goes, if anywhere.

    A job `in_folder` chose the names of its results itself.
    """

    image: Path
    given: Path
    out: Path
    overlay: Path | None = None
    in_folder: bool = False


def jobs_of(
    image: str | Path, given: str | Path, out: str | Path, *, overlay: str | Path | None = None
) -> tuple[list[Job], dict[Path, str], bool]:
    """Return the job of a file, or those of two folders; what of them has no partner and why; and whether it is a file.

    Of folders, images and what is to be refined are paired by name, as data sets are. A result has its file's path
    below `out`, with the suffix .png where its own would lose labels or might; overlays are .jpg.

    Raises `AtrousError` where one is a folder and the other a file, nothing matches, or a result would replace what is
    read.
    """
    image, given, out = Path(image), Path(given), Path(out)
    shown = None if overlay is None else Path(overlay)
    if image.is_dir() != given.is_dir():
        folder, file = (image, given) if image.is_dir() else (given, image)
        raise AtrousError(f"{folder}: is a folder, and {file} is none. Give two files, or two folders.")
    if not image.is_dir():
        _refuse_replacing([image, given], out, shown)
        return [Job(image=image, given=given, out=out, overlay=shown)], {}, True
    for folder in (image, given):
        for result in (out, shown):
            if result is not None and result.resolve().is_relative_to(folder.resolve()):
                raise AtrousError(f"{result}: lies in {folder}, whose files are read. Choose another folder.")
    pairs, alone = _pairs(image, given)
    if not pairs:
        raise AtrousError(f"{given}: no file has the name of an image in {image}. Give both the same names.")
    return [_job(each, path, path.relative_to(given), out, shown) for each, path in pairs], alone, False


def _job(image: Path, given: Path, place: Path, out: Path, overlays: Path | None) -> Job:
    kept = (*(suffix for suffix in LOSSLESS if suffix != ".gif"), *SUFFIXES)  # a GIF of grey levels has no palette
    suffix = place.suffix if place.suffix.lower() in kept else ".png"
    shown = None if overlays is None else overlays / place.with_suffix(".jpg")
    return Job(image=image, given=given, out=out / place.with_suffix(suffix), overlay=shown, in_folder=True)


def _refuse_replacing(read: Sequence[Path], out: Path, overlay: Path | None) -> None:
    written = [out] if overlay is None else [out, overlay]
    for path in written:
        if path.is_dir():
            raise AtrousError(f"{path}: is a folder. Name the file that is to be written.")
        if path.resolve() in [each.resolve() for each in read]:
            raise AtrousError(f"{path}: would replace what is read. Choose another name.")
    if overlay is not None and overlay.resolve() == out.resolve():
        raise AtrousError(f"{overlay}: the overlay would replace the result. Choose another name.")


def _pairs(images: Path, given: Path) -> tuple[list[tuple[Path, Path]], dict[Path, str]]:
    arrays = sorted(path for path in given.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
    if not arrays:
        matched = match(images, images, given)
        alone = {path: f"{path}: no mask has its name" for path in matched.images_alone}
        alone |= {path: f"{path}: no image has its name" for path in matched.masks_alone}
        alone |= {second: f"{second}: has the name of {first}" for first, second in matched.doubles}
        found = [(pair.image, pair.mask) for pair in matched.pairs]
        return [(image, mask) for image, mask in found if isinstance(image, Path) and isinstance(mask, Path)], alone
    by_name = {path.relative_to(images).with_suffix(""): path for path in images_below(images)}
    names = {path: path.relative_to(given).with_suffix("") for path in arrays}
    alone = {path: f"{path}: no image has its name" for path, name in names.items() if name not in by_name}
    lacking = set(by_name) - set(names.values())
    alone |= {by_name[name]: f"{by_name[name]}: no probabilities have its name" for name in sorted(lacking)}
    return [(by_name[name], path) for path, name in names.items() if name in by_name], alone
