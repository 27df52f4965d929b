"""DeepLab v2's recipes: the rate falls as a polynomial, on VGG16 or, at three scales at once, on ResNet-101.

Chen, Papandreou, Kokkinos, Murphy and Yuille, TPAMI 2018 (arXiv 1606.00915); the authors' voc2012/config. The solver of
ResNet-101 was read in two reimplementations that agree (kazuto1011/deeplab-pytorch, DrSleep/tensorflow-deeplab-resnet).

`learning_rate` is the classifiers', and `encoder_rate` 0.1 makes the trunk's a tenth of it. Caffe divides each crop's
loss by its own labelled pixels, and the sum by `accumulate`; here all pixels of a step count alike.
"""

from __future__ import annotations

from atrous.recipes.papers.cited import Cited, paper_recipe

SOURCE = "DeepLab v2 (arXiv 1606.00915); the authors' voc2012/config"

_BOTH: Cited = {
    "model": ("deeplab_v2", "section 3"),
    "crop": ((321, 321), "train.prototxt"),
    "augment": ("flip", "train.prototxt: mirror"),
    "compare": ("grid", "paper: labels of every eighth pixel"),
    "encoder_rate": (0.1, "train.prototxt: lr_mult 10 and 20 of the classifiers"),
    "bias_rate": (2.0, "train.prototxt: lr_mult 1 and 2, 10 and 20"),
    "momentum": (0.9, "solver.prototxt"),
    "weight_decay": (5e-4, "solver.prototxt; train.prototxt: none of biases"),
    "schedule": ("poly", "table 2; solver.prototxt"),
    "power": (0.9, "solver.prototxt"),
    "warm_up": (0, "solver.prototxt: none"),
    "steps": (20_000, "table 2: 20,000 steps of 10; solver.prototxt"),
}

_VGG16: Cited = {
    **_BOTH,
    "encoder": ("vgg16", "section 4.1.1"),
    "pretrained": (True, "section 4.1.1: VGG16 of ImageNet (Caffe's); ours: torchvision's"),
    "scale": ((1.0, 1.0), "train.prototxt: none"),
    "batch": (10, "table 2; solver.prototxt"),
    "learning_rate": (0.01, "solver.prototxt: .001; train.prototxt: 10 times that"),
}


@paper_recipe(SOURCE)
def deeplab_v2_vgg16_largefov_voc() -> Cited:
    """DeepLab v2 on PASCAL VOC: VGG16 with one fc6, at rate 12."""
    return {**_VGG16, "options": ({"head": "largefov"}, "section 4.1.1")}


@paper_recipe(SOURCE)
def deeplab_v2_vgg16_aspp_voc() -> Cited:
    """DeepLab v2 on PASCAL VOC: VGG16 with four of fc6 side by side, at rates 6 to 24 (ASPP-L)."""
    return {**_VGG16, "options": ({"head": "aspp-l"}, "section 4.1.1; voc2012/config/deeplab_largeFOV")}


@paper_recipe(SOURCE)
def deeplab_v2_resnet101_voc() -> Cited:
    """DeepLab v2 on PASCAL VOC: ResNet-101 with ASPP at three scales, four losses, its norms frozen."""
    return {
        **_BOTH,
        "encoder": ("resnet101", "section 4.1.2; ours: Caffe's, resnet101_caffe, has no weights to fetch"),
        "pretrained": (True, "section 4.1.2: of ImageNet; COCO's, which the paper adds, are not here"),
        "options": (
            {"head": "aspp-l", "multiscale": True, "norm": "frozen"},
            "section 4.1.2: MSC, ASPP; kazuto1011, DrSleep: norms never learn",
        ),
        "batch": (1, "DrSleep: one image of three scales"),
        "accumulate": (10, "DrSleep: iter_size"),
        "scale": ((0.5, 1.5), "section 4.1.2, Aug: 0.5 to 1.5; ours: not in steps of 0.25"),
        "loss_weights": ((1.0, 1.0, 1.0, 1.0), "DrSleep: the maximum and the three scales, each 1"),
        "learning_rate": (2.5e-3, "kazuto1011, DrSleep: 2.5e-4, the classifiers' 10 times that"),
    }
