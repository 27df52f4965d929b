"""Prediction: from a scorer and images of any size to labels and files, without torch."""

from atrous.prediction.arrays import from_numpy, to_numpy
from atrous.prediction.ensembles import averaged, multiplied
from atrous.prediction.folders import Outcome, each_predicted, predict_into
from atrous.prediction.images import ahead, predicted
from atrous.prediction.outputs import KINDS, write_prediction
from atrous.prediction.proposals import edge_boxes, proposed, selective_search
from atrous.prediction.refining import Refiner, refine, refined
from atrous.prediction.sources import Source, find

__all__ = [
    "KINDS",
    "Outcome",
    "Refiner",
    "Source",
    "ahead",
    "averaged",
    "each_predicted",
    "edge_boxes",
    "find",
    "from_numpy",
    "multiplied",
    "predict_into",
    "predicted",
    "proposed",
    "refine",
    "refined",
    "selective_search",
    "to_numpy",
    "write_prediction",
]
