"""The verbs, the one place where rooms meet: each is a door of the package, and imports what it needs when called."""

from atrous.verbs.learning import bench_data, import_weights, train
from atrous.verbs.looking import convert, describe, inspect, load
from atrous.verbs.predicting import predict, refine
from atrous.verbs.scoring import crf_tune, evaluate, scores_of

__all__ = [
    "bench_data",
    "convert",
    "crf_tune",
    "describe",
    "evaluate",
    "import_weights",
    "inspect",
    "load",
    "predict",
    "refine",
    "scores_of",
    "train",
]
