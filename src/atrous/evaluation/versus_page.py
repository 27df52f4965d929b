"""Two evaluations side by side as a page: what changed, how surely, in which classes, and in which images."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any

import numpy as np

from atrous.contract import LabelSpace
from atrous.evaluation import charts
from atrous.evaluation.charts import Line, lines
from atrous.evaluation.page import settings
from atrous.evaluation.page_parts import STYLE, confusion_table, definitions, per_cent, sentence, titled
from atrous.evaluation.scores import DEFINITIONS
from atrous.evaluation.versus import VERSUS_DEFINITIONS, Versus
from atrous.pages import cells, document

_ROWS = 12
_FEW_CLASSES = 24
_LENGTHS = ("hausdorff95", "average_distance")
_SINGLE = ("images", "pixels", "pairs", "changed", "missed", "false")


def versus_page(
    versus: Versus,
    documents: Sequence[Mapping[str, Any]],
    *,
    title: str | None = None,
    shown: Sequence[tuple[str, str]] = (),
    note: str | None = None,
) -> Iterator[str]:
    """Yield the page of a comparison in parts.

    `documents` are both evaluations as JSON, as far as they are known. `shown` are captions with pictures as HTML.
    """
    first, second = versus.names
    heading = title or f"{first} and {second}: comparison"
    yield from document(heading, _body(versus, documents, shown, note), style=charts.STYLE + STYLE)


def _body(
    versus: Versus, documents: Sequence[Mapping[str, Any]], shown: Sequence[tuple[str, str]], note: str | None
) -> Iterator[str]:
    first, second = versus.names
    yield f"<p><strong>{sentence(versus.sentence)}</strong></p>"
    yield "".join(f"<p>{escape(words)}</p>" for words in (versus.note, note) if words)
    yield _means(versus)
    if any(documents):
        yield "<h2>What was scored</h2>" + _settings(versus, documents)
    yield "<h2>Classes</h2>" + _classes(versus)
    yield from _measures(versus, documents)
    yield "<h2>Images</h2>" + "".join(_images(versus))
    if shown:
        words = (
            f"Image, truth, {first}, {second}, and the errors (red) of both; the numbers are the mean IoU of the image."
        )
        yield f'<p class="words">{escape(words)}</p>'
    yield "".join(
        f"<figure><figcaption>{escape(caption)}</figcaption><div>{html}</div></figure>" for caption, html in shown
    )
    yield from _confusions(versus, documents)
    yield "<h2>Definitions</h2>" + definitions(VERSUS_DEFINITIONS)


def _means(versus: Versus) -> str:
    first, second = versus.means
    rows = []
    for key, value in first.items():
        found = versus.differences.get(key)
        ends = "" if found is None else f"{per_cent(found.low, sign=True)} to {per_cent(found.high, sign=True)}"
        name = titled(key)
        change = per_cent(second[key] - value, sign=True)
        rows.append(cells([name, per_cent(value), per_cent(second[key]), change, ends, DEFINITIONS[key]]))
    head = cells(["", *versus.names, "change", "interval", "definition"], tag="th")
    protocol = f"{len(versus.first):,} images. {sentence(DEFINITIONS['protocol'])}"
    table = f'<div class="wide"><table class="figures pairs">{head}{"".join(rows)}</table></div>'
    return f'{table}<p class="words">All in per cent. {protocol}</p>'


def _settings(versus: Versus, documents: Sequence[Mapping[str, Any]]) -> str:
    both = [settings(document.get("about") or {}) for document in documents]
    names = list(dict.fromkeys(name for side in both for name, value in side.items() if value not in (None, "")))
    rows = (cells([name, *(side.get(name) or "" for side in both)]) for name in names)
    head = cells(["", *versus.names], tag="th")
    return f'<div class="wide"><table class="facts beside">{head}{"".join(rows)}</table></div>'


def _classes(versus: Versus) -> str:
    rows = []
    for row, colour in zip(versus.classes, versus.first.space.colours, strict=True):
        bars = "<br>".join(
            charts.bar(float("nan") if row[key] is None else row[key], colour=colour) for key in ("first", "second")
        )
        sure = row["low"] is not None and (row["low"] > 0 or row["high"] < 0)
        way = "" if not sure else "up" if row["difference"] > 0 else "down"
        ends = "" if row["low"] is None else f"{per_cent(row['low'], sign=True)} to {per_cent(row['high'], sign=True)}"
        rows.append(
            f'<tr><td class="name">{escape(row["name"])}</td><td class="barcell">{bars}</td>'
            f"<td>{per_cent(row['first'])}</td><td>{per_cent(row['second'])}</td>"
            f'<td class="{way}">{per_cent(row["difference"], sign=True)}</td><td>{ends}</td></tr>'
        )
    head = cells(["class", "", *versus.names, "change", "interval"], tag="th")
    words = "IoU in per cent. Coloured changes have an interval without 0; by chance about one class in twenty has one."
    return f'<div class="wide"><table>{head}{"".join(rows)}</table></div><p class="words">{words}</p>'


def _measures(versus: Versus, documents: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield what else both have measured."""
    if len(documents) < 2:
        return
    first, second = documents
    shared = [key for key in first if isinstance(first[key], Mapping) and "definitions" in first[key]]
    parts = [key for key in shared if isinstance(second.get(key), Mapping) and key not in ("intervals", "sizes")]
    rows = [row for key in parts for row in _figures(key, first[key], second[key])]
    if rows:
        head = cells(["", *versus.names, "change", "definition"], tag="th")
        table = f'<table class="figures four">{head}{"".join(rows)}</table>'
        yield f'<h2>Other measures</h2><div class="wide">{table}</div>'
        yield '<p class="words">Shares are in per cent, lengths as they are.</p>'
    if "trimap" in parts:
        drawn = [
            Line(
                name=name, points=[(x, 100 * y) for x, y in zip(*_curve(side["trimap"]), strict=True) if y is not None]
            )
            for name, side in zip(versus.names, documents, strict=True)
        ]
        yield "<h3>Near the contours</h3>" + lines(
            drawn, x="half width of the band, pixels", y="mean IoU, per cent", title="mean IoU in bands around contours"
        )
    if "calibration" in parts:
        yield "<h3>Calibration</h3>" + _reliability(versus, documents)


def _curve(found: Mapping[str, Any]) -> tuple[Sequence[float], Sequence[float | None]]:
    return found["widths"], found["mean_iou"]


def _reliability(versus: Versus, documents: Sequence[Mapping[str, Any]]) -> str:
    drawn = [
        Line(
            name=name,
            points=[
                (each["confidence"], each["accuracy"])
                for each in side["calibration"]["bins"]
                if each["pixels"] and each["confidence"] is not None
            ],
        )
        for name, side in zip(versus.names, documents, strict=True)
    ]
    drawn.append(Line(name="perfectly calibrated", points=[(0.0, 0.0), (1.0, 1.0)], dashed=True))
    return lines(drawn, x="confidence", y="accuracy", title="reliability", range_x=(0, 1), range_y=(0, 1))


def _figures(part: str, first: Mapping[str, Any], second: Mapping[str, Any]) -> Iterator[str]:
    for key, words in first["definitions"].items():
        one, two = first.get(key), second.get(key)
        if key in _SINGLE or not isinstance(one, int | float) or not isinstance(two, int | float):
            continue
        scale, digits = (1, 3) if key in _LENGTHS or part == "calibration" else (100, 2)
        values = [f"{scale * value:.{digits}f}" for value in (one, two)]
        change = f"{scale * (two - one):+.{digits}f}"
        units = [side.get("unit") if key in _LENGTHS else None for side in (first, second)]
        if units[0] != units[1]:
            continue  # lengths in millimetres and in pixels have no difference
        title = f"{titled(part)}: {titled(key)}" + (f", {units[0]}" if units[0] else "")
        yield cells([title, *values, change, words])


def _images(versus: Versus) -> Iterator[str]:
    better, worse = versus.won
    first, second = versus.names
    yield (
        f"<p>{better} of {len(versus.first)} images have a higher mean IoU with {escape(second)}, {worse} with "
        f"{escape(first)}.</p>"
    )
    gains = versus.gains
    names, points = [name for name, *_ in gains], [(one, two) for _, one, two in gains]
    yield charts.scatter(points, names=names, x=first, y=second, title="mean IoU of every image, first and second")
    lost = [row for row in gains[::-1] if row[2] < row[1]]
    for title, rows in (("Gained most", [row for row in gains if row[2] > row[1]]), ("Lost most", lost)):
        body = "".join(
            cells([name, per_cent(one), per_cent(two), per_cent(two - one, sign=True)])
            for name, one, two in rows[:_ROWS]
        )
        head = cells(["image", first, second, "change"], tag="th")
        yield f'<h3>{title}</h3><div class="wide"><table>{head}{body}</table></div>' if body else ""


def _confusions(versus: Versus, documents: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    space: LabelSpace = versus.first.space
    if not 1 < len(space) <= _FEW_CLASSES:
        return
    for name, found in zip(versus.names, documents, strict=False):
        if found.get("confusion"):
            matrix = np.array(found["confusion"], np.int64)[: len(space), : len(space)]
            yield f"<h2>Confusion: {escape(name)}</h2>" + "".join(confusion_table(matrix, space))
