"""The verb that scores masks of any tool: evaluate_masks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from atrous.contract import Colour
    from atrous.evaluation.report import Report

from atrous.verbs.about import about_masks
from atrous.verbs.asked import Asked
from atrous.verbs.reporting import report_of, write


def evaluate_masks(  # noqa: PLR0913  (a door: what decides the result has a name each)
    predictions: str | Path,
    labels: str | Path,
    *,
    split: str | None = None,
    classes: Sequence[str] | None = None,
    ignore: int | Colour | None = None,
    measures: str | Sequence[str] = (),
    objects: bool = False,
    sequence: bool = False,
    void: bool = False,
    foreground: bool | None = None,
    resamples: int = 1000,
    block: int = 1,
    html: str | Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Report:
    """Score the masks in one folder, which any program may have made, against those in another.

    They are paired by name: first below their folders, then without endings such as `_pred`, `_mask` or
    `_gtFine_labelIds`, then without folders. Either side is any form of mask that `inspect` reads. `labels` may be a
    dataset, such as that of VOC or Cityscapes, of which `split` is taken, "val" without it. `classes` names the classes
    in the order of the values, `ignore` is what masks hold where nothing counts; the rest is `evaluate`'s.

    Raises `AtrousError` for labels without prediction, names that fit several, sizes that differ, masks that cannot be
    read and values that mean no class; `ValueError` for settings that cannot be.
    """
    from atrous.data import Pair
    from atrous.runs.mask_folders import mask_folders
    from atrous.runs.measuring import mask_answers

    asked = Asked(
        measures=measures,
        objects=objects,
        sequence=sequence,
        void=void,
        foreground=foreground,
        resamples=resamples,
        block=block,
        html=None if html is None else Path(html),
    )
    asked.check()
    folders = mask_folders(Path(predictions), Path(labels), split=split, classes=classes, ignore=ignore)
    truths = [Pair(pair.name, pair.truth, pair.truth) for pair in folders.pairs]
    numbered = folders.space.encoding == "instances"
    wished = asked.wished(truths, folders.counted, numbered=numbered, probabilities=False)
    about = about_masks(predictions, labels, folders, wished)
    total = len(folders.pairs)
    report = report_of(
        mask_answers(folders), folders.counted, asked, wished, about=about, total=total, progress=progress
    )
    write(report, asked.html)
    return report
