"""Training runs: a dataset and a recipe in, a folder with the best and the last model out."""

from atrous.runs.building import begun
from atrous.runs.choices import preprocessing
from atrous.runs.crops import needs_objects
from atrous.runs.datasets import data_of, data_to_train_on, pairs_in, resumed_data
from atrous.runs.events import Epoch, Event, Note
from atrous.runs.feeding import Feeding, feeding
from atrous.runs.folder import claim, resumed_recipe
from atrous.runs.interruption import interruptible
from atrous.runs.planning import plan
from atrous.runs.running import run
from atrous.runs.scoring import scored
from atrous.runs.seeds import Seeds, seeds_summary

__all__ = [
    "Epoch",
    "Event",
    "Feeding",
    "Note",
    "Seeds",
    "begun",
    "claim",
    "data_of",
    "data_to_train_on",
    "feeding",
    "interruptible",
    "needs_objects",
    "pairs_in",
    "plan",
    "preprocessing",
    "resumed_data",
    "resumed_recipe",
    "run",
    "scored",
    "seeds_summary",
]
