"""What a plan looks at in a dataset's fingerprint."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median
from typing import Any

from atrous.contract import AtrousError

_LEARNABLE = 3
"""In how many training images a class must be before anything is done for its sake."""
_ALIKE = 0.01
"""By what share channels may differ in mean and deviation and still be one, stored several times."""


@dataclass(frozen=True, kw_only=True)
class Data:
    """A dataset in the numbers that a plan hangs on.

    `channels` is 1 also where grey is stored in several, and `objects` says whether masks number them. `size` is the
    median (height, width); `shares` are of the pixels that count, one per class, 0 for one never seen;
    `rarest` is the rarest class that at least 3 images show, and `middle` the median share over those. `within` are the
    classes' shares of the images that hold them, and `hidden` is the smallest of those classes there.
    """

    train: int
    val: int
    size: tuple[int, int]
    channels: int
    objects: bool
    dtype: str
    names: tuple[str, ...]
    shares: tuple[float, ...]
    within: tuple[float, ...]
    rarest: int
    hidden: int
    middle: float

    @property
    def pixels(self) -> int:
        """The pixels of a median image."""
        return self.size[0] * self.size[1]

    @property
    def is_scanned(self) -> bool:
        """Whether images are of one channel or deeper than 8 bits, as an instrument's are: their scale is known."""
        return self.channels == 1 or self.dtype != "uint8"

    @property
    def unseen(self) -> tuple[str, ...]:
        """The classes of which there is no pixel."""
        return tuple(name for name, share in zip(self.names, self.shares, strict=True) if not share)


def looked_at(facts: Mapping[str, Any]) -> Data:
    """Return the numbers of a fingerprint.

    Raises `AtrousError` where it has no training images, sizes or classes.
    """
    splits = facts.get("splits") or {}
    train = splits.get("train", 0 if splits else facts.get("count", 0))
    sizes: list[int] = (facts.get("sizes") or {}).get("median") or []
    classes = facts.get("classes") or []
    for name, there in (("training images", train), ("sizes of images", sizes), ("classes", classes)):
        if not there:
            raise AtrousError(f"the data's fingerprint has no {name}, and a plan is made of them")
    shares, within = _shares(classes), _within(classes, facts.get("count") or train)
    common = [index for index, each in enumerate(classes) if (each.get("images") or 0) >= _LEARNABLE and shares[index]]
    common = common or [index for index, share in enumerate(shares) if share] or [0]
    return Data(
        train=train,
        val=splits.get("val", 0),
        size=(max(1, int(sizes[0])), max(1, int(sizes[1]))),
        channels=1 if _is_grey(facts) else max(facts.get("channels") or [3]),
        objects=facts.get("labels") == "instances",
        dtype=(facts.get("dtypes") or ["uint8"])[-1],
        names=tuple(str(each.get("name", index)) for index, each in enumerate(classes)),
        shares=shares,
        within=within,
        rarest=min(common, key=lambda index: shares[index]),
        hidden=min(common, key=lambda index: within[index]),
        middle=median(shares[index] for index in common),
    )


def _is_grey(facts: Mapping[str, Any]) -> bool:
    """Return whether the channels but for a fourth, which is opaqueness, hold the same."""
    channels = set(facts.get("channels") or [3])
    colours = [(facts.get(name) or [])[:3] for name in ("mean", "std")]
    if not channels <= {1, 3, 4} or any(len(values) != 3 for values in colours):
        return False
    return all(max(values) - min(values) <= _ALIKE * max(values) for values in colours)


def _shares(classes: list[dict[str, Any]]) -> tuple[float, ...]:
    """Return the classes' shares of the training pixels, or of all where a fingerprint has not counted those."""
    learnt = [each.get("learnt") or 0 for each in classes]
    if any(learnt):
        return tuple(count / sum(learnt) for count in learnt)
    return tuple(float(each.get("share") or 0) for each in classes)


def _within(classes: list[dict[str, Any]], count: int) -> tuple[float, ...]:
    """Return each class's share of the images that hold it; images count as of one size without `among`."""
    if any(each.get("among") for each in classes):
        return tuple((each.get("learnt") or 0) / (each.get("among") or 1) for each in classes)
    return tuple(min(1.0, (each.get("share") or 0) * count / (each.get("images") or count)) for each in classes)
