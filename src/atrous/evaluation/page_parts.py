"""Parts of the pages of an evaluation: tables of figures, of classes and of confusions, each with its definitions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from math import isfinite
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atrous.contract import LabelSpace
from atrous.pages import cells, picture, swatch

STYLE = """
h3 { font-size: 1rem; margin: 1.4rem 0 .4rem; }
.wide { overflow-x: auto; } .wide table { font-size: .93em; } .words, dl { font-size: .86rem; opacity: .85; }
.figures td:last-child, .figures th:last-child { text-align: left; } .wide { margin: .4rem 0; }
.wide .figures td:last-child { font-size: .86rem; opacity: .85; min-width: 13rem; white-space: normal; }
dt { font-weight: 600; } dd { margin: 0 0 .4rem 1rem; } .legend span { margin-right: 1.2rem; white-space: nowrap; }
.legend { margin: .2rem 0; font-size: .86rem; } td.name { overflow-wrap: break-word; }
.matrix th, .matrix td { padding: .15rem .35rem; border: 1px solid var(--line); min-width: 2.6rem; text-align: center; }
.matrix small { display: block; opacity: .75; font-size: .72rem; } .matrix th { font-weight: 500; }
.matrix th.row { text-align: left; white-space: nowrap; position: sticky; left: 0; background: Canvas; }
.matrix th.column span { writing-mode: vertical-rl; transform: rotate(180deg); max-height: 9rem; overflow: hidden; }
.matrix td { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
.barcell { width: 11rem; min-width: 7rem; text-align: left; } .barcell svg { width: 100%; }
.wide td { white-space: nowrap; } .wide td.name { min-width: 7rem; white-space: normal; }
@media (max-width: 34rem) {
  .chart { font-size: 19px; } .figures:not(.pairs, .four) tr { display: flex; flex-wrap: wrap; }
  .figures td:first-child { flex: 1; }
  .figures td:last-child { flex-basis: 100%; padding: 0; } .figures th:first-child { flex: 1; }
  .figures:not(.pairs, .four) th:last-child { display: none; }
}
.facts th { text-align: left; } .facts td, .wide .facts td { overflow-wrap: anywhere; white-space: normal; }
.facts td:first-child, .wide .facts td:first-child { overflow-wrap: normal; }
.up { color: var(--good); } .down { color: var(--bad); }
@media print {
  .wide { overflow: visible; } h2, h3 { break-after: avoid; } body { max-width: none; margin: 0; }
  tr, figure, .chart { break-inside: avoid; } .wide table.matrix { font-size: .55rem; }
  .matrix th, .matrix td { min-width: 0; padding: .1rem .12rem; } .matrix small { font-size: .45rem; }
}
"""
_READABLE = 24
_CONFUSIONS = 25
_CELL = 4


_TITLES = {
    "iou": "IoU",
    "dice": "Dice",
    "f": "F",
    "f1": "F1",
    "aji": "AJI",
    "ece": "ECE",
    "brier": "Brier",
    "nll": "NLL",
    "sha256": "SHA-256",
}


def titled(key: str) -> str:
    """Return the name of a figure as a reader knows it.

    >>> titled("mean_boundary_iou"), titled("hausdorff95")
    ('mean Boundary IoU', 'Hausdorff 95')
    """
    if key.startswith("hausdorff"):
        return f"Hausdorff {key.removeprefix('hausdorff')}"
    words = " ".join(_TITLES.get(word, word) for word in key.split("_"))
    return words.replace("boundary IoU", "Boundary IoU")


def sentence(words: str) -> str:
    """Return words as a sentence, escaped: a capital first, a full stop last.

    >>> sentence("sums over the set")
    'Sums over the set.'
    """
    return escape(f"{words[:1].upper()}{words[1:].rstrip('.')}.") if words else ""


def per_cent(value: Any, *, sign: bool = False) -> str:
    """Return a share in per cent with two decimals, and a dash for None and NaN.

    >>> per_cent(0.5), per_cent(None), per_cent(0.01, sign=True)
    ('50.00', '-', '+1.00')
    """
    if value is None or not isfinite(value):
        return "-"
    return f"{100 * value:{'+' if sign else ''}.2f}"


def span(interval: Mapping[str, Any] | None) -> str:
    """Return an interval of shares in words, in per cent."""
    if interval is None or interval.get("low") is None:
        return ""
    return f"{per_cent(interval['low'])} to {per_cent(interval['high'])}"


def facts(rows: Mapping[str, Any]) -> str:
    """Return names and values as a table; what is None or empty is left out."""
    body = (cells([name, value]) for name, value in rows.items() if value not in (None, "", ()))
    return f'<table class="facts">{"".join(body)}</table>'


def figures(rows: Sequence[tuple[str, str, str, str]], *, interval: bool = True) -> str:
    """Return a table of figures: a name, the value, its interval (left out without `interval`) and what it means."""
    head = ["", "%", *(["interval"] if interval else []), "definition"]
    kept = (row if interval else (row[0], row[1], row[3]) for row in rows)
    body = "".join(cells(row) for row in kept)
    return (
        f'<div class="wide"><table class="{"figures" if interval else ""}">{cells(head, tag="th")}{body}</table></div>'
    )


def definitions(words: Mapping[str, str]) -> str:
    """Return what figures mean, as a list."""
    items = (f"<dt>{escape(titled(name))}</dt><dd>{escape(meaning)}</dd>" for name, meaning in words.items())
    return f"<dl>{''.join(items)}</dl>"


def part(title: str, document: Mapping[str, Any], *, lengths: bool = False) -> str:
    """Return a measure from its JSON: its figures with their definitions, then a line per class.

    Figures are shares, in per cent; `lengths` are as they are.
    """
    words = document.get("definitions", {})
    told = _length if lengths else per_cent
    rows = [
        (titled(key), _told(document[key], told), "", words[key])
        for key in words
        if key in document and (document[key] is None or isinstance(document[key], int | float))
    ]
    body = [f"<h3>{escape(title)}</h3>", _plain_figures(rows)]
    classes = document.get("classes") or []
    keys = [key for key in (classes[0] if classes else {}) if key != "name" and _is_number(classes, key)]
    if len(classes) > 1 or len(keys) > len(rows):
        body.append(_class_rows(classes, keys, told))
    unit = f"Lengths are in {document['unit']}. " if lengths and document.get("unit") else ""
    body.append(f'<p class="words">{escape(unit) + sentence(words.get("protocol", ""))}</p>')
    return "".join(body)


def _plain_figures(rows: Sequence[tuple[str, str, str, str]]) -> str:
    body = "".join(cells([name, value, words]) for name, value, _, words in rows)
    return f'<div class="wide"><table class="figures plain">{body}</table></div>' if rows else ""


def _class_rows(classes: Sequence[Mapping[str, Any]], keys: Sequence[str], told: Any) -> str:
    head = cells(["class", *map(titled, keys)], tag="th")
    body = "".join(cells([entry["name"], *(_told(entry[key], told) for key in keys)]) for entry in classes)
    return f'<div class="wide"><table>{head}{body}</table></div>'


def _told(value: Any, told: Any) -> str:
    """Return a figure: a count as it is, anything else as `told` says it."""
    return f"{value:,}" if isinstance(value, int) else str(told(value))


def _is_number(classes: Sequence[Mapping[str, Any]], key: str) -> bool:
    return all(entry.get(key) is None or isinstance(entry.get(key), int | float) for entry in classes)


def _length(value: Any) -> str:
    return "-" if value is None or not isfinite(value) else f"{value:,.2f}"


def confusion_table(matrix: NDArray[np.int64], space: LabelSpace) -> Iterator[str]:
    """Yield the confusion matrix: a table of shares and counts, or of many classes a picture; then what is mixed up."""
    totals = matrix.sum(1, keepdims=True)
    shares = np.divide(matrix, totals, out=np.zeros(matrix.shape), where=totals > 0)
    if len(space) <= _READABLE:
        yield _table(matrix, shares, space)
    else:
        yield _picture(shares)
    if len(space) > 2:
        yield _largest(matrix, shares, space)


def _table(matrix: NDArray[np.int64], shares: NDArray[np.float64], space: LabelSpace) -> str:
    names = [escape(name) for name in space.names]
    head = "".join(f'<th class="column"><span>{name}</span></th>' for name in names)
    rows = []
    for name, colour, counts, own in zip(names, space.colours, matrix, shares, strict=True):
        body = "".join(_cell(int(count), float(share)) for count, share in zip(counts, own, strict=True))
        rows.append(f'<tr><th class="row">{swatch(colour)}{name}</th>{body}</tr>')
    words = "Rows are the truth, columns the prediction: per cent of the row, and pixels below."
    return (
        f'<p class="words">{words}</p><div class="wide"><table class="matrix"><tr><th class="row"></th>{head}</tr>'
        f"{''.join(rows)}</table></div>"
    )


def _cell(count: int, share: float) -> str:
    tint = f"color-mix(in srgb, var(--mark) {80 * share:.0f}%, transparent)"
    shown = f"{100 * share:.1f}" if count else ""
    return f'<td style="background: {tint}" title="{count:,} pixels">{shown}<small>{_short(count)}</small></td>'


def _short(count: int) -> str:
    """Return a count in few characters, "" for none.

    >>> [_short(count) for count in (0, 950, 12_340, 2_500_000)]
    ['', '950', '12.3k', '2.5M']
    """
    for limit, letter in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if count >= limit:
            return f"{count / limit:.1f}{letter}"
    return str(count) if count else ""


def _picture(shares: NDArray[np.float64]) -> str:
    """Return the matrix as a picture: white for nothing, the darker the more of a row."""
    depth = np.sqrt(shares)[..., None]
    pixels = (255 * (1 - depth) + np.array([24, 66, 132]) * depth).round().astype(np.uint8)
    large = pixels.repeat(_CELL, 0).repeat(_CELL, 1)
    words = (
        "Rows are the truth from top to bottom, columns the prediction from left to right, in the order of the "
        "classes; the darker, the more of the row. The counts are in the JSON; the largest confusions are below."
    )
    return f'<p class="words">{words}</p>' + picture("confusion", large, width=large.shape[1], labels=True)


def _largest(matrix: NDArray[np.int64], shares: NDArray[np.float64], space: LabelSpace) -> str:
    wrong = np.where(np.eye(len(space), dtype=bool), 0, matrix)
    order = np.argsort(-wrong, axis=None, kind="stable")[: _CONFUSIONS if len(space) > _READABLE else 8]
    pairs = [divmod(int(place), len(space)) for place in order if wrong.flat[place]]
    rows = "".join(
        cells([space.names[true], space.names[found], f"{matrix[true, found]:,}", per_cent(shares[true, found])])
        for true, found in pairs
    )
    head = cells(["truth", "taken for", "pixels", "% of the class"], tag="th")
    return f'<h3>Most often mixed up</h3><div class="wide"><table>{head}{rows}</table></div>' if rows else ""
