"""What pages of HTML share: one file each, with its look and its pictures in it; no script, nothing from a network."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Iterator, Sequence
from html import escape
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

__all__ = ["cells", "document", "picture", "swatch"]

_QUALITY = 85

_STYLE = """
:root { color-scheme: light dark; --line: #8884; --soft: #8881; --bad: #c0392b; --good: #27823f; --mark: #5b8dd9; }
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 62rem; padding: 0 1rem; }
h1 { font-size: 1.5rem; overflow-wrap: anywhere; } h2 { font-size: 1.15rem; margin-top: 2.2rem; }
table { border-collapse: collapse; } th, td { padding: .2rem .8rem .2rem 0; text-align: right; }
th:first-child, td:first-child, .facts td { text-align: left; } tr { border-bottom: 1px solid var(--line); }
.bar { display: inline-block; height: .7rem; background: var(--mark); vertical-align: middle; }
.swatch { display: inline-block; width: .9rem; height: .9rem; margin-right: .5rem; vertical-align: -.1rem;
  border: 1px solid var(--line); print-color-adjust: exact; -webkit-print-color-adjust: exact; }
figure { margin: 1.2rem 0; break-inside: avoid; }
figcaption { font: 13px/1.5 ui-monospace, monospace; overflow-wrap: anywhere; }
figcaption b { color: var(--bad); } figure div { display: flex; flex-wrap: wrap; gap: .4rem; align-items: start; }
img { max-width: 100%; image-rendering: auto; }
"""


def document(title: str, body: Iterable[str], *, style: str = "") -> Iterator[str]:
    """Yield a whole page in parts: `title` is text, `body` HTML, and `style` what the page's look has of its own.

    >>> "".join(document("a < b", ["<p>yes</p>"])).endswith("<h1>a &lt; b</h1><p>yes</p></body></html>\\n")
    True
    """
    yield f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
    yield '<meta name="viewport" content="width=device-width">'
    yield f"<style>{_STYLE}{style}</style></head><body><h1>{escape(title)}</h1>"
    yield from body
    yield "</body></html>\n"


def cells(values: Sequence[Any], *, tag: str = "td") -> str:
    """Return a row of a table, every value escaped.

    >>> cells(["a & b", 3])
    '<tr><td>a &amp; b</td><td>3</td></tr>'
    """
    return "<tr>" + "".join(f"<{tag}>{escape(str(value))}</{tag}>" for value in values) + "</tr>"


def swatch(colour: Sequence[int]) -> str:
    """Return a small square of an RGB colour."""
    return f'<span class="swatch" style="background: rgb{tuple(int(part) for part in colour)}"></span>'


def picture(name: str, pixels: NDArray[np.uint8], *, width: int, labels: bool = False) -> str:
    """Return a picture (h, w, 3) as an element of the page, `width` wide, and at most three times as high.

    What shows `labels` in flat colours is kept without loss as PNG; the rest is a JPEG.
    """
    image = Image.fromarray(pixels)
    scale = width / max(image.width, 1)
    method = Image.Resampling.NEAREST if labels or scale > 1 else Image.Resampling.LANCZOS
    height = min(3 * width, max(1, round(image.height * scale)))
    file, kind = BytesIO(), "png" if labels else "jpeg"
    image.resize((width, height), method).save(file, kind, quality=_QUALITY)
    data = b64encode(file.getvalue()).decode("ascii")
    return f'<img alt="{escape(name)}" width="{width}" src="data:image/{kind};base64,{data}">'
