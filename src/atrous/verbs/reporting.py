"""How an evaluation is done and written down: a model's or a tool's answers, measured, in a report and on a page."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from atrous.contract import LabelSpace
    from atrous.evaluation import Comparison
    from atrous.evaluation.report import Report
    from atrous.runs.measuring import Answer, Wished
    from atrous.verbs.asked import Asked
    from atrous.verbs.labelled import Labelled
    from atrous.verbs.opening import Opened

Progress = Callable[[int, int], None]


def reported(
    model: Any,
    data: str | Path,
    asked: Asked,
    *,
    around: Mapping[str, Any],
    reading: Mapping[str, Any],
    progress: Progress | None = None,
) -> Report:
    """Score a model on a folder, and write the page where one was asked for."""
    from atrous.runs.measuring import answers
    from atrous.verbs.about import about_model, curves_of

    found, wished, opened = _opened(model, data, asked, around=around, reading=reading)
    stream = answers(opened.scorer, found.pairs, found.space, probabilities=wished.needs_probabilities)
    about = about_model(model, data, found, opened, wished)
    report = report_of(stream, found.space, asked, wished, about=about, total=len(found.pairs), progress=progress)
    report = replace(report, curves=curves_of(model) if asked.html is not None else ())
    write(report, asked.html)
    return report


def _opened(
    model: Any, data: str | Path, asked: Asked, *, around: Mapping[str, Any], reading: Mapping[str, Any]
) -> tuple[Labelled, Wished, Opened]:
    """Return the images, what is measured of them, and the scorer, which takes longest and so comes last."""
    from atrous.verbs.choices import model_names
    from atrous.verbs.labelled import labelled
    from atrous.verbs.opening import opened

    models = model_names(model)
    found = labelled(models[0], data, **reading)
    wished = asked.wished(found.pairs, found.space, numbered=found.numbered, probabilities=True)
    note = _tuned_on(found, data, around.get("crf"), models)
    return replace(found, notes=(*found.notes, *note)), wished, opened(model, **around)


def _tuned_on(found: Labelled, data: str | Path, crf: Any, models: tuple[str, ...]) -> tuple[str, ...]:
    """Return what is to be said where the images that are scored were used to tune what refines."""
    if crf is None or crf is False:
        return ()
    from atrous.data.facts import identity
    from atrous.tuning import chosen

    refiner = chosen(crf, models[0] if len(models) == 1 else None)
    note = refiner.note([pair.name for pair in found.pairs], data=data, sha256=identity(found.dataset))
    return () if note is None else (f"refined: {note}",)


def report_of(
    stream: Iterable[Answer],
    space: LabelSpace,
    asked: Asked,
    wished: Wished,
    *,
    about: Mapping[str, Any],
    total: int,
    progress: Progress | None = None,
) -> Report:
    """Return the report of answers, with pictures of the worst and the best where a page is to be written."""
    from atrous.evaluation.gallery import Gallery
    from atrous.evaluation.report import Report
    from atrous.runs.measuring import measured

    gallery = None if asked.html is None else Gallery(space=space)
    evaluation, sizes = measured(stream, space, wished, gallery=gallery, total=total, progress=progress)
    return Report(
        evaluation=evaluation,
        about=about,
        resamples=asked.resamples,
        block=asked.block,
        void=asked.void,
        sizes=sizes,
        gallery=gallery,
    )


def write(report: Report, html: Path | None) -> None:
    """Write the page of a report, whole or not at all, where one was asked for."""
    from atrous.evaluation.page import page

    if html is not None:
        write_page(html, page(report))


def write_page(path: Path, parts: Iterable[str]) -> None:
    """Write a page, whole or not at all; raises `AtrousError` when the disk refuses."""
    from atrous.data.writers import atomic

    with atomic(path) as temporary:
        temporary.write_text("".join(parts), encoding="utf-8")


def refined_pair(
    model: Any,
    data: str | Path,
    asked: Asked,
    *,
    crf: Any,
    around: Mapping[str, Any],
    reading: Mapping[str, Any],
    progress: Progress | None = None,
) -> Comparison:
    """Score a model before and after refining, the network running once, and write the page where one was asked for."""
    from atrous.data.facts import identity
    from atrous.tuning import cases_of, compared
    from atrous.verbs.about import about_model
    from atrous.verbs.choices import chosen_refiner, model_names
    from atrous.verbs.refined_page import Sides

    models = model_names(model)
    chosen = chosen_refiner(crf, models[0] if len(models) == 1 else None)
    if chosen is None:
        raise ValueError(f"crf {crf!r} came; True, a name, a JSON file or a refiner is accepted")
    found, wished, opened = _opened(model, data, asked, around=around, reading=reading)
    told = None if progress is None else lambda done: progress(done, len(found.pairs))
    note = chosen.note([pair.name for pair in found.pairs], data=data, sha256=identity(found.dataset))
    sides = Sides(found.pairs, found.space, wished) if asked.html is not None else None
    result = compared(
        cases_of(opened.scorer, found.pairs, found.space),
        chosen.refiner,
        found.space,
        words=chosen.words,
        note=note,
        progress=told,
        shown=None if sides is None else sides.add,
    )
    if asked.html is not None and sides is not None:
        about = about_model(model, data, found, opened, wished)
        write_page(asked.html, sides.page(about, chosen.words, note, asked))
    return result
