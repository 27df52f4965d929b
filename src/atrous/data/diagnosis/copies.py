"""Images that are the same, or nearly: copies that were compressed, resized, brightened or mirrored."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from hashlib import blake2b
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

_SIDE = 24
_SMALLEST = 16
_MOST = 4_000_000
_FLAT = 2.0  # of 255: a thumbnail that varies less shows nothing
_DETAIL_FLAT = 0.4
_ALIKE = 0.985  # correlation of thumbnails
_DETAIL_ALIKE = 0.9  # and of what is left of them without their smooth shading
_COPIED = 0.985  # details of a copy beyond doubt; measured: 0.979 at most for two scans of one kind, copies 0.99
_OF_A_KIND = 3  # a grey image that is like so many others shows what they all show
_LIKE = 0.75
_BANDS = 5
_RIM = 3
_AT_ONCE = 4096
_CROWDED = 4096  # as many images in a bucket have nothing in common but that they are dark


def digest(image: NDArray[Any]) -> bytes | None:
    """Return a hash of the pixels; None of an image of one value, which says nothing."""
    first = image.reshape(-1)[0]
    if (image == first).all():
        return None
    return hashed(image)


def hashed(array: NDArray[Any]) -> bytes:
    """Return a hash of an array, its shape and its depth."""
    state = blake2b(f"{array.shape} {array.dtype}".encode(), digest_size=16)
    state.update(np.ascontiguousarray(array).data)
    return state.digest()


def is_grey(image: NDArray[Any]) -> bool:
    """Say whether an image (h, w, c) has one channel, or three that are equal."""
    first = image[..., :1]
    return image.shape[2] == 1 or (image.shape[2] == 3 and bool((image[::8] == first[::8]).all()))


def grey_of(image: NDArray[Any]) -> NDArray[np.float32] | None:
    """Return (h, w), the mean of up to three channels, 0 to 255; None where a value is not finite.

    Other depths are stretched from their lowest to their highest value. Of more than 4 million pixels only every
    second or so is there.
    """
    step = max(1, int((image.shape[0] * image.shape[1] / _MOST) ** 0.5))
    part = image[::step, ::step, :3]
    grey: NDArray[Any] = part[..., 0].astype(np.float32 if image.dtype == np.uint8 else np.float64)
    for channel in range(1, part.shape[2]):  # three additions are ten times faster than a mean over the last axis
        grey += part[..., channel]
    if image.dtype == np.uint8:
        return np.asarray(grey / part.shape[2], np.float32)
    low, high = grey.min(), grey.max()
    if not np.isfinite([low, high]).all():
        return None
    return ((grey - low) * (255 / (high - low or 1))).astype(np.float32)


def thumbnail(image: NDArray[Any]) -> bytes | None:
    """Return 24 x 24 grey bytes, stretched to the same mean and contrast; None where there is too little to see."""
    import cv2

    if min(image.shape[:2]) < _SMALLEST:
        return None
    grey = grey_of(image)
    if grey is None:
        return None
    small = cv2.resize(grey, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
    spread = float(small.std())
    if spread < _FLAT or _detail(small).std() < _DETAIL_FLAT:
        return None
    return np.clip((small - small.mean()) / spread * 32 + 128, 0, 255).round().astype(np.uint8).tobytes()


def _detail(small: NDArray[np.float32]) -> NDArray[np.float32]:
    import cv2

    detail = small - np.asarray(cv2.blur(small, (5, 5)), np.float32)
    return detail[_RIM:-_RIM, _RIM:-_RIM]  # at its rim a blur mirrors, which leaves shading in


def identical(digests: Sequence[bytes | None]) -> list[list[int]]:
    """Return the groups of two or more indices that share a digest."""
    groups: dict[bytes, list[int]] = defaultdict(list)
    for index, value in enumerate(digests):
        if value is not None:
            groups[value].append(index)
    return [group for group in groups.values() if len(group) > 1]


def near_copies(
    thumbnails: Sequence[bytes | None], splits: Sequence[str], greys: Sequence[bool] = ()
) -> dict[int, tuple[int, bool]]:
    """Return {index: (index of the image it copies, whether mirrored)} of images nearly equal to one of another split.

    The one that is copied belongs to the earlier split, in the order train, val, test. Candidates share 16 signs of
    low frequencies, so nothing is compared with everything; those are compared by their thumbnails, with and without
    their smooth shading. Of `greys`, such as scans of one organ, those that are like three or more images of the other
    split must agree more closely.
    """
    known = [index for index, value in enumerate(thumbnails) if value is not None]
    parts = sorted({splits[index] for index in known}, key=("train", "val", "test").index)
    if len(parts) < 2:
        return {}
    pixels = np.frombuffer(b"".join(thumbnails[index] or b"" for index in known), np.uint8).reshape(-1, _SIDE, _SIDE)
    members = {part: np.array([row for row, index in enumerate(known) if splits[index] == part]) for part in parts}
    found: dict[int, tuple[int, bool]] = {}
    for earlier, later in combinations(parts, 2):
        for mirrored in (False, True):
            for first, second in _matches(pixels, members[earlier], members[later], mirrored=mirrored):
                grey = bool(greys) and greys[known[second]]
                if not grey or _copy_of_its_own(pixels, first, second, members[earlier], mirrored=mirrored):
                    found.setdefault(known[second], (known[first], mirrored))
    return found


def nearly_equal(first: bytes, second: bytes, *, mirrored: bool = False) -> bool:
    """Say whether two thumbnails agree down to their details, so that nothing but a copy can be meant."""
    pair = [np.frombuffer(each, np.uint8).reshape(1, _SIDE, _SIDE) for each in (first, second)]
    other = pair[1][:, :, ::-1] if mirrored else pair[1]
    return bool(_likeness(pair[0], other, details=_COPIED)[0, 0] > _ALIKE)


def _copy_of_its_own(
    pixels: NDArray[np.uint8], first: int, second: int, others: NDArray[np.int64], *, mirrored: bool
) -> bool:
    """Say whether a grey image agrees with another beyond doubt, or with hardly any but this one."""
    if nearly_equal(pixels[first].tobytes(), pixels[second].tobytes(), mirrored=mirrored):
        return True
    seen = pixels[second][None, :, ::-1] if mirrored else pixels[second][None]
    return int((_likeness(pixels[others[:_AT_ONCE]], seen, details=_LIKE) > 0).sum()) < _OF_A_KIND


def _matches(
    pixels: NDArray[np.uint8], earlier: NDArray[np.int64], later: NDArray[np.int64], *, mirrored: bool
) -> Iterator[tuple[int, int]]:
    seen = pixels[later][:, :, ::-1] if mirrored else pixels[later]
    keys, wanted = _signs(pixels[earlier]), _signs(seen)
    done: set[int] = set()
    for band in range(_BANDS):
        for ours, theirs in _buckets(keys[:, band], wanted[:, band]):
            rows = [row for row in theirs if row not in done]
            if not rows or len(ours) * len(rows) > _CROWDED**2:
                continue
            scores = _likeness(pixels[earlier[ours]], seen[rows])
            best = scores.argmax(axis=0)
            for row, column in enumerate(rows):
                if scores[best[row], row] > _ALIKE:
                    done.add(column)
                    yield int(earlier[ours[best[row]]]), int(later[column])


def _buckets(keys: NDArray[np.uint16], wanted: NDArray[np.uint16]) -> Iterator[tuple[list[int], list[int]]]:
    buckets: dict[int, list[int]] = defaultdict(list)
    for row, key in enumerate(keys.tolist()):
        buckets[key].append(row)
    asked: dict[int, list[int]] = defaultdict(list)
    for row, key in enumerate(wanted.tolist()):
        if key in buckets:
            asked[key].append(row)
    for key, rows in asked.items():
        yield buckets[key], rows


def _signs(pixels: NDArray[np.uint8]) -> NDArray[np.uint16]:
    """Return (n, bands) numbers made of the signs of the lowest frequencies, 16 to a band, the lowest first."""
    waves = _cosines()
    order = sorted((row + column, row, column) for row in range(12) for column in range(12))[1 : 1 + 16 * _BANDS]
    _, rows, columns = np.array(order).T
    numbers = []
    for start in range(0, len(pixels), _AT_ONCE):
        some = pixels[start : start + _AT_ONCE].astype(np.float32) - 128
        coefficients = (waves @ some @ waves.T)[:, rows, columns]
        bits = (coefficients > 0).reshape(-1, _BANDS, 16)
        numbers.append((bits * (1 << np.arange(16))).sum(axis=2).astype(np.uint16))
    return np.concatenate(numbers)


def _cosines() -> NDArray[np.float32]:
    places, frequencies = np.arange(_SIDE) + 0.5, np.arange(12)
    return np.cos(np.pi / _SIDE * frequencies[:, None] * places).astype(np.float32)


def _likeness(
    first: NDArray[np.uint8], second: NDArray[np.uint8], *, details: float = _DETAIL_ALIKE
) -> NDArray[np.float32]:
    """Return the correlations (n, m) of thumbnails, 0 where those of their details are no more than `details`."""
    whole = _unit(first.astype(np.float32)) @ _unit(second.astype(np.float32)).T
    alike = _unit(_details(first)) @ _unit(_details(second)).T
    return np.where(alike > details, whole, np.float32(0))


def _details(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    return np.stack([_detail(each.astype(np.float32)) for each in pixels])


def _unit(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    flat = pixels.reshape(len(pixels), -1)
    flat = flat - flat.mean(axis=1, keepdims=True)
    return np.asarray(flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-6), np.float32)
