"""DeepLab v1's recipes: crops compared on the network's own grid, and a classifier ten times as fast as the trunk.

Chen, Papandreou, Kokkinos, Murphy and Yuille, ICLR 2015 (arXiv 1412.7062); the authors' config/DeepLab*/, of which
train.prototxt and solver.prototxt are named here. Their solver.prototxt is for train_aug, of 10,582 images.

`learning_rate` is the classifier's, and `encoder_rate` 0.1 makes the trunk's a tenth of it.
"""

from __future__ import annotations

from atrous.recipes.papers.cited import Cited, paper_recipe

SOURCE = "DeepLab v1 (arXiv 1412.7062); the authors' config/DeepLab*"

_BOTH: Cited = {
    "model": ("deeplab_v1", "train.prototxt"),
    "pretrained": (True, "section 5: VGG16 of ImageNet (Caffe's); ours: torchvision's"),
    "augment": ("flip", "train.prototxt: mirror"),
    "scale": ((1.0, 1.0), "train.prototxt: none"),
    "compare": ("grid", "train.prototxt: labels shrunk by 8"),
    "learning_rate": (0.01, "section 5: the classifier's; train.prototxt: 10 x .001"),
    "encoder_rate": (0.1, "section 5: .001 beside .01"),
    "bias_rate": (2.0, "train.prototxt: lr_mult 1 and 2, 10 and 20"),
    "momentum": (0.9, "section 5"),
    "weight_decay": (5e-4, "section 5; train.prototxt: none of biases"),
    "schedule": ("steps", "section 5; solver.prototxt: step"),
    "drop": (0.1, "section 5"),
    "warm_up": (0, "solver.prototxt: none"),
}


@paper_recipe(SOURCE)
def deeplab_v1_voc() -> Cited:
    """DeepLab v1 on PASCAL VOC: the base net, whose fc6 is decimated to 4 x 4."""
    return {
        **_BOTH,
        "options": ({"variant": "4x4"}, "section 3.1; config/DeepLab"),
        "crop": ((305, 305), "config/DeepLab: 306, of whose labels the first row and column are dropped"),
        "batch": (20, "section 5"),
        "drop_every": (2_000, "section 5"),
        "steps": (6_000, "config/DeepLab/solver.prototxt"),
    }


@paper_recipe(SOURCE)
def deeplab_v1_largefov_voc() -> Cited:
    """DeepLab-LargeFOV on PASCAL VOC: fc6 is 3 x 3 at rate 12."""
    return {
        **_BOTH,
        "options": ({"variant": "largefov"}, "section 5, table 2"),
        "crop": ((321, 321), "config/DeepLab-LargeFOV/train.prototxt"),
        "batch": (30, "config/DeepLab-LargeFOV/train.prototxt; section 5 has 20"),
        "drop_every": (1_000, "config/DeepLab-LargeFOV/solver.prototxt; section 5 has 2,000"),
        "steps": (6_000, "config/DeepLab-LargeFOV/solver.prototxt"),
    }


@paper_recipe(SOURCE, after=deeplab_v1_largefov_voc)
def deeplab_v1_msc_largefov_voc() -> Cited:
    """DeepLab-MSc-LargeFOV on PASCAL VOC: from LargeFOV, five branches are added, and nothing else learns."""
    kept = {field: cited for field, cited in _BOTH.items() if field not in ("pretrained", "encoder_rate")}
    return {
        **kept,
        "options": (
            {"variant": "largefov", "multiscale_features": True, "train_branches_only": True},
            "section 4.3; config/DeepLab-MSc-LargeFOV/train.prototxt: lr_mult 0 elsewhere, dropout stays",
        ),
        "crop": ((321, 321), "config/DeepLab-MSc-LargeFOV/train.prototxt"),
        "batch": (30, "not verified: LargeFOV's"),
        "learning_rate": (1e-3, "config/DeepLab-MSc-LargeFOV/solver.prototxt; branches have lr_mult 1 and 2"),
        "bias_rate": (2.0, "config/DeepLab-MSc-LargeFOV/train.prototxt: lr_mult 1 and 2"),
        "drop_every": (2_000, "config/DeepLab-MSc-LargeFOV/solver.prototxt"),
        "steps": (6_000, "config/DeepLab-MSc-LargeFOV/solver.prototxt"),
    }
