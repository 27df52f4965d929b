"""The report of an evaluation as a page: one file of HTML with its tables, charts and pictures in it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any

import numpy as np

from atrous.evaluation import charts
from atrous.evaluation.charts import Line, lines
from atrous.evaluation.gallery import Gallery, Shown, figure
from atrous.evaluation.page_parts import (
    STYLE,
    confusion_table,
    definitions,
    facts,
    figures,
    part,
    per_cent,
    sentence,
    span,
    titled,
)
from atrous.evaluation.per_image import PER_IMAGE_DEFINITIONS
from atrous.evaluation.report import ONE_IMAGE, Report
from atrous.evaluation.scores import DEFINITIONS
from atrous.evaluation.sizes import SIZE_DEFINITIONS
from atrous.pages import cells, document, swatch

_PARTS = {
    "boundary": "Boundary F",
    "boundary_iou": "Boundary IoU",
    "distances": "Distances of contours",
    "objects": "Objects",
    "rand": "Rand error of cells",
    "warping": "Warping error",
    "flicker": "Flicker",
}
_ACCURACIES = ("mean_iou", "mean_dice", "pixel_accuracy", "mean_accuracy", "frequency_weighted_iou")
_SOMETIMES = (
    "foreground_mean_iou",
    "foreground_mean_dice",
    "foreground_mean_accuracy",
    "mean_iou_with_void",
    "mean_iou_with_absent",
)


def page(report: Report) -> Iterator[str]:
    """Yield the page of a report in parts.

    It says what was scored, shows scores with intervals, the confusion matrix, each measure that was taken with its
    definition, the sizes of regions, and the worst and best images; and the run's training where its log is there.
    """
    yield from document(f"{report.name}: evaluation", body(report), style=charts.STYLE + STYLE)


def body(report: Report) -> Iterator[str]:
    """Yield what stands in the page of a report, below its title."""
    parts = report.as_json()
    yield headline(report, parts)
    yield "<h2>What was scored</h2>" + facts(settings(report.about))
    yield "".join(f"<p>{escape(note)}</p>" for note in report.about.get("notes", ()))
    if report.curves:
        yield "<h2>Training</h2>" + "".join(training(report.curves))
    yield "<h2>Classes</h2>" + classes(report, parts)
    yield "<h2>Confusion</h2>" + "".join(confusion_table(report.scores.confusion, report.scores.space))
    yield from _measures(parts)
    if report.sizes is not None:
        yield "<h2>Regions by size</h2>" + "".join(sizes(parts["sizes"]))
    yield "<h2>Images</h2>" + "".join(images(report))


def headline(report: Report, parts: Mapping[str, Any]) -> str:
    """Return the means with their intervals and definitions."""
    ranges = parts.get("intervals") or {}
    ignored = report.void or sum(parts.get("void") or ())
    alike = parts["mean_iou_with_absent"] == parts["mean_iou"]
    unshown = {"mean_iou_with_void": not ignored, "mean_iou_with_absent": alike}
    shown = [*_ACCURACIES, *(name for name in _SOMETIMES if name in parts and not unshown.get(name, False))]
    rows = [(titled(name), per_cent(parts[name]), span(ranges.get(name)), DEFINITIONS[name]) for name in shown]
    told = ONE_IMAGE if report.intervals is None else _interval_words(ranges)
    words = f"{parts['images']:,} images. {sentence(DEFINITIONS['protocol'])} {sentence(told)}"
    return figures(rows) + f'<p class="words">{words}</p>'


def _interval_words(ranges: Mapping[str, Any]) -> str:
    words = (
        f"Intervals: {100 * ranges['level']:g} %, of {ranges['resamples']:,} bootstrap samples of the images "
        f"(seed {ranges['seed']}); they say how other images like these may do, not how another training would."
    )
    return f"{words} {ranges['note']}" if ranges.get("note") else words


def settings(about: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is told of model, data and settings, a word for each row."""
    return {titled(name): _in_words(value) for name, value in about.items() if name != "notes"}


def _in_words(value: Any) -> Any:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {each}" for key, each in value.items())
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(map(str, value))
    return value


def training(curves: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield charts of a run's loss and, where it was scored on the way, of its scores."""
    losses = [(entry["epoch"], entry["loss"]) for entry in curves if _numbers(entry, "epoch", "loss")]
    if losses:
        yield lines([Line(name="loss", points=losses)], x="epoch", y="loss", title="training loss")
    drawn = []
    for key, name in (("mean_iou", "mean IoU"), ("pixel_accuracy", "pixel accuracy")):
        points = [(entry["epoch"], 100 * entry[key]) for entry in curves if _numbers(entry, "epoch", key)]
        if points:
            drawn.append(Line(name=name, points=points))
    if drawn:
        yield lines(drawn, x="epoch", y="per cent", title="scores on val while training")


def _numbers(entry: Mapping[str, Any], *keys: str) -> bool:
    return all(isinstance(entry.get(key), int | float) for key in keys)


def classes(report: Report, parts: Mapping[str, Any]) -> str:
    """Return a row per class: IoU as a bar with its interval, Dice, precision, recall, and its share of the pixels."""
    ranges = (parts.get("intervals") or {}).get("classes") or [{}] * len(report.scores.space)
    total = max(1, sum(entry["pixels"] for entry in parts["classes"]))
    rows = []
    for entry, colour, interval in zip(parts["classes"], report.scores.space.colours, ranges, strict=True):
        own = interval.get("iou") or {}
        value = float("nan") if entry["iou"] is None else entry["iou"]
        drawn = charts.bar(value, low=own.get("low"), high=own.get("high"), colour=colour)
        shares = (entry["dice"], entry["precision"], entry["recall"], entry["pixels"] / total)
        rows.append(
            f'<tr><td class="name">{swatch(colour)}{escape(entry["name"])}</td><td class="barcell">{drawn}</td>'
            f"<td>{per_cent(entry['iou'])}</td><td>{span(own)}</td>"
            f"{''.join(f'<td>{per_cent(share)}</td>' for share in shares)}</tr>"
        )
    head = cells(["class", "", "IoU", "interval", "Dice", "precision", "recall", "pixels"], tag="th")
    words = "; ".join(f"{titled(name)}: {DEFINITIONS[name]}" for name in ("iou", "dice", "precision", "recall"))
    table = f'<div class="wide"><table>{head}{"".join(rows)}</table></div>'
    return f'{table}<p class="words">All in per cent. {escape(words)}</p>'


def _measures(parts: Mapping[str, Any]) -> Iterator[str]:
    """Yield the measures that were taken, under headings of what they are about."""
    if any(name in parts for name in ("trimap", "boundary", "boundary_iou", "distances")):
        yield "<h2>Contours</h2>"
    if "trimap" in parts:
        yield from trimap(parts["trimap"])
    for name, title in _PARTS.items():
        if name == "objects" and any(each in parts for each in ("objects", "rand", "warping")):
            yield "<h2>Objects and cells</h2>"
        if parts.get(name) is not None:
            yield part(title, parts[name], lengths=name == "distances")
    if parts.get("calibration") is not None:
        yield "<h2>Calibration</h2>" + "".join(calibration(parts["calibration"]))


def trimap(found: Mapping[str, Any]) -> Iterator[str]:
    """Yield the curve of scores in bands around the true contours, over the width of the band."""
    yield "<h3>Near the contours</h3>"
    drawn = [
        Line(name=name, points=_percents(found["widths"], found[key]))
        for key, name in (("mean_iou", "mean IoU"), ("pixel_accuracy", "pixel accuracy"))
    ]
    yield lines(drawn, x="half width of the band, pixels", y="per cent", title="scores in bands around contours")
    head = cells(["half width", *found["widths"]], tag="th")
    rows = [
        cells([name, *map(per_cent, found[key])])
        for name, key in (("mean IoU", "mean_iou"), ("pixel accuracy", "pixel_accuracy"), ("of all pixels", "share"))
    ]
    yield f'<div class="wide"><table>{head}{"".join(rows)}</table></div>'
    yield definitions(found["definitions"])


def _percents(x: Sequence[float], y: Sequence[float | None]) -> list[tuple[float, float]]:
    return [(place, 100 * value) for place, value in zip(x, y, strict=True) if value is not None]


def calibration(found: Mapping[str, Any]) -> Iterator[str]:
    """Yield the reliability plot: accuracy over confidence, with the share of the pixels of each bin behind."""
    bins = [each for each in found["bins"] if each["pixels"] and each["confidence"] is not None]
    total = max(1, sum(each["pixels"] for each in bins))
    drawn = [
        Line(name="accuracy", points=[(each["confidence"], each["accuracy"]) for each in bins]),
        Line(name="perfectly calibrated", points=[(0.0, 0.0), (1.0, 1.0)], dashed=True),
    ]
    behind = [((each["low"] + each["high"]) / 2, each["pixels"] / total) for each in bins]
    yield lines(drawn, x="confidence", y="accuracy", title="reliability", range_x=(0, 1), range_y=(0, 1), behind=behind)
    yield '<p class="words">Green bars: the share of the pixels with this confidence.</p>'
    words = found["definitions"]
    rows = [
        (titled(key), f"{found[key]:.4f}", "", words[key])
        for key in ("ece", "brier", "nll")
        if found.get(key) is not None
    ]
    body_rows = "".join(cells([name, value, meaning]) for name, value, _, meaning in rows)
    yield f'<div class="wide"><table class="figures plain">{body_rows}</table></div>'


def sizes(found: Mapping[str, Any]) -> Iterator[str]:
    """Yield, per class, how much of its small, medium and large regions was found."""
    rows = [
        cells(
            [
                entry["name"] if third["size"] == "small" else "",
                third["size"],
                f"{third['smallest']:,} to {third['largest']:,}",
                f"{third['regions']:,}",
                *(per_cent(third[key]) for key in ("iou", "recall", "found")),
            ]
        )
        for entry in found["classes"]
        for third in entry["thirds"]
    ]
    head = cells(["class", "", "area in pixels", "regions", "IoU", "recall", "found"], tag="th")
    yield f'<div class="wide"><table>{head}{"".join(rows)}</table></div>' if rows else "<p>Too few regions.</p>"
    few = [entry["name"] for entry in found["classes"] if entry["regions"] and not entry["thirds"]]
    if few:
        yield f'<p class="words">Fewer than three regions, and so left out: {escape(", ".join(few))}.</p>'
    yield '<p class="words">In per cent.</p>' + definitions(SIZE_DEFINITIONS)


def images(report: Report) -> Iterator[str]:
    """Yield the scores of single images: their means, how they are spread, and the worst and the best with pictures."""
    per_image = report.per_image.as_json()
    rows = [
        (titled(name), per_cent(per_image[name]), "", PER_IMAGE_DEFINITIONS[name])
        for name in ("mean_iou", "mean_dice", "pixel_accuracy")
    ]
    yield figures(rows, interval=False)
    yield f'<p class="words">{sentence(PER_IMAGE_DEFINITIONS["protocol"])}</p>'
    values = np.sort(report.per_image.mean_iou[~np.isnan(report.per_image.mean_iou)])
    if len(values) > 2:
        points = [(100 * (rank + 1) / len(values), 100 * float(value)) for rank, value in enumerate(values)]
        drawn = [Line(name="mean IoU", points=points)]
        yield lines(
            drawn, x="per cent of the images, the worst first", y="mean IoU", title="images by mean IoU", marks=False
        )
    if report.gallery is not None:
        yield from shown(report.gallery)


def shown(gallery: Gallery) -> Iterator[str]:
    """Yield the worst and the best images; each is shown once."""
    worst = gallery.worst
    best = [each for each in gallery.best if each.name not in {one.name for one in worst}]
    yield '<p class="words">Image, truth, prediction and errors (red); the number is the mean IoU of the image.</p>'
    yield _legend(gallery)
    yield _some("Worst", worst) + _some("Best", best)


def _some(title: str, some: Sequence[Shown]) -> str:
    return f"<h3>{title}</h3>{''.join(map(figure, some))}" if some else ""


def _legend(gallery: Gallery) -> str:
    pairs = zip(gallery.space.names, gallery.space.colours, strict=True)
    entries = (f"<span>{swatch(colour)}{escape(name)}</span>" for name, colour in pairs)
    return f'<p class="legend">{" ".join(entries)}</p>'
