"""Charts as SVG, written by hand: they stand in a page, follow its light or dark colours, and print.

Numbers that are not finite are left out of every chart.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from math import ceil, floor, isfinite, log10

__all__ = ["STYLE", "Line", "bar", "lines", "scatter"]

STYLE = """
.chart { width: 100%; max-width: 40rem; height: auto; display: block; font: 12px system-ui, sans-serif; }
.chart text { fill: currentColor; } .chart .grid { stroke: var(--line); } .chart .frame { stroke: currentColor; }
.chart polyline { fill: none; stroke-width: 2; } .chart .dashed { stroke-dasharray: 5 4; }
.c0 { stroke: #3b76d0; fill: #3b76d0; } .c1 { stroke: #d1632a; fill: #d1632a; } .c2 { stroke: #2f8f5b; fill: #2f8f5b; }
.c3 { stroke: #9a5cc0; fill: #9a5cc0; } .chart .soft { stroke: none; opacity: .35; }
.range { stroke: currentColor; stroke-width: 1.4; } .barline { height: .9rem; vertical-align: middle; }
.chart, .barline { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
"""

_WIDTH, _HEIGHT = 640, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 58, 14, 12, 44
_SERIES = 4

Point = tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Line:
    """One line of a chart: its name in the legend, its points from left to right, and whether it is `dashed`."""

    name: str
    points: Sequence[Point]
    dashed: bool = False


@dataclass(frozen=True, kw_only=True)
class _Frame:
    """What numbers lie where: `low` to `high` of both axes, and how they are written."""

    low: Point
    high: Point

    def x(self, value: float) -> float:
        return _LEFT + (value - self.low[0]) / (self.high[0] - self.low[0]) * (_WIDTH - _LEFT - _RIGHT)

    def y(self, value: float) -> float:
        return _HEIGHT - _BOTTOM - (value - self.low[1]) / (self.high[1] - self.low[1]) * (_HEIGHT - _TOP - _BOTTOM)

    def at(self, points: Sequence[Point]) -> str:
        return " ".join(f"{self.x(x):.1f},{self.y(y):.1f}" for x, y in points)


def lines(
    drawn: Sequence[Line],
    *,
    x: str,
    y: str,
    title: str,
    range_x: Point | None = None,
    range_y: Point | None = None,
    marks: bool = True,
    behind: Sequence[Point] = (),
) -> str:
    """Return lines over two axes, `x` and `y` their names; `title` is what a reader who cannot see is told.

    Without ranges the axes hold every point. `behind` are heights 0..1 of the axis, as soft bars at their x. Where no
    number is finite there is a sentence instead.

    >>> lines([Line(name="loss", points=[(1, 2.0), (2, 1.5)])], x="epoch", y="loss", title="loss").count("<polyline")
    1
    """
    kept = [Line(name=line.name, points=_finite(line.points), dashed=line.dashed) for line in drawn]
    points = [point for line in kept for point in line.points]
    if not points:
        return f"<p>{escape(title)}: there are no numbers to draw.</p>"
    frame = _frame(points, range_x, range_y)
    parts = [*_axes(frame, x, y), *_behind(frame, _finite(behind))]
    for index, line in enumerate(kept):
        look = f"c{index % _SERIES}{' dashed' if line.dashed else ''}"
        parts.append(f'<polyline class="{look}" points="{frame.at(line.points)}"/>')
        if marks and len(line.points) <= 60 and not line.dashed:
            parts += [_dot(frame, point, index, f"{line.name}: {_told(point)}") for point in line.points]
    return _svg(parts, title) + _legend(kept)


def scatter(points: Sequence[Point], *, names: Sequence[str], x: str, y: str, title: str) -> str:
    """Return points over two axes of the same range 0..1 with the diagonal; each tells its name where it is pointed at.

    >>> scatter([(0.5, 0.7)], names=["a"], x="first", y="second", title="images").count("<circle")
    1
    """
    kept = [(point, name) for point, name in zip(points, names, strict=True) if all(map(isfinite, point))]
    if not kept:
        return f"<p>{escape(title)}: there are no numbers to draw.</p>"
    frame = _Frame(low=(0.0, 0.0), high=(1.0, 1.0))
    parts = [*_axes(frame, x, y), f'<polyline class="c1 dashed" points="{frame.at([(0, 0), (1, 1)])}"/>']
    parts += [_dot(frame, point, 0, f"{name}: {_told(point)}") for point, name in kept]
    return _svg(parts, title)


def bar(value: float, *, low: float | None = None, high: float | None = None, colour: Sequence[int] = ()) -> str:
    """Return a share 0..1 as a bar in one line of text, with a whisker from `low` to `high`; "" where it is NaN.

    >>> bar(0.5).count("<rect"), bar(float("nan"))
    (1, '')
    """
    if not isfinite(value):
        return ""
    fill = f' style="fill: rgb{tuple(int(part) for part in colour)}; stroke: none"' if len(colour) else ""
    parts = [f'<rect class="c0" x="0" y="3" width="{200 * value:.1f}" height="10"{fill}/>']
    if low is not None and high is not None and isfinite(low) and isfinite(high):
        ends = f"M{200 * low:.1f} 8H{200 * high:.1f}M{200 * low:.1f} 4v8M{200 * high:.1f} 4v8"
        parts.append(f'<path class="range" d="{ends}" fill="none"/>')
    return f'<svg class="barline" viewBox="-2 0 204 16" aria-hidden="true">{"".join(parts)}</svg>'


def _svg(parts: Sequence[str], title: str) -> str:
    words = escape(title)
    return (
        f'<svg class="chart" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{words}">'
        f"<title>{words}</title>{''.join(parts)}</svg>"
    )


def _legend(drawn: Sequence[Line]) -> str:
    """Return the names under a chart of several lines."""
    if len(drawn) < 2:
        return ""
    entries = (
        f'<span><svg class="chart" style="display: inline; width: 1.6rem" viewBox="0 0 26 10">'
        f'<polyline class="c{index % _SERIES}{" dashed" if line.dashed else ""}" points="0,5 26,5"/></svg> '
        f"{escape(line.name)}</span>"
        for index, line in enumerate(drawn)
    )
    return f'<p class="legend">{" ".join(entries)}</p>'


def _behind(frame: _Frame, bars: Sequence[Point]) -> Iterator[str]:
    width = min(40.0, (_WIDTH - _LEFT - _RIGHT) / max(1, len(bars)) * 0.7)
    for x, height in bars:
        tall = height * (_HEIGHT - _TOP - _BOTTOM)
        top = _HEIGHT - _BOTTOM - tall
        place = f'x="{frame.x(x) - width / 2:.1f}" y="{top:.1f}"'
        yield f'<rect class="c2 soft" {place} width="{width:.1f}" height="{tall:.1f}"/>'


def _dot(frame: _Frame, point: Point, index: int, words: str) -> str:
    place = f'cx="{frame.x(point[0]):.1f}" cy="{frame.y(point[1]):.1f}"'
    return f'<circle class="c{index % _SERIES}" {place} r="3"><title>{escape(words)}</title></circle>'


def _told(point: Point) -> str:
    return f"{point[0]:.4g}, {point[1]:.4g}"


def _finite(points: Sequence[Point]) -> list[Point]:
    return [(float(x), float(y)) for x, y in points if isfinite(x) and isfinite(y)]


def _frame(points: Sequence[Point], range_x: Point | None, range_y: Point | None) -> _Frame:
    spans = []
    for axis, given in enumerate((range_x, range_y)):
        values = [point[axis] for point in points]
        low, high = given or (min(values), max(values))
        if low == high:
            low, high = low - 0.5, high + 0.5
        room = 0 if given or axis == 0 else 0.06 * (high - low)
        spans.append((low - room, high + room))
    return _Frame(low=(spans[0][0], spans[1][0]), high=(spans[0][1], spans[1][1]))


def _axes(frame: _Frame, x: str, y: str) -> Iterator[str]:
    bottom, right = _HEIGHT - _BOTTOM, _WIDTH - _RIGHT
    for value in ticks(frame.low[1], frame.high[1]):
        at = frame.y(value)
        yield f'<path class="grid" d="M{_LEFT} {at:.1f}H{right}"/>'
        yield f'<text x="{_LEFT - 6}" y="{at + 4:.1f}" text-anchor="end">{value:g}</text>'
    for value in ticks(frame.low[0], frame.high[0]):
        yield f'<text x="{frame.x(value):.1f}" y="{bottom + 16}" text-anchor="middle">{value:g}</text>'
    yield f'<path class="frame" fill="none" d="M{_LEFT} {_TOP}V{bottom}H{right}"/>'
    yield f'<text x="{(_LEFT + right) / 2}" y="{_HEIGHT - 8}" text-anchor="middle">{escape(x)}</text>'
    middle = (_TOP + bottom) / 2
    yield f'<text transform="translate(14 {middle}) rotate(-90)" text-anchor="middle">{escape(y)}</text>'


def ticks(low: float, high: float, *, most: int = 7) -> list[float]:
    """Return round numbers from `low` to `high`, 1, 2 or 5 times a power of ten apart, and no more than `most`.

    >>> ticks(0, 1), ticks(3, 47)
    ([0.0, 0.2, 0.4, 0.6, 0.8, 1.0], [10.0, 20.0, 30.0, 40.0])
    """
    power = 10.0 ** floor(log10((high - low) / most))
    width = next(factor * power for factor in (1, 2, 5, 10) if (high - low) / (factor * power) <= most)
    first, last = ceil(low / width - 1e-9), floor(high / width + 1e-9)
    return [round(number * width, 12) for number in range(first, last + 1)]
