"""Training runs: a dataset and a recipe in, a folder with the best and the last model out."""

from atrous.runs.choices import preprocessing
from atrous.runs.folder import claim, resumed_recipe
from atrous.runs.interruption import interruptible
from atrous.runs.running import Epoch, Event, Note, run
from atrous.runs.scoring import scored

__all__ = ["Epoch", "Event", "Note", "claim", "interruptible", "preprocessing", "resumed_recipe", "run", "scored"]
