"""The verb that looks at many runs: list_runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from atrous.runs.listing import RunList


def list_runs(folder: str | Path = "runs") -> RunList:
    """Return the runs in a folder and below it, the best first: how far each came, and how well it does.

    Links are not followed. A damaged run is in the list, with what is wrong. What comes back has `runs`, `differing`
    (the settings in which they differ), `repeated` (the spread over seeds), `warnings` and `as_text()`.

    Raises `AtrousError` where there is no such folder, or no run in it.

        print(atrous.list_runs("runs").as_text())
    """
    from atrous.runs.listing import listed

    return listed(folder)
