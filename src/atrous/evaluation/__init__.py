"""Evaluation: one confusion matrix over the whole set, contours and objects beside it, and the scores that follow."""

from atrous.evaluation.boundary import BoundaryScores, boundary_f
from atrous.evaluation.comparison import Comparison, Measured, plain_means
from atrous.evaluation.objects import OBJECT_DEFINITIONS, THRESHOLDS, ObjectScores, matched_objects
from atrous.evaluation.rand import RAND_DEFINITIONS, RandScores, rand_sums
from atrous.evaluation.scores import DEFINITIONS, Scores
from atrous.evaluation.with_objects import ScoresWithObjects

__all__ = [
    "DEFINITIONS",
    "OBJECT_DEFINITIONS",
    "RAND_DEFINITIONS",
    "THRESHOLDS",
    "BoundaryScores",
    "Comparison",
    "Measured",
    "ObjectScores",
    "RandScores",
    "Scores",
    "ScoresWithObjects",
    "boundary_f",
    "matched_objects",
    "plain_means",
    "rand_sums",
]
