"""The command for many runs: runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from atrous.cli.words import Json, print_json


def runs(
    folder: Annotated[Path, Parameter(help="A folder that holds runs, at any depth.")] = Path("runs"),
    /,
    *,
    as_json: Json = False,
) -> int:
    """List the runs in a folder, the best first, and the settings in which they differ.

    Exit code 1 says that one of them is damaged; it is listed with what is wrong.
    """
    from atrous import verbs

    found = verbs.list_runs(folder)
    if as_json:
        print_json(found.as_json())
    else:
        print(found.as_text())
    return int(any(run.state == "damaged" for run in found.runs))
