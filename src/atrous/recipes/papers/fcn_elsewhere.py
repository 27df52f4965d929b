"""FCN's released recipes for PASCAL-Context, SIFT Flow and NYUDv2.

They are VOC's (`fcn`), with the rates and steps of their own solver.prototxt and solve.py. The steps are those that
solve.py takes, which solver.prototxt's max_iter (300,000 for all) is not.

What is missing: SIFT Flow's second head, of 3 geometric classes, and NYUDv2's late fusion of two networks. NYUDv2 with
depth as a fourth channel, or HHA in place of colour, is the same recipe: channels are the data's.
"""

from __future__ import annotations

from atrous.recipes.papers.cited import Cited, paper_recipe
from atrous.recipes.papers.fcn import _HEAVY, SOURCE, _staged

_CONTEXT = (400_000, "solve.py: 50 x 8,000")
_SIFT_FLOW = (100_000, "solve.py: 50 x 2,000")
_NYUD = (100_000, "solve.py: 50 x 2,000")
_SIFT_FLOW_CROP = {"crop": ((256, 256), "not verified: the size of its images; the whole image")}
_NYUD_CROP = {"crop": ((480, 640), "not verified: the largest of its images; the whole image")}


@paper_recipe(SOURCE)
def fcn32s_context() -> Cited:
    """FCN-32s on PASCAL-Context's 59 classes and background, as released."""
    return _staged("fcn32s", 1e-10, _CONTEXT, _HEAVY, "pascalcontext")


@paper_recipe(SOURCE, after=fcn32s_context)
def fcn16s_context() -> Cited:
    """FCN-16s on PASCAL-Context, as released: from FCN-32s."""
    return _staged("fcn16s", 1e-12, _CONTEXT, _HEAVY, "pascalcontext")


@paper_recipe(SOURCE, after=fcn16s_context)
def fcn8s_context() -> Cited:
    """FCN-8s on PASCAL-Context, as released: from FCN-16s."""
    return _staged("fcn8s", 1e-14, _CONTEXT, _HEAVY, "pascalcontext")


@paper_recipe(SOURCE)
def fcn32s_siftflow() -> Cited:
    """FCN-32s on SIFT Flow's 33 semantic classes, as released but for the geometric ones."""
    return _staged("fcn32s", 1e-10, _SIFT_FLOW, {**_HEAVY, **_SIFT_FLOW_CROP}, "siftflow")


@paper_recipe(SOURCE, after=fcn32s_siftflow)
def fcn16s_siftflow() -> Cited:
    """FCN-16s on SIFT Flow, as released but for the geometric classes: from FCN-32s."""
    return _staged("fcn16s", 1e-12, _SIFT_FLOW, {**_HEAVY, **_SIFT_FLOW_CROP}, "siftflow")


@paper_recipe(SOURCE, after=fcn16s_siftflow)
def fcn8s_siftflow() -> Cited:
    """FCN-8s on SIFT Flow, as released but for the geometric classes: from FCN-16s, at its rate."""
    return _staged("fcn8s", 1e-12, _SIFT_FLOW, {**_HEAVY, **_SIFT_FLOW_CROP}, "siftflow")


@paper_recipe(SOURCE)
def fcn32s_nyud() -> Cited:
    """FCN-32s on NYUDv2's 40 classes, as released: colour, colour with depth, or HHA, as the images are."""
    return _staged("fcn32s", 1e-10, _NYUD, {**_HEAVY, **_NYUD_CROP}, "nyud")
