"""To be written."""

from __future__ import annotations

from pathlib import Path

from atrous.data.found import Found


def recognise(root: Path, masks: str) -> Found:
    """Return the pairs that a template of mask paths makes."""
    raise NotImplementedError(masks)
