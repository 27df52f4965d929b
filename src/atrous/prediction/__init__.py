"""Prediction: from a scorer and images of any size to labels and files, without torch."""

from atrous.prediction.arrays import from_numpy, to_numpy
from atrous.prediction.ensembles import averaged, multiplied
from atrous.prediction.flips import flipped
from atrous.prediction.folders import Outcome, each_predicted, predict_into
from atrous.prediction.images import ahead, predicted
from atrous.prediction.outputs import write_prediction
from atrous.prediction.proposals import edge_boxes, proposed, selective_search
from atrous.prediction.refining import Refiner, refine, refined
from atrous.prediction.rotations import rotated
from atrous.prediction.scales import scaled
from atrous.prediction.sources import Source, find
from atrous.prediction.wanted import KINDS
from atrous.prediction.window_plan import Span, Window
from atrous.prediction.windows import Windowed, bands, shares, windowed

__all__ = [
    "KINDS",
    "Outcome",
    "Refiner",
    "Source",
    "Span",
    "Window",
    "Windowed",
    "ahead",
    "averaged",
    "bands",
    "each_predicted",
    "edge_boxes",
    "find",
    "flipped",
    "from_numpy",
    "multiplied",
    "predict_into",
    "predicted",
    "proposed",
    "refine",
    "refined",
    "rotated",
    "scaled",
    "selective_search",
    "shares",
    "to_numpy",
    "windowed",
    "write_prediction",
]
