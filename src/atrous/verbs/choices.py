"""What several verbs ask of the machine and the model: a device, and what refines."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from atrous.tuning import Chosen


def chosen_refiner(crf: Any, model: Any) -> Chosen | None:
    """Return what `crf` means for a model, and log what is taken, as a warning where it is not what was tuned for it.

    None where nothing is refined.
    """
    if crf is None or crf is False:
        return None
    import logging

    from atrous.tuning import chosen

    found = chosen(crf, model if isinstance(model, str | Path) else None)
    level = logging.WARNING if found.makeshift else logging.INFO
    logging.getLogger("atrous").log(level, "refining with %s", found.words)
    return found


def device_of(name: str | None) -> str:
    """Return a device by name, a GPU without one where there is one; raises `AtrousError` where it is not here."""
    import torch

    from atrous.contract import AtrousError

    if name is None:
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:
        raise AtrousError(f"device {name!r} is not here: {str(error).splitlines()[0]}") from error
    return name
