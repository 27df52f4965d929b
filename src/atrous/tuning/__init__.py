"""Tuning: the numbers that no training finds, searched on labelled images; and the choice of what refines."""

from atrous.tuning.cases import Case, cases_of, compared, kept
from atrous.tuning.choosing import NAMES, Chosen, chosen
from atrous.tuning.crf import Grid, Numbers, Objective, Trial, crf_sweep, searched
from atrous.tuning.result import Tuning, tuned
from atrous.tuning.surface import write_plot

__all__ = [
    "NAMES",
    "Case",
    "Chosen",
    "Grid",
    "Numbers",
    "Objective",
    "Trial",
    "Tuning",
    "cases_of",
    "chosen",
    "compared",
    "crf_sweep",
    "kept",
    "searched",
    "tuned",
    "write_plot",
]
