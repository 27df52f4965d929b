"""The verb that sets two evaluations side by side: compare."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from atrous.evaluation.report import Report
    from atrous.evaluation.versus import Versus

from atrous.verbs.mask_scoring import evaluate_masks
from atrous.verbs.reporting import Asked, reported, set_of, write_page

Progress = Callable[[int, int], None]
_SHOWN = 4


def compare(  # noqa: PLR0913  (a door: what decides the result has a name each)
    first: str | Path,
    second: str | Path,
    data: str | Path | None = None,
    *,
    labels: str | Path | None = None,
    split: str = "val",
    measures: str | Sequence[str] = (),
    resamples: int = 1000,
    html: str | Path | None = None,
    classes: Sequence[str] | None = None,
    ignore: Any = None,
    layout: str | None = None,
    masks: str | None = None,
    tta: bool = False,
    device: str | None = None,
    progress: Progress | None = None,
) -> Versus:
    """Compare two runs on labelled data, two folders of predicted masks, or two files that `evaluate --json` wrote.

    Runs, model folders and exported files are scored on `data`, as `evaluate` does; folders of masks are scored against
    `labels`, as `evaluate_masks` does; of two files neither is wanted. Images are paired by name, and the difference
    comes with the interval of a paired bootstrap and a sentence on whether it is significant. `html` is a file for a
    page with the differences per class and image, with measures side by side, all of them unless some are named.

    Raises `AtrousError` where classes, images or the true masks differ, and for what the evaluations refuse;
    `ValueError` for settings that cannot be.
    """
    from atrous.evaluation.versus import Versus
    from atrous.evaluation.versus_page import versus_page

    if resamples < 20:
        raise ValueError(f"resamples {resamples} came; 20 and more are accepted")
    asked = Asked(measures=measures, resamples=resamples, html=None if html is None else Path(html))
    asked.check()
    paths = Path(first), Path(second)
    shown: list[tuple[str, str]] = []
    if all(path.suffix.lower() == ".json" for path in paths):
        _refuse_more(data, labels)
        sides = [_stored(path) for path in paths]
        names, counts = [side.name for side in sides], [side.per_image for side in sides]
        documents = [side.document for side in sides]
        versus = Versus.of(*counts, names=_named(names, paths), resamples=resamples)
    else:
        reading = {"split": split, "ignore": ignore, "layout": layout, "masks": masks}
        around = {"tta": tta, "device": device}
        _refuse_unclear(data, labels)
        if labels is not None:
            both = _of_masks(paths, labels, asked, split=split, classes=classes, ignore=ignore, progress=progress)
        else:
            both = _of_models(paths, data or "", asked, reading=reading, around=around, progress=progress)
        names = [report.name for report in both]
        first_counts, second_counts = (report.per_image for report in both)
        versus = Versus.of(first_counts, second_counts, names=_named(names, paths), resamples=resamples)
        documents = [] if asked.html is None else [report.as_json() for report in both]
        if asked.html is not None and data is not None:
            shown = _pictures(versus, paths, data, reading=reading, around=around)
    if asked.html is not None:
        write_page(asked.html, versus_page(versus, documents, shown=shown))
    return versus


def _refuse_more(data: Any, labels: Any) -> None:
    given = [name for name, value in (("data", data), ("labels", labels)) if value is not None]
    if given:
        raise ValueError(f"{given[0]} came with two JSON files, which hold their scores already; leave it out")


def _stored(path: Path) -> Any:
    from atrous.evaluation.report import stored
    from atrous.store import read_json

    return stored(read_json(path), path)


def _named(names: Sequence[str], paths: Sequence[Path]) -> tuple[str, str]:
    """Return two names that differ where the paths do: the last of several folders, or more of them."""
    if names[0] != names[1] or paths[0] == paths[1]:
        return names[0], names[1]
    for depth in range(2, max(len(path.parts) for path in paths) + 1):
        first, second = ("/".join(path.parts[-depth:]) for path in paths)
        if first != second:
            return first, second
    return names[0], names[1]


def _refuse_unclear(data: Any, labels: Any) -> None:
    if (data is None) == (labels is None):
        came = "neither data nor labels" if data is None else "both data and labels"
        raise ValueError(
            f"{came} came; two runs are compared on DATA, two folders of masks with --labels DIR, and two JSON files "
            "of `evaluate --json` without either"
        )


def _of_masks(
    paths: Sequence[Path], labels: str | Path, asked: Asked, *, progress: Progress | None, **settings: Any
) -> list[Report]:
    """Return the reports of two folders of masks, without pages of their own."""
    shared = {**settings, "measures": asked.named, "resamples": asked.resamples}
    return [evaluate_masks(path, labels, progress=_part(progress, index), **shared) for index, path in enumerate(paths)]


def _of_models(
    paths: Sequence[Path],
    data: str | Path,
    asked: Asked,
    *,
    reading: dict[str, Any],
    around: dict[str, Any],
    progress: Progress | None,
) -> list[Report]:
    """Return the reports of two models, without pages of their own."""
    plain = replace(asked, measures=asked.named, html=None)
    return [
        reported(path, data, plain, around=around, reading=reading, progress=_part(progress, index))
        for index, path in enumerate(paths)
    ]


def _part(progress: Progress | None, index: int) -> Progress | None:
    """Return a progress of one of two passes over the images, told as a part of both."""
    if progress is None:
        return None
    return lambda done, total: progress(index * total + done, 2 * total)


def _pictures(
    versus: Versus, paths: Sequence[Path], data: str | Path, *, reading: dict[str, Any], around: dict[str, Any]
) -> list[tuple[str, str]]:
    """Return pictures of the images that gained and lost most, which are predicted once more."""
    from atrous.runs.measuring import answers
    from atrous.verbs.opening import opened
    from atrous.verbs.refined_page import beside

    gains = versus.gains
    moved = [row for row in (*gains[:_SHOWN], *gains[::-1][:_SHOWN]) if row[1] != row[2]]
    rows = {name: (one, two) for name, one, two in moved}
    sides = []
    for path in paths:
        found = set_of(path, data, **reading)
        wanted = {pair.name: pair for pair in found.pairs if pair.name in rows}
        scorer = opened(path, **around).scorer
        sides.append({answer.name: answer for answer in answers(scorer, list(wanted.values()), found.space)})
    space = versus.first.space
    return [
        (
            f"{name}: {100 * one:.2f} to {100 * two:.2f} ({100 * (two - one):+.2f})",
            beside(sides[0][name], sides[1][name], space, names=versus.names),
        )
        for name, (one, two) in rows.items()
    ]
