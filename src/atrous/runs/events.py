"""What happens in a run: a note, a step, an epoch."""

from __future__ import annotations

from dataclasses import dataclass

from atrous.evaluation import Scores
from atrous.training import Step


@dataclass(frozen=True, kw_only=True)
class Note:
    """A line worth telling the user; a `warning` says that something is not as it should be."""

    text: str
    warning: bool = False


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """An epoch that is done: its number from 1, mean loss, images per second, and scores on `val` where it has them.

    `waited` is the share of the time that went by before crops were there.
    """

    epoch: int
    epochs: int
    loss: float
    images_per_second: float
    scores: Scores | None
    best: bool
    waited: float = 0.0


Event = Note | Step | Epoch
