"""The examination as a page: one file of HTML with the report, the findings and a contact sheet.

Pictures are in the page itself, so it can be sent and kept. It asks nothing of a network and runs no script.
"""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from atrous.contract import IGNORE, AtrousError, LabelSpace
from atrous.data.census import in_threads
from atrous.data.parts import Source, image_pixels, mask_pixels
from atrous.data.samples import decode
from atrous.data.writers import atomic
from atrous.draw import colourise, displayed, overlay
from atrous.pages import document, picture, swatch

if TYPE_CHECKING:
    from atrous.data.diagnosis.examination import Examination
    from atrous.data.diagnosis.looks import Look
    from atrous.data.inspection import Finding, Inspection

_HEALTHY = 12  # pairs shown beside those with findings
_PER_FINDING = 3
_WIDTH = 260

_STYLE = """
.finding { border-left: .3rem solid var(--bad); background: var(--soft); margin: .8rem 0; padding: .5rem 1rem; }
.finding h3 { margin: 0; font-size: 1rem; } .finding p { margin: .2rem 0; }
.well { color: var(--good); font-weight: 600; }
.files { font: 13px/1.5 ui-monospace, monospace; overflow-wrap: anywhere; margin: .3rem 0; padding-left: 1.2rem; }
"""


def write_page(path: str | Path, report: Inspection, examination: Examination) -> None:
    """Write the page, whole or not at all; raises `AtrousError` when the disk refuses.

    The contact sheet shows up to three pairs of each finding, then healthy ones, evenly spaced.
    """
    with atomic(path) as temporary:
        page = document(Path(report.root).resolve().name, _body(report, examination), style=_STYLE)
        temporary.write_text("".join(page), encoding="utf-8")


def _body(report: Inspection, examination: Examination) -> Iterator[str]:
    yield _summary(report)
    yield "<h2>Findings</h2>"
    yield "".join(_finding(finding) for finding in report.findings) or '<p class="well">Nothing is wrong.</p>'
    if report.notes:
        yield "<h2>Notes</h2><ul>" + "".join(f"<li>{escape(note)}</li>" for note in report.notes) + "</ul>"
    if report.classes:
        yield "<h2>Classes</h2>" + _classes(report, examination.space)
    yield "<h2>Images, masks and both</h2>"
    shown = chosen(examination)
    yield from in_threads(lambda item: _figure(item[0], item[1], examination.space), shown)


def _summary(report: Inspection) -> str:
    rows = {
        "layout": report.layout,
        "images": f"{report.images:,} ({', '.join(f'{count:,} {name}' for name, count in report.splits.items())})",
        "sizes (height x width)": _sizes(report),
        "channels": ", ".join(map(str, report.channels)) or "unknown",
        "depth": ", ".join(report.dtypes) or "unknown",
        "masks": report.encoding or "not understood",
        "ignored": f"{report.ignore_share:.1%} of the pixels",
    }
    cells = (f"<tr><td>{escape(name)}</td><td>{escape(value)}</td></tr>" for name, value in rows.items())
    return f'<table class="facts">{"".join(cells)}</table>'


def _sizes(report: Inspection) -> str:
    if not report.sizes:
        return "unknown"
    low, middle, high = (f"{height} x {width}" for height, width in report.sizes.values())
    return low if low == high else f"{low} to {high}, median {middle}"


def _finding(finding: Finding) -> str:
    """Return one finding: the details name their files, so files are listed only where there are none."""
    lines = finding.details or finding.files
    more = finding.count - len(lines)
    listed = [*lines, *([f"and {more:,} more"] if more > 0 else [])]
    files = "".join(f"<li>{escape(line)}</li>" for line in listed)
    return (
        f'<div class="finding"><h3>{escape(finding.kind)} ({finding.count:,})</h3><p>{escape(finding.remedy)}</p>'
        f'<ul class="files">{files}</ul></div>'
    )


def _classes(report: Inspection, space: LabelSpace | None) -> str:
    total = sum(entry["pixels"] for entry in report.classes) or 1
    colours = space.colours if space is not None else ((128, 128, 128),) * len(report.classes)
    rows = []
    for entry, colour in zip(report.classes, colours, strict=True):
        share = entry["pixels"] / total
        bar = f'<span class="bar" style="width: {12 * share:.2f}rem"></span>'
        regions = entry["regions"]
        objects = (f"{regions:,}", f"{entry['small']:,}", f"{entry['median_area']:,.0f}") if regions else ("", "", "")
        rows.append(
            f"<tr><td>{swatch(colour)}{escape(entry['name'])}</td><td>{escape(str(entry['value']))}</td><td>{share:.2%}</td>"
            f'<td style="text-align: left">{bar}</td><td>{entry["images"]:,}</td>'
            f"<td>{'</td><td>'.join(objects)}</td></tr>"
        )
    head = "<tr><th>class</th><th>value</th><th>pixels</th><th></th><th>images</th><th>regions</th>"
    return f"<table>{head}<th>small</th><th>median area</th></tr>{''.join(rows)}</table>"


def chosen(examination: Examination) -> list[tuple[Look, tuple[str, ...]]]:
    """Return the looks to show, each with the kinds of finding that it has: a few of each kind, then healthy ones."""
    kinds: dict[int, list[str]] = {}
    count: dict[str, int] = {}
    sick: set[int] = set()
    for problem, rows in zip(examination.problems, examination.rows(), strict=True):
        sick.update(rows)
        row = next((row for row in rows if row in kinds), rows[0] if rows else None)
        if row is None or (row not in kinds and count.get(problem.kind, 0) >= _PER_FINDING):
            continue
        if problem.kind not in kinds.setdefault(row, []):
            kinds[row].append(problem.kind)
            count[problem.kind] = count.get(problem.kind, 0) + 1
    healthy = [row for row in range(len(examination.looks)) if row not in sick]
    spaced = {healthy[int(place)] for place in np.linspace(0, len(healthy) - 1, min(_HEALTHY, len(healthy)))}
    return [(examination.looks[row], tuple(kinds.get(row, ()))) for row in [*kinds, *sorted(spaced)]]


def _figure(look: Look, kinds: tuple[str, ...], space: LabelSpace | None) -> str:
    pictures = (
        "".join(picture(name, pixels, width=_WIDTH, labels=name == "mask") for name, pixels in _pictures(look, space))
        or "cannot be read"
    )
    size = "" if look.size is None else f", {look.size[0]} x {look.size[1]}"
    told = f" <b>{escape(', '.join(kinds))}</b>" if kinds else ""
    caption = f"{escape(look.pair.name)} ({escape(look.split)}{size}){told}"
    return f"<figure><figcaption>{caption}</figcaption><div>{pictures}</div></figure>"


def _pictures(look: Look, space: LabelSpace | None) -> Iterator[tuple[str, NDArray[np.uint8]]]:
    """Yield the image, the mask and both, as far as they can be read."""
    try:
        image = image_pixels(look.pair.image)
    except AtrousError:
        return
    yield "image", displayed(image)
    if look.pair.mask is None:
        return
    try:
        coloured = space is not None and space.encoding == "colours"
        mask = mask_pixels(look.pair.mask, colours=coloured)
    except AtrousError:
        yield from _as_picture(look.pair.mask)
        return
    try:
        labels = None if space is None else decode(mask, space, look.image_path)
    except AtrousError:
        labels = None
    if labels is None or space is None:
        yield "mask", displayed(mask if mask.ndim == 3 else mask[..., None])
        return
    yield "mask", colourise(labels, space)
    if labels.shape == image.shape[:2]:
        ground = space.names[0].lower().strip("_ ") == "background"  # left clear, so that the image can be judged
        yield "both", overlay(image, np.where(labels == 0, IGNORE, labels) if ground else labels, space, legend=False)


def _as_picture(mask: Source) -> Iterator[tuple[str, NDArray[np.uint8]]]:
    """Yield a mask that is none, such as a JPEG, as the picture that it is, if it is one."""
    try:
        yield "mask", displayed(image_pixels(mask))
    except AtrousError:
        return
