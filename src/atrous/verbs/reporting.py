"""How an evaluation is done and written down: what is measured, on which images, and what a reader is told."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from atrous.contract import LabelSpace
    from atrous.data import Dataset, Pair
    from atrous.evaluation import Comparison
    from atrous.evaluation.report import Report
    from atrous.runs.measuring import Answer, Wished
    from atrous.verbs.opening import Opened

Progress = Callable[[int, int], None]
ALL = "all"
_OF_TWO = ("rand", "warping")
_NOT_ASKED = ("flicker",)
"""What `all` leaves out: frames of a film follow one another, the images of a set do not."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What a caller asked to be measured and shown."""

    measures: str | Sequence[str] = ()
    objects: bool = False
    void: bool = False
    foreground: bool | None = None
    resamples: int = 1000
    html: Path | None = None

    @property
    def named(self) -> tuple[str, ...]:
        """The measures by name; `("all",)` where a page was asked for and none was named."""
        given = self.measures.split(",") if isinstance(self.measures, str) else self.measures
        names = tuple(name.strip().replace("-", "_") for name in given if name.strip())
        return names or ((ALL,) if self.html is not None else ())

    def check(self, *, crf: Any = False) -> None:
        """Raise `ValueError` for measures that there are not, settings that cannot be, and what does not go with crf.

        Raises `AtrousError` for a page that is a folder.
        """
        from difflib import get_close_matches

        from atrous.data.writers import refuse_folder
        from atrous.evaluation import MEASURES

        for name in self.named:
            if name not in (*MEASURES, ALL):
                near = get_close_matches(name, (*MEASURES, ALL), n=1)
                told = f"did you mean {near[0]!r}? There are" if near else "there are"
                raise ValueError(f"measure {name!r} is not known; {told} {ALL}, {', '.join(MEASURES)}")
        if self.resamples != 0 and self.resamples < 20:
            raise ValueError(f"resamples {self.resamples} came; 0 for no intervals, or 20 and more, is accepted")
        if crf is not False and crf is not None:
            if self.objects:
                raise ValueError("objects came with crf; objects are scored as the network finds them: leave one out")
            if self.named and self.html is None:
                raise ValueError("measures came with crf, which compares the means only; --html shows the measures too")
        if self.html is not None:
            refuse_folder(self.html)

    def wished(self, space: LabelSpace, *, numbered: bool, probabilities: bool) -> Wished:
        """Return what is measured of data with these classes; `numbered` says whether its objects have numbers."""
        from atrous.evaluation import MEASURES
        from atrous.runs.measuring import Wished

        two = len(space) == 2 and not numbered
        names = set(self.named)
        if ALL in names:
            names |= {name for name in MEASURES if name not in _NOT_ASKED and (two or name not in _OF_TWO)}
            names -= set() if probabilities else {"calibration"}
            names -= set() if len(space) > 1 else {"objects"}
        if self.objects:
            names |= {"objects", *(("rand",) if two else ())}
        if "calibration" in names and not probabilities:
            raise ValueError("calibration came, and masks have no probabilities; give the run itself")
        measures = tuple(name for name in MEASURES if name in names)
        return Wished(measures=measures, sizes=self.html is not None, background=self.foreground)


@dataclass(frozen=True, kw_only=True)
class _Set:
    """The labelled images that a model is scored on."""

    dataset: Dataset
    pairs: tuple[Pair, ...]
    space: LabelSpace
    numbered: bool


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

    found, opened = _opened(model, data, around=around, reading=reading)
    wished = asked.wished(found.space, numbered=found.numbered, probabilities=True)
    stream = answers(opened.scorer, found.pairs, found.space, probabilities=wished.needs_probabilities)
    about = _about(model, data, found, opened, wished, reading)
    report = report_of(stream, found.space, asked, wished, about=about, total=len(found.pairs), progress=progress)
    report = replace(report, curves=curves_of(model) if asked.html is not None else ())
    write(report, asked.html)
    return report


def _opened(
    model: Any, data: str | Path, *, around: Mapping[str, Any], reading: Mapping[str, Any]
) -> tuple[_Set, Opened]:
    """Return the images and the scorer; the images first, since a network takes long to open."""
    from atrous.verbs.choices import model_names
    from atrous.verbs.opening import opened

    models = model_names(model)
    found = set_of(models[0], data, **reading)
    return found, opened(model, **around)


def set_of(
    model: str | Path, data: str | Path, *, split: str, ignore: Any, layout: str | None, masks: str | None
) -> _Set:
    """Return the labelled images of a split with a model's classes; raises `AtrousError` where some have no mask."""
    from atrous.contract import AtrousError
    from atrous.data.parts import path_of
    from atrous.runs import data_of, pairs_in

    dataset = data_of(Path(model), data, layout=layout, masks=masks)
    space = _ignoring(dataset.space, ignore)
    pairs = pairs_in(dataset, split)
    alone = [pair for pair in pairs if pair.mask is None]
    if alone:
        raise AtrousError(
            f"{data}: {len(alone):,} of the {len(pairs):,} images in {split} have no mask, first "
            f"{path_of(alone[0].image)}; a score needs one of each"
        )
    numbered = space.encoding == "instances" or hasattr(pairs[0].mask, "instances")
    return _Set(dataset=dataset, pairs=pairs, space=space, numbered=numbered)


def _ignoring(space: LabelSpace, ignore: Any) -> LabelSpace:
    if ignore is None:
        return space
    if ignore in space.values:
        raise ValueError(f"ignore {ignore} came, which is the class {space.names[space.values.index(ignore)]!r}")
    return replace(space, ignore=ignore)


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
    from atrous.verbs.choices import chosen_refiner, model_names
    from atrous.verbs.refined_page import Sides

    models = model_names(model)
    chosen = chosen_refiner(crf, models[0] if len(models) == 1 else None)
    if chosen is None:
        raise ValueError(f"crf {crf!r} came; True, a name, a JSON file or a refiner is accepted")
    found, opened = _opened(model, data, around=around, reading=reading)
    told = None if progress is None else lambda done: progress(done, len(found.pairs))
    note = chosen.note([pair.name for pair in found.pairs], data=data, sha256=identity(found.dataset))
    wished = asked.wished(found.space, numbered=found.numbered, probabilities=True)
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
        about = _about(model, data, found, opened, wished, reading)
        write_page(asked.html, sides.page(about, chosen.words, note, resamples=asked.resamples))
    return result


def _about(
    model: Any, data: str | Path, found: _Set, opened: Opened, wished: Wished, reading: Mapping[str, Any]
) -> dict[str, Any]:
    """Return what a reader must know of model, data and settings, as plain JSON values."""
    from atrous.data.facts import identity
    from atrous.store import is_exported, model_folder, read_config
    from atrous.verbs.choices import model_names

    models = model_names(model)
    first = Path(models[0])
    config = read_config(first if is_exported(first) else model_folder(first))
    settings = {name: value for name, value in opened.choices.items() if value not in (None, False)}
    chosen = {name: value for name, value in reading.items() if value is not None and name != "split"}
    return {
        "model": ", ".join(map(str, models)),
        "architecture": config.model,
        "weights_sha256": opened.model,
        "data": str(data),
        "split": reading["split"],
        "images": len(found.pairs),
        "data_sha256": identity(found.dataset),
        "settings": plain_values({**settings, **chosen}),
        "measures": list(wished.measures),
        **made_with(),
        "notes": _notes(first, config, found),
    }


def _notes(model: Path, config: Any, found: _Set) -> list[str]:
    """Return what makes the scores other than they seem, and log it: images that the model may have been trained on."""
    import logging

    from atrous.data.facts import identity, same_images
    from atrous.store import is_exported, model_folder

    facts = config.fingerprint or {}
    places = (model.parent,) if is_exported(model) else (model, model_folder(model).parent)
    if not facts.get("sha256") or any((place / "split.json").is_file() for place in places):
        return []
    counts = {name: len(pairs) for name, pairs in found.dataset.splits.items()}
    divided = found.dataset.made_split or any(
        counts.get(name) != many for name, many in (facts.get("splits") or {}).items()
    )
    same = facts["sha256"] == identity(found.dataset) or (facts.get("samples") and same_images(found.dataset, facts))
    if not divided or not same:
        return []
    note = (
        "the model was trained with images of this folder, and the split.json of its run, which says with which, is "
        "not beside it: some that are scored here may be among them. Put it there, or score the run"
    )
    logging.getLogger("atrous").warning("%s: %s", model, note)
    return [note]


def made_with() -> dict[str, Any]:
    """Return the versions and the time of an evaluation."""
    import platform
    import sys
    from datetime import UTC, datetime

    import numpy as np

    from atrous import __version__

    versions = {"atrous": __version__, "python": platform.python_version(), "numpy": np.__version__}
    for name in ("torch", "onnxruntime"):
        if version := getattr(sys.modules.get(name), "__version__", None):  # what was not imported took no part
            versions[name] = str(version)
    return {"versions": versions, "evaluated": datetime.now(UTC).isoformat(timespec="seconds")}


def plain_values(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings as JSON takes them: tuples become lists."""
    return {name: list(value) if isinstance(value, tuple) else value for name, value in settings.items()}


def curves_of(model: Any) -> tuple[dict[str, Any], ...]:
    """Return the lines of the log of the run that a model belongs to, () where there is none or it cannot be read."""
    import json

    from atrous.verbs.choices import model_names

    path = Path(model_names(model)[0])
    log = next((place / "log.jsonl" for place in (path, path.parent) if (place / "log.jsonl").is_file()), None)
    if log is None:
        return ()
    try:
        lines = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, ValueError):
        return ()  # a run that is being written may end in half a line; its scores do not hang on its curves
    return tuple(line for line in lines if isinstance(line, dict))
