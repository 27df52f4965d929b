"""The verb that sets two evaluations side by side: compare."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from atrous.evaluation import PerImage
    from atrous.evaluation.report import Report
    from atrous.evaluation.versus import Versus
    from atrous.prediction import Refiner

from atrous.verbs.asked import Asked
from atrous.verbs.mask_scoring import evaluate_masks
from atrous.verbs.reporting import reported, write_page

Progress = Callable[[int, int], None]
_SHOWN = 4


def compare(  # noqa: PLR0913  (a door: what decides the result has a name each)
    first: str | Path,
    second: str | Path,
    data: str | Path | None = None,
    *,
    labels: str | Path | None = None,
    split: str | None = None,
    measures: str | Sequence[str] = (),
    sequence: bool = False,
    resamples: int = 1000,
    block: int = 1,
    html: str | Path | None = None,
    classes: Sequence[str] | None = None,
    ignore: Any = None,
    layout: str | None = None,
    masks: str | None = None,
    crf: bool | str | Path | Refiner = False,
    tta: bool = False,
    scales: Sequence[float] | None = None,
    window: int | tuple[int, int] | None = None,
    overlap: float | None = None,
    device: str | None = None,
    progress: Progress | None = None,
) -> Versus:
    """Compare two runs on labelled data, two folders of predicted masks, or two files that `evaluate --json` wrote.

    Runs, model folders and exported files are scored on `data`, as `evaluate` does, both with the same `crf`, `tta`,
    `scales`, `window` and `overlap`: with `crf` both are scored refined. Folders of masks are scored against `labels`,
    as `evaluate_masks` does; of two files neither is wanted. Images are paired by name, and the difference comes with
    the interval of a paired bootstrap and a sentence on whether it is significant. `html` is a file for a page with the
    differences per class and image, with measures side by side, all of them unless some are named.

    Raises `AtrousError` where classes, images or the true masks differ, and for what the evaluations refuse;
    `ValueError` for settings that cannot be.
    """
    if resamples < 20:
        raise ValueError(f"resamples {resamples} came; 20 and more are accepted")
    page = None if html is None else Path(html)
    asked = Asked(measures=measures, sequence=sequence, resamples=resamples, block=block, html=page)
    asked.check()
    paths = Path(first), Path(second)
    around = {"crf": crf, "tta": tta, "scales": scales, "window": window, "overlap": overlap, "device": device}
    _refuse_unclear(paths, data, labels, around)
    reading = {"split": split, "ignore": ignore, "layout": layout, "masks": masks}
    if _are_files(paths):
        return _of_files(paths, asked)
    if labels is not None:
        chosen = {"split": split, "classes": classes, "ignore": ignore}
        return _written(_of_masks(paths, labels, asked, progress=progress, **chosen), paths, asked)
    scored = {"reading": reading, "around": around}
    reports = _of_models(paths, data or "", asked, progress=progress, **scored)
    return _written(reports, paths, asked, shown=lambda versus: _pictures(versus, paths, data or "", **scored))


def _are_files(paths: Sequence[Path]) -> bool:
    return all(path.suffix.lower() == ".json" for path in paths)


def _of_files(paths: Sequence[Path], asked: Asked) -> Versus:
    """Return the comparison of two stored evaluations, and write its page where one was asked for."""
    from atrous.evaluation.report import stored
    from atrous.store import read_json

    sides = [stored(read_json(path), path) for path in paths]
    counts, names = [side.per_image for side in sides], [side.name for side in sides]
    return _versus(counts, names, paths, asked, documents=[side.document for side in sides])


def _written(
    reports: Sequence[Report],
    paths: Sequence[Path],
    asked: Asked,
    *,
    shown: Callable[[Versus], list[tuple[str, str]]] | None = None,
) -> Versus:
    """Return the comparison of two reports, and write its page where one was asked for; `shown` makes its pictures."""
    documents = [] if asked.html is None else [report.as_json() for report in reports]
    counts, names = [report.per_image for report in reports], [report.name for report in reports]
    return _versus(counts, names, paths, asked, documents=documents, shown=shown)


def _versus(
    counts: Sequence[PerImage],
    names: Sequence[str],
    paths: Sequence[Path],
    asked: Asked,
    *,
    documents: Sequence[Mapping[str, Any]],
    shown: Callable[[Versus], list[tuple[str, str]]] | None = None,
) -> Versus:
    from atrous.evaluation.versus import Versus
    from atrous.evaluation.versus_page import versus_page

    first, second = counts
    draws = {"resamples": asked.resamples, "block": asked.block}
    versus = Versus.of(first, second, names=_named(names, paths), **draws)
    if asked.html is not None:
        pictures = () if shown is None else shown(versus)
        write_page(asked.html, versus_page(versus, documents, shown=pictures))
    return versus


def _named(names: Sequence[str], paths: Sequence[Path]) -> tuple[str, str]:
    """Return two names that differ where the paths do: the last of several folders, or more of them."""
    if names[0] != names[1] or paths[0] == paths[1]:
        return names[0], names[1]
    for depth in range(2, max(len(path.parts) for path in paths) + 1):
        first, second = ("/".join(path.parts[-depth:]) for path in paths)
        if first != second:
            return first, second
    return names[0], names[1]


def _refuse_unclear(paths: Sequence[Path], data: Any, labels: Any, around: Mapping[str, Any]) -> None:
    """Raise `ValueError` where it is not clear what is compared, or a setting is not for it."""
    given = [name for name, value in (("data", data), ("labels", labels)) if value is not None]
    if _are_files(paths):
        if given:
            raise ValueError(f"{given[0]} came with two JSON files, which hold their scores already; leave it out")
    elif len(given) != 1:
        came = "both data and labels" if given else "neither data nor labels"
        raise ValueError(
            f"{came} came; two runs are compared on DATA, two folders of masks with --labels DIR, and two JSON files "
            "of `evaluate --json` without either"
        )
    spare = [name for name, value in around.items() if value not in (None, False) and data is None]
    if spare:
        raise ValueError(f"{spare[0]} came without data; it is for models, and what is scored already stays as it is")


def _of_masks(
    paths: Sequence[Path], labels: str | Path, asked: Asked, *, progress: Progress | None, **settings: Any
) -> list[Report]:
    """Return the reports of two folders of masks, without pages of their own."""
    shared = {**settings, "measures": asked.named, "sequence": asked.sequence, "resamples": asked.resamples}
    shared |= {"block": asked.block}
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
    from atrous.verbs.labelled import labelled
    from atrous.verbs.opening import opened
    from atrous.verbs.refined_page import beside

    gains = versus.gains
    moved = [row for row in (*gains[:_SHOWN], *gains[::-1][:_SHOWN]) if row[1] != row[2]]
    rows = {name: (one, two) for name, one, two in moved}
    sides = []
    for path in paths:
        found = labelled(path, data, **reading)
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
