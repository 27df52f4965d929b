"""The recipe of hypercolumns, of which the release's solver applies and its task does not.

Hariharan, Arbelaez, Girshick and Malik, CVPR 2015 (arXiv 1411.5752); bharath272/sds, model_defs/solver.prototxt.

The authors segment detections, with a sigmoid per category, after a Fast R-CNN whose convolutions then stay as they
are. Here whole images are segmented, with a softmax, from ImageNet's weights, all of which learn; so the release's
tenth of the rate for fc7's scores is left out too.
"""

from __future__ import annotations

from atrous.recipes.papers.cited import Cited, paper_recipe


@paper_recipe("Hypercolumns (arXiv 1411.5752); bharath272/sds")
def hypercolumn_voc() -> Cited:
    """Hypercolumns on PASCAL VOC: the release's solver, for whole images and a softmax, which are ours."""
    return {
        "model": ("hypercolumn", "hypercolumn_train_pydata.prototxt"),
        "pretrained": (True, "ours: VGG16 of ImageNet; run_command.sh has a Fast R-CNN's"),
        "crop": ((512, 512), "ours: a whole image; sds_config.py makes its short side 600"),
        "batch": (1, "hypercolumn_data_layer.py: one image, of 5 boxes"),
        "accumulate": (20, "solver.prototxt: iter_size"),
        "augment": ("flip", "ours: not verified what the release does"),
        "scale": ((1.0, 1.0), "sds_config.py: one scale"),
        "reduction": ("mean", "ours; the release sums over the pixels of a box, weighted by its area"),
        "learning_rate": (1e-3, "solver.prototxt"),
        "momentum": (0.9, "solver.prototxt"),
        "weight_decay": (1e-3, "solver.prototxt"),
        "bias_rate": (2.0, "hypercolumn_train_pydata.prototxt: lr 1 and 2"),
        "schedule": ("constant", "solver.prototxt: a step at 20,000, which never comes"),
        "warm_up": (0, "solver.prototxt: none"),
        "steps": (10_000, "solver.prototxt: max_iter"),
    }
