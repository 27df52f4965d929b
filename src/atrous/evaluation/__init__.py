"""Evaluation: one confusion matrix over the whole set, and the scores that follow from it."""

from atrous.evaluation.scores import DEFINITIONS, Scores

__all__ = ["DEFINITIONS", "Scores"]
