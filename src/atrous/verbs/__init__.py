"""The verbs, the one place where rooms meet: each is a door of the package, and imports what it needs when called."""

from atrous.verbs.benching import bench
from atrous.verbs.comparing import compare
from atrous.verbs.exporting import export
from atrous.verbs.importing import import_weights
from atrous.verbs.learning import bench_data, lr_find, train
from atrous.verbs.listing import list_runs
from atrous.verbs.looking import convert, describe, inspect, load
from atrous.verbs.mask_scoring import evaluate_masks
from atrous.verbs.predicting import predict
from atrous.verbs.refining import refine
from atrous.verbs.scoring import crf_tune, evaluate, scores_of
from atrous.verbs.searching import tune

__all__ = [
    "bench",
    "bench_data",
    "compare",
    "convert",
    "crf_tune",
    "describe",
    "evaluate",
    "evaluate_masks",
    "export",
    "import_weights",
    "inspect",
    "list_runs",
    "load",
    "lr_find",
    "predict",
    "refine",
    "scores_of",
    "train",
    "tune",
]
