"""Training: a generator over steps, on Accelerate; losses, schedule, batches and checkpoints beside it."""

from atrous.training.averaging import Averaged
from atrous.training.batches import Batch, Crops
from atrous.training.checkpoints import load_state, mark_scored, save_state, seen_by_all, state_of
from atrous.training.loop import Step, Tally, Training, one_step, train
from atrous.training.losses import (
    cross_entropy,
    dice,
    focal,
    hard_pixels,
    jaccard,
    lovasz,
    tversky,
)
from atrous.training.optimizers import optimizer_of, parameter_groups
from atrous.training.preparing import prepared, reproducible, resolved_precision
from atrous.training.schedule import factor, poly
from atrous.training.statistics import measured_statistics

__all__ = [
    "Averaged",
    "Batch",
    "Crops",
    "Step",
    "Tally",
    "Training",
    "cross_entropy",
    "dice",
    "factor",
    "focal",
    "hard_pixels",
    "jaccard",
    "load_state",
    "lovasz",
    "mark_scored",
    "measured_statistics",
    "one_step",
    "optimizer_of",
    "parameter_groups",
    "poly",
    "prepared",
    "reproducible",
    "resolved_precision",
    "save_state",
    "seen_by_all",
    "state_of",
    "train",
    "tversky",
]
