"""The worst and the best images of a set, as small pictures of image, truth, prediction and errors.

Only what may be shown in the end is drawn: a picture is made when an image is among the worst or the best so far.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from html import escape
from math import isnan
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atrous.contract import IGNORE, LabelSpace
from atrous.draw import colourise, displayed, overlay
from atrous.pages import picture

_SHOWN = 6
_WIDTH, _NARROW = 236, 158
_STRENGTH = 0.55


@dataclass(frozen=True, kw_only=True)
class Shown:
    """An image in the page: its name, its score, 0..1, and its pictures as HTML."""

    name: str
    score: float
    html: str


@dataclass(kw_only=True)
class Gallery:
    """Up to `limit` of the worst and of the best images that were offered; it changes as images come.

    >>> gallery = Gallery(space=LabelSpace(names=("a", "b")), limit=1)
    >>> labels = np.zeros((4, 4), np.uint8)
    >>> for name, score in (("x", 0.3), ("y", 0.9), ("z", 0.5)):
    ...     gallery.offer(name, score, labels, labels, image=None)
    >>> [shown.name for shown in gallery.worst], [shown.name for shown in gallery.best]
    (['x'], ['y'])
    """

    space: LabelSpace
    limit: int = _SHOWN
    worst: list[Shown] = field(default_factory=list)
    best: list[Shown] = field(default_factory=list)

    def offer(
        self,
        name: str,
        score: float,
        truth: NDArray[np.uint8],
        labels: NDArray[np.uint8],
        *,
        image: NDArray[Any] | None,
    ) -> None:
        """Keep an image where its score is among the lowest or the highest; NaN is neither.

        `truth` and `labels` are (h, w) uint8, `image` is what `draw.displayed` takes, None where there is none.
        """
        lists = [(self.worst, score), (self.best, -score)]
        wanted = [kept for kept, rank in lists if len(kept) < self.limit or rank < self._last(kept)]
        if isnan(score) or not wanted:
            return
        shown = Shown(name=name, score=score, html=pictures(truth, labels, self.space, image=image))
        for kept in wanted:
            kept.append(shown)
            kept.sort(key=lambda each: each.score, reverse=kept is self.best)
            del kept[self.limit :]

    def _last(self, kept: list[Shown]) -> float:
        return -kept[-1].score if kept is self.best else kept[-1].score


def pictures(
    truth: NDArray[np.uint8],
    labels: NDArray[np.uint8],
    space: LabelSpace,
    *,
    image: NDArray[Any] | None,
    name: str = "prediction",
    other: NDArray[np.uint8] | None = None,
    other_name: str = "other",
) -> str:
    """Return image, truth, prediction and errors of one image as HTML; without an image, flat colours.

    Errors are red, right pixels as grey as the image, and ignored ones black. `other` is a second prediction, shown
    beside the first with its errors.
    """
    found = [(name, labels), *([] if other is None else [(other_name, other)])]
    width = _WIDTH if other is None else _NARROW
    if image is None:
        flat = [(title, colourise(each, space)) for title, each in (("truth", truth), *found)]
        flat += [(f"errors {title}", errors(truth, each)) for title, each in found]
        return "".join(picture(title, pixels, width=width, labels=True) for title, pixels in flat)
    photo = displayed(image)
    sides = [("image", photo)]
    sides += [
        (title, overlay(photo, _clear(each, space), space, strength=_STRENGTH, legend=False))
        for title, each in (("truth", truth), *found)
    ]
    sides += [(f"errors {title}", errors(truth, each, image=photo)) for title, each in found]
    return "".join(picture(title, pixels, width=width) for title, pixels in sides)


def errors(
    truth: NDArray[np.uint8], labels: NDArray[np.uint8], *, image: NDArray[np.uint8] | None = None
) -> NDArray[np.uint8]:
    """Return (h, w, 3) uint8: wrong pixels red, right ones grey, ignored ones black; `image` (h, w, 3) shines through.

    >>> errors(np.uint8([[0, 1, 255]]), np.uint8([[0, 0, 0]]))[0].tolist()
    [[170, 170, 170], [214, 39, 40], [0, 0, 0]]
    """
    if image is None:
        base = np.full((*truth.shape, 3), 170.0)
    else:
        base = np.repeat(90 + 0.5 * image.mean(2, keepdims=True), 3, axis=2)
    wrong = (truth != labels) & (truth != IGNORE)
    shine = 0.0 if image is None else 0.25
    base[wrong] = (1 - shine) * np.array([214.0, 39.0, 40.0]) + shine * base[wrong]
    base[truth == IGNORE] *= 0.0 if image is None else 0.3
    return base.round().astype(np.uint8)


def figure(shown: Shown) -> str:
    """Return one image of the page with its caption, its name escaped."""
    caption = f"{escape(shown.name)} <b>{100 * shown.score:.2f}</b>"
    return f"<figure><figcaption>{caption}</figcaption><div>{shown.html}</div></figure>"


def _clear(labels: NDArray[np.uint8], space: LabelSpace) -> NDArray[np.uint8]:
    """Return labels with the background ignored, so that the image can be seen there."""
    ground = len(space) > 1 and space.names[0].casefold().strip("_ ") == "background"
    return np.where(labels == 0, np.uint8(IGNORE), labels) if ground else labels
