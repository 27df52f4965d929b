"""What an evaluation came to, with all that a reader must know to believe it: what was scored, on what, and how."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from atrous.contract import AtrousError, LabelSpace
from atrous.evaluation.bootstrap import Intervals
from atrous.evaluation.dependence import frames_note
from atrous.evaluation.evaluation import Evaluation
from atrous.evaluation.gallery import Gallery
from atrous.evaluation.per_image import PerImage
from atrous.evaluation.scores import Scores
from atrous.evaluation.sizes import RegionSizes

FORMAT = 1
RESAMPLES = 1000
NO_CLASS = "(no class)"
"""What a predicted pixel of no class is counted as: it is wrong where the truth has a class."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Report:
    """Every measure of a set, and `about`: the model, the data, the split, the settings and the versions.

    `resamples` is how many bootstrap samples the intervals are of, `block` how many neighbouring images are drawn
    together, `void` whether the means with void as false positive are printed too. `sizes`, `gallery` and `curves` (the
    lines of the run's log) are for the page, None and empty where they were not asked for.
    """

    evaluation: Evaluation
    about: Mapping[str, Any]
    resamples: int = RESAMPLES
    block: int = 1
    void: bool = False
    sizes: RegionSizes | None = None
    gallery: Gallery | None = None
    curves: Sequence[Mapping[str, Any]] = ()

    @property
    def scores(self) -> Scores:
        """The scores of the one confusion matrix."""
        return self.evaluation.scores

    @property
    def per_image(self) -> PerImage:
        """The counts of every image."""
        return self.evaluation.per_image

    @property
    def mean_iou(self) -> float:
        """The mean IoU, 0..1, as `scores` has it."""
        return self.scores.mean_iou

    @property
    def name(self) -> str:
        """What was scored, in one word: the model's folder or the predictions'."""
        return Path(str(self.about.get("model") or self.about.get("predictions") or "predictions")).name

    @cached_property
    def intervals(self) -> Intervals | None:
        """The bootstrap intervals over images; None where there is one image only, or no resamples are wanted."""
        if len(self.per_image) < 2 or not self.resamples:
            return None
        found = self.evaluation.intervals(resamples=self.resamples, block=self.block)
        note = frames_note(self.per_image.names, self.block)
        return found if found is None or found.note else replace(found, note=note)

    def as_json(self) -> dict[str, Any]:
        """Return everything as plain JSON values, the definitions included; NaN becomes None.

        The keys of `Scores` are at the top; `per_image` holds the counts that `compare` pairs runs with.
        """
        parts = self.evaluation.as_json()
        parts["intervals"] = None if self.intervals is None else self.intervals.as_json()
        sizes = {} if self.sizes is None else {"sizes": self.sizes.as_json()}
        return {"format": FORMAT, **parts, **sizes, "about": dict(self.about)}

    def as_text(self) -> str:
        """Return the tables, mean IoU first, each figure with its definition, then the intervals and the settings."""
        parts = [self.scores.as_text(void=self.void), self.per_image.as_text()]
        if self.intervals is not None:
            parts.append(self.intervals.as_text())
        elif len(self.per_image) < 2:
            parts.append(ONE_IMAGE)
        parts += [getattr(self.evaluation, name).as_text() for name in self.evaluation.measures]
        if self.sizes is not None:
            parts.append(self.sizes.as_text())
        return "\n\n".join([*parts, *([note] if (note := "\n".join(self.about.get("notes", ()))) else [])])


ONE_IMAGE = "one image: there is no interval, since nothing says how other images would do"


@dataclass(frozen=True, kw_only=True, eq=False)
class Stored:
    """What `compare` reads of a file that `evaluate --json` wrote."""

    name: str
    per_image: PerImage
    document: Mapping[str, Any]


def stored(document: Any, path: Path) -> Stored:
    """Return what a JSON document of `Report.as_json` says; raises `AtrousError` where it is not such a one."""
    if not isinstance(document, dict) or not isinstance(document.get("per_image"), dict):
        raise AtrousError(
            f"{path}: holds no counts per image; give a file that `atrous evaluate RUN DATA --json` has printed"
        )
    if document.get("format", 0) > FORMAT:
        raise AtrousError(f"{path}: format {document['format']}; this version reads up to {FORMAT}: update atrous")
    try:
        names = tuple(str(entry["name"]) for entry in document["classes"])
        space = LabelSpace(names=names)
    except (KeyError, TypeError, ValueError) as error:
        raise AtrousError(f"{path}: the classes cannot be read; evaluate the run again with this version") from error
    try:
        per_image = PerImage.from_json(document["per_image"], space)
    except AtrousError as error:
        raise AtrousError(f"{path}: {error}") from error
    return Stored(name=path.stem, per_image=per_image, document=document)
