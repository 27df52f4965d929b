"""What a dataset was when a run was trained on it: counts, sizes, classes, the range of its values, a hash."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atrous.contract import IGNORE, AtrousError, LabelSpace
from atrous.data.census import Progress, in_threads
from atrous.data.dataset import Dataset
from atrous.data.pairs import Pair
from atrous.data.parts import image_pixels, path_of
from atrous.data.samples import read_sample
from atrous.data.wishes import Wishes

_MEASURED = 200
_RECOGNISED_BY = 16  # images
_BAND = 1 << 20  # values in float64 at a time
_SAMPLED = 1 << 16  # values per image that the percentiles are taken from
_PERCENTILES = (0.5, 99.5)


@dataclass(frozen=True)
class _Look:
    size: tuple[int, int]
    channels: int
    dtype: str
    present: NDArray[np.uint8]
    counts: NDArray[np.int64]
    measured: tuple[int, NDArray[np.float64], NDArray[np.float64], NDArray[Any]] | None


def fingerprint(dataset: Dataset, *, limit: int | None = None, progress: Progress | None = None) -> dict[str, Any]:
    """Return what the dataset holds, ready for JSON.

    `layout`, `count` (of all pairs), `splits` (pairs of each), `sizes` (`minimum`, `median`, `maximum`, each
    (height, width)), `channels`, `dtypes`, `labels` (what masks hold: indices, colours or instances), `classes`
    (`name`, `pixels`, `images`, and `share`, of the pixels that count; of the training images alone `learnt`, the
    class's pixels, and `among`, all that count in the images that hold it), `ignore_pixels`, `told` (what the
    folder itself says of its classes: `classes`, `values`, `ignore`), `samples` (a checksum of the pixels of up to
    16 images, by name), `sha256` (of names and file sizes), and of up to 200 evenly spaced training images `mean`
    and `std` per channel, in stored units. `low` and `high` are the stored range: 0 and 255 for uint8, else the 0.5
    and 99.5 percentiles. `limit` looks at no more pairs of each split than that, evenly spaced.

    Raises `AtrousError` for a file that cannot be read. Source: the fingerprint of nnU-Net, Isensee et al. 2021.
    """
    chosen = [(name, pair) for name, pairs in dataset.splits.items() for pair in spaced(pairs, limit)]
    training = [pair for name, pair in chosen if name == "train"] or [pair for _, pair in chosen]
    measured = {pair.name for pair in spaced(training, _MEASURED)}
    looks = in_threads(lambda item: _look(item[1], dataset, measure=item[1].name in measured), chosen, progress)
    learnt = [look for look, (name, _) in zip(looks, chosen, strict=True) if name == "train"] or looks
    sizes = np.array([look.size for look in looks]).reshape(-1, 2)
    return {
        "layout": dataset.layout,
        "count": sum(len(pairs) for pairs in dataset.splits.values()),
        "splits": {name: len(pairs) for name, pairs in dataset.splits.items()},
        "sizes": {
            name: [int(side) for side in function(sizes, axis=0)] if len(sizes) else []
            for name, function in (("minimum", np.min), ("median", np.median), ("maximum", np.max))
        },
        "channels": sorted({look.channels for look in looks}),
        "dtypes": sorted({look.dtype for look in looks}),
        "labels": dataset.space.encoding,
        **_classes(dataset.space, looks, learnt=learnt),
        **_statistics([look for look in looks if look.measured is not None]),
        "told": {"classes": dataset.told.classes, "values": dataset.told.values, "ignore": dataset.told.ignore},
        "samples": {pair.name: _checksum(pair) for pair in spaced(every(dataset), _RECOGNISED_BY)},
        "sha256": identity(dataset),
    }


def every(dataset: Dataset) -> list[Pair]:
    """Return the pairs of all splits."""
    return list(chain.from_iterable(dataset.splits.values()))


def told_of(facts: Mapping[str, Any]) -> Wishes | None:
    """Return what a fingerprint holds of the classes that a folder told, None where it is of an earlier version."""
    told = facts.get("told")
    if not isinstance(told, dict):
        return None
    return Wishes(**{name: _tuples(told.get(name)) for name in ("classes", "values", "ignore")})


def _tuples(item: Any) -> Any:
    return tuple(_tuples(part) for part in item) if isinstance(item, list) else item


def same_images(dataset: Dataset, facts: Mapping[str, Any]) -> bool:
    """Return whether at least half of the images that a fingerprint has checksums of are still what they were.

    Yes where it has none, as those of earlier versions: an image that was learnt from must not become one to score by.
    """
    samples = facts.get("samples")
    if not isinstance(samples, dict) or not samples:
        return True
    unchanged = sum(_is_unchanged(pair, samples[pair.name]) for pair in every(dataset) if pair.name in samples)
    return 2 * unchanged >= len(samples)


def _is_unchanged(pair: Pair, checksum: Any) -> bool:
    try:
        return _checksum(pair) == checksum
    except AtrousError:
        return False


def _checksum(pair: Pair) -> int:
    return zlib.crc32(np.ascontiguousarray(image_pixels(pair.image)).tobytes())


def _classes(space: LabelSpace, looks: Sequence[_Look], *, learnt: Sequence[_Look]) -> dict[str, Any]:
    pixels, images, _ = _counted(space, looks)
    own, _, among = _counted(space, learnt)
    total = max(1, int(pixels[: len(space)].sum()))
    classes = [
        {
            "name": name,
            "pixels": int(pixels[index]),
            "images": int(images[index]),
            "share": int(pixels[index]) / total,
            "learnt": int(own[index]),
            "among": int(among[index]),
        }
        for index, name in enumerate(space.names)
    ]
    return {"classes": classes, "ignore_pixels": int(pixels[IGNORE])}


def _counted(space: LabelSpace, looks: Sequence[_Look]) -> NDArray[np.int64]:
    """Return of each label its pixels, the images that hold it, and the pixels of any class in those: (3, 256)."""
    counted = np.zeros((3, 256), np.int64)
    for look in looks:
        counted[0, look.present] += look.counts
        counted[1, look.present] += 1
        counted[2, look.present] += look.counts[look.present < len(space)].sum()
    return counted


def spaced(items: Sequence[Pair], limit: int | None) -> list[Pair]:
    """Return up to `limit` items, evenly spaced from the first to the last; all of them without a limit."""
    if limit is None or len(items) <= limit:
        return list(items)
    return [items[index] for index in np.linspace(0, len(items) - 1, limit).round().astype(int)]


def _look(pair: Pair, dataset: Dataset, *, measure: bool) -> _Look:
    sample = read_sample(pair, dataset.space, instances=False)
    image = sample.image
    height, width, channels = image.shape
    counts = np.zeros(256, np.int64) if sample.labels is None else np.bincount(sample.labels.ravel(), minlength=256)
    present = np.flatnonzero(counts).astype(np.uint8)
    measured = None
    if measure:
        step = max(1, image.size // _SAMPLED)
        measured = (height * width, *_sums(image), image.reshape(-1)[::step].copy())
    return _Look((height, width), channels, str(image.dtype), present, counts[present], measured)


def _sums(image: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the sums of the values and of their squares per channel, taken a band of rows at a time."""
    total, squares = np.zeros(image.shape[2]), np.zeros(image.shape[2])
    rows = max(1, _BAND // image[0].size)
    for top in range(0, len(image), rows):
        values = image[top : top + rows].reshape(-1, image.shape[2]).astype(np.float64)
        total += values.sum(axis=0)
        squares += np.square(values).sum(axis=0)
    return total, squares


def _statistics(looks: list[_Look]) -> dict[str, Any]:
    """Return mean, std, low and high; grey images count in every channel of the others."""
    channels = max((look.channels for look in looks), default=0)
    pixels, total, squares, values = 0, np.zeros(channels), np.zeros(channels), []
    for look in looks:
        if look.measured is None or look.channels not in (1, channels):
            continue
        pixels += look.measured[0]
        total += look.measured[1]
        squares += look.measured[2]
        values.append(look.measured[3])
    if not pixels:
        return {"mean": [], "std": [], "low": 0.0, "high": 255.0}
    mean = total / pixels
    std = np.sqrt(np.maximum(squares / pixels - mean**2, 0))
    low, high = 0.0, 255.0
    if any(part.dtype != np.uint8 for part in values):
        low, high = (float(value) for value in np.percentile(np.concatenate(values).astype(np.float64), _PERCENTILES))
    return {"mean": mean.tolist(), "std": std.tolist(), "low": low, "high": high}


def identity(dataset: Dataset) -> str:
    """Return a hash of the names and file sizes of all pairs: the same for a copy of the folder elsewhere."""
    lines = []
    for pair in every(dataset):
        mask = path_of(pair.mask).stat().st_size if pair.mask is not None else 0
        lines.append(f"{pair.name}\t{path_of(pair.image).stat().st_size}\t{mask}")
    return sha256("\n".join(sorted(lines)).encode()).hexdigest()
