"""Tuning: the numbers that no training finds, searched on labelled images; and the choice of what refines."""

from atrous.tuning.cases import Case, cases_of, compared, kept
from atrous.tuning.choosing import NAMES, Chosen, chosen
from atrous.tuning.crf import Grid, Numbers, Objective, Trial, crf_sweep, searched
from atrous.tuning.recipe import Search, check_search, search_recipe
from atrous.tuning.recipe_report import Searched
from atrous.tuning.recipe_space import Between, Choice, space_around, space_of
from atrous.tuning.result import Tuning, tuned
from atrous.tuning.surface import write_plot

__all__ = [
    "NAMES",
    "Between",
    "Case",
    "Choice",
    "Chosen",
    "Grid",
    "Numbers",
    "Objective",
    "Search",
    "Searched",
    "Trial",
    "Tuning",
    "cases_of",
    "check_search",
    "chosen",
    "compared",
    "crf_sweep",
    "kept",
    "search_recipe",
    "searched",
    "space_around",
    "space_of",
    "tuned",
    "write_plot",
]
