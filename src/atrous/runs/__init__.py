"""Training runs: a dataset and a recipe in, a folder with the best and the last model out.

A name is imported when it is asked for, so that what only reads run folders does without torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from atrous.runs.building import begun as begun
    from atrous.runs.choices import preprocessing as preprocessing
    from atrous.runs.crops import needs_objects as needs_objects
    from atrous.runs.datasets import data_of as data_of
    from atrous.runs.datasets import data_to_train_on as data_to_train_on
    from atrous.runs.datasets import pairs_in as pairs_in
    from atrous.runs.datasets import resumed_data as resumed_data
    from atrous.runs.datasets import split_of as split_of
    from atrous.runs.events import Epoch as Epoch
    from atrous.runs.events import Event as Event
    from atrous.runs.events import Note as Note
    from atrous.runs.folder import claim as claim
    from atrous.runs.folder import resumed_recipe as resumed_recipe
    from atrous.runs.folder import saved_in as saved_in
    from atrous.runs.interruption import interruptible as interruptible
    from atrous.runs.planning import plan as plan
    from atrous.runs.running import run as run
    from atrous.runs.scoring import scored as scored
    from atrous.runs.seeds import Seeds as Seeds
    from atrous.runs.seeds import seeds_summary as seeds_summary
    from atrous.runs.speed import Feeding as Feeding
    from atrous.runs.speed import feeding as feeding

_NAMES = {
    "building": ("begun",),
    "choices": ("preprocessing",),
    "crops": ("needs_objects",),
    "datasets": ("data_of", "data_to_train_on", "pairs_in", "resumed_data", "split_of"),
    "events": ("Epoch", "Event", "Note"),
    "folder": ("claim", "resumed_recipe", "saved_in"),
    "interruption": ("interruptible",),
    "planning": ("plan",),
    "running": ("run",),
    "scoring": ("scored",),
    "seeds": ("Seeds", "seeds_summary"),
    "speed": ("Feeding", "feeding"),
}
_MODULES = {name: module for module, names in _NAMES.items() for name in names}

__all__ = [*_MODULES]  # noqa: PLE0604  (the names are made by __getattr__, on demand)


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(import_module(f"atrous.runs.{_MODULES[name]}"), name)
    raise AttributeError(f"module 'atrous.runs' has no attribute {name!r}; it has {', '.join(_MODULES)}")
