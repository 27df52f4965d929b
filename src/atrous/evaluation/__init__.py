"""Evaluation: one confusion matrix over the whole set, contours and objects beside it, and the scores that follow."""

from atrous.evaluation.bootstrap import INTERVAL_DEFINITIONS, Difference, Interval, Intervals, compared, intervals
from atrous.evaluation.boundary import BoundaryScores, boundary_f
from atrous.evaluation.boundary_iou import BOUNDARY_IOU_DEFINITIONS, BoundaryIoU
from atrous.evaluation.calibration import CALIBRATION_DEFINITIONS, Calibration
from atrous.evaluation.comparison import Comparison, Measured, plain_means
from atrous.evaluation.distances import DISTANCE_DEFINITIONS, Distances, surface_distances
from atrous.evaluation.evaluation import MEASURES, Evaluation
from atrous.evaluation.figures import joined
from atrous.evaluation.flicker import FLICKER_DEFINITIONS, Flicker, Frame
from atrous.evaluation.matching import THRESHOLDS, matched_objects
from atrous.evaluation.objects import OBJECT_DEFINITIONS, ObjectScores
from atrous.evaluation.per_image import PER_IMAGE_DEFINITIONS, PerImage
from atrous.evaluation.rand import RAND_DEFINITIONS, RandScores, rand_sums
from atrous.evaluation.scores import DEFINITIONS, Scores
from atrous.evaluation.trimap import TRIMAP_DEFINITIONS, WIDTHS, TrimapScores
from atrous.evaluation.warping import WARPING_DEFINITIONS, WarpingScores, warped

__all__ = [
    "BOUNDARY_IOU_DEFINITIONS",
    "CALIBRATION_DEFINITIONS",
    "DEFINITIONS",
    "DISTANCE_DEFINITIONS",
    "FLICKER_DEFINITIONS",
    "INTERVAL_DEFINITIONS",
    "MEASURES",
    "OBJECT_DEFINITIONS",
    "PER_IMAGE_DEFINITIONS",
    "RAND_DEFINITIONS",
    "THRESHOLDS",
    "TRIMAP_DEFINITIONS",
    "WARPING_DEFINITIONS",
    "WIDTHS",
    "BoundaryIoU",
    "BoundaryScores",
    "Calibration",
    "Comparison",
    "Difference",
    "Distances",
    "Evaluation",
    "Flicker",
    "Frame",
    "Interval",
    "Intervals",
    "Measured",
    "ObjectScores",
    "PerImage",
    "RandScores",
    "Scores",
    "TrimapScores",
    "WarpingScores",
    "boundary_f",
    "compared",
    "intervals",
    "joined",
    "matched_objects",
    "plain_means",
    "rand_sums",
    "surface_distances",
    "warped",
]
