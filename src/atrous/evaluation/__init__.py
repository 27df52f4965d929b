"""Evaluation: one confusion matrix over the whole set, contours beside it, and the scores that follow from them."""

from atrous.evaluation.boundary import BoundaryScores, boundary_f
from atrous.evaluation.comparison import Comparison, Measured, plain_means
from atrous.evaluation.scores import DEFINITIONS, Scores

__all__ = ["DEFINITIONS", "BoundaryScores", "Comparison", "Measured", "Scores", "boundary_f", "plain_means"]
