"""Prediction: from a scorer and images of any size to labels and files, without torch."""

from atrous.prediction.arrays import from_numpy, to_numpy
from atrous.prediction.images import ahead, predicted
from atrous.prediction.outputs import KINDS, write_prediction
from atrous.prediction.sources import Source, find

__all__ = ["KINDS", "Source", "ahead", "find", "from_numpy", "predicted", "to_numpy", "write_prediction"]
