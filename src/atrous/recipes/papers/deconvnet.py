"""DeconvNet's recipes: first crops of single objects, then of what proposals cut out.

Noh, Hong and Han, ICCV 2015 (arXiv 1505.04366); HyeonwooNoh/DeconvNet, training/.

The data of both stages are crops around objects, which `data.objects.object_crops` makes of a folder of images. The
authors resize each to 250 and cut 224 out of it. Batch norm sees 8 crops at a time, and its statistics are measured
when training has ended.
"""

from __future__ import annotations

from atrous.recipes.papers.cited import Cited, paper_recipe

SOURCE = "DeconvNet (arXiv 1505.04366); HyeonwooNoh/DeconvNet"

_BOTH: Cited = {
    "model": ("deconvnet", "stage_1_train.prototxt"),
    "crop": ((224, 224), "stage_1_train.prototxt, stage_2_train.prototxt: of 250"),
    "batch": (8, "stage_1_train.prototxt, stage_2_train.prototxt"),
    "accumulate": (8, "solver.prototxt: iter_size"),
    "augment": ("flip", "stage_1_train.prototxt: mirror"),
    "scale": ((1.0, 1.0), "stage_1_train.prototxt: none beside the resizing to 250"),
    "learning_rate": (0.01, "solver.prototxt"),
    "momentum": (0.9, "solver.prototxt"),
    "weight_decay": (5e-4, "solver.prototxt; ours: none of norms"),
    "bias_rate": (2.0, "stage_1_train.prototxt: lr 1 and 2; norms 1"),
    "schedule": ("steps", "solver.prototxt: step"),
    "drop": (0.1, "solver.prototxt: gamma"),
    "warm_up": (0, "solver.prototxt: none"),
    "measure_norm": (501, "BN_make_INFERENCE_script.py: 501 passes"),
}


@paper_recipe(SOURCE)
def deconvnet_voc_stage1() -> Cited:
    """DeconvNet on PASCAL VOC, first stage: crops of single objects."""
    return {
        **_BOTH,
        "pretrained": (True, "001_stage_1: VGG16 of ImageNet (Caffe's); ours: torchvision's"),
        "drop_every": (9_000, "001_stage_1/solver.prototxt: stepsize"),
        "steps": (20_000, "001_stage_1/solver.prototxt: max_iter"),
    }


@paper_recipe(SOURCE, after=deconvnet_voc_stage1)
def deconvnet_voc_stage2() -> Cited:
    """DeconvNet on PASCAL VOC, second stage: crops of proposals, with every object in them."""
    return {
        **_BOTH,
        "drop_every": (10_000, "stage 2's solver.prototxt: stepsize"),
        "steps": (40_000, "stage 2's solver.prototxt: max_iter"),
    }
