"""Training: a generator over steps, on Accelerate; losses, schedule, batches and checkpoints beside it."""

from atrous.training.batches import Crops
from atrous.training.checkpoints import load_state, save_state
from atrous.training.loop import Step, Training, prepared, resolved_precision, train
from atrous.training.losses import compared, cross_entropy
from atrous.training.schedule import parameter_groups, poly
from atrous.training.statistics import measured_statistics

__all__ = [
    "Crops",
    "Step",
    "Training",
    "compared",
    "cross_entropy",
    "load_state",
    "measured_statistics",
    "parameter_groups",
    "poly",
    "prepared",
    "resolved_precision",
    "save_state",
    "train",
]
