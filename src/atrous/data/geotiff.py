"""Georeferenced rasters: where they lie, and which of their pixels hold no data."""

from __future__ import annotations

from atrous.data.found import Found


def georeferenced(found: Found) -> Found:
    """Return what was found with every georeferenced raster taken for one."""
    return found
