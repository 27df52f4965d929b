"""Training runs: a dataset and a recipe in, a folder with the best and the last model out."""

from atrous.runs.choices import preprocessing
from atrous.runs.datasets import data_of, data_to_train_on, pairs_in, resumed_data
from atrous.runs.feeding import Feeding, feeding
from atrous.runs.folder import claim, resumed_recipe
from atrous.runs.interruption import interruptible
from atrous.runs.running import Epoch, Event, Note, run
from atrous.runs.scoring import scored

__all__ = [
    "Epoch",
    "Event",
    "Feeding",
    "Note",
    "claim",
    "data_of",
    "data_to_train_on",
    "feeding",
    "interruptible",
    "pairs_in",
    "preprocessing",
    "resumed_data",
    "resumed_recipe",
    "run",
    "scored",
]
