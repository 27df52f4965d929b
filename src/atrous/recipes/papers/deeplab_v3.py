"""DeepLab v3's and v3+'s recipes: large crops and batches, logits enlarged to the labels, norms that learn.

Chen, Papandreou, Schroff and Adam (arXiv 1706.05587); Chen, Zhu, Papandreou, Schroff and Adam, ECCV 2018 (arXiv
1802.02611); tensorflow/models, research/deeplab. v3+ trains as v3 does where it says nothing else.

A second stage makes the last map denser, keeps the norms as the first left them, and is for the training and the
validation images together. What differs: norms forget their statistics at 0.1 a step, not at 0.0003; the papers'
ResNet-101 has another root (`resnet101_beta`), for which there are no weights to fetch; sizes are drawn between 0.5 and
2, not in steps of 0.25.
"""

from __future__ import annotations

from atrous.recipes.papers.cited import Cited, paper_recipe

V3 = "DeepLab v3 (arXiv 1706.05587); tensorflow/models, research/deeplab"
V3PLUS = "DeepLab v3+ (arXiv 1802.02611); tensorflow/models, research/deeplab"

_BOTH: Cited = {
    "crop": ((513, 513), "v3 section 4.1"),
    "batch": (16, "v3 section 4.1"),
    "augment": ("flip", "v3 section 4.1"),
    "scale": ((0.5, 2.0), "v3 section 4.1"),
    "compare": ("resized", "v3 section 4.1: upsampling logits"),
    "learning_rate": (0.007, "v3 section 4.1"),
    "momentum": (0.9, "train.py"),
    "weight_decay": (1e-4, "feature_extractor.py, train.py: ResNet; none of norms"),
    "bias_rate": (2.0, "train_utils.py: doubled for biases"),
    "schedule": ("poly", "v3 section 4.1"),
    "power": (0.9, "v3 section 4.1"),
    "warm_up": (0, "v3 section 4.1 names none"),
    "steps": (30_000, "v3 section 4.1"),
}

_RESNET: Cited = {
    "encoder": ("resnet101", "v3 section 4; ours: the usual root, that of resnet101_beta has no weights to fetch"),
    "pretrained": (True, "v3 section 4: of ImageNet"),
    "output_stride": (16, "v3 section 4.1"),
}

_XCEPTION: Cited = {
    "encoder": ("xception65", "v3+ section 3.2"),
    "pretrained": (True, "v3+ section 4: of ImageNet"),
    "output_stride": (16, "v3+ section 4.3"),
    "weight_decay": (4e-5, "train.py: Xception"),
}

_DENSER: Cited = {
    "output_stride": (8, "v3 section 4.1: second stage"),
    "freeze_norm": (True, "v3 section 4.1: second stage"),
    "learning_rate": (0.001, "v3 section 4.1: second stage"),
    "batch": (16, "not verified: the first stage's"),
}

_CITYSCAPES: Cited = {
    "crop": ((769, 769), "v3 appendix B"),
    "steps": (90_000, "v3 appendix B"),
    "batch": (16, "not verified: VOC's"),
    "learning_rate": (0.007, "not verified: VOC's"),
}


def _later(first: Cited) -> Cited:
    return {**{field: cited for field, cited in first.items() if field != "pretrained"}, **_DENSER}


@paper_recipe(V3)
def deeplab_v3_voc() -> Cited:
    """DeepLab v3 on PASCAL VOC: ResNet-101 at output stride 16."""
    return {
        "model": ("deeplab_v3", "v3 section 3.3"),
        "options": ({"multigrid": [1, 2, 4]}, "v3 table 5"),
        **_RESNET,
        **_BOTH,
    }


@paper_recipe(V3, after=deeplab_v3_voc)
def deeplab_v3_voc_stage2() -> Cited:
    """DeepLab v3 on PASCAL VOC, second stage: output stride 8, frozen norms, a lower rate."""
    return _later(deeplab_v3_voc.cited)


@paper_recipe(V3)
def deeplab_v3_cityscapes() -> Cited:
    """DeepLab v3 on Cityscapes: larger crops, three times as long."""
    return {**deeplab_v3_voc.cited, **_CITYSCAPES}


@paper_recipe(V3PLUS)
def deeplab_v3plus_voc() -> Cited:
    """DeepLab v3+ on PASCAL VOC: ResNet-101 at output stride 16, with the decoder."""
    return {"model": ("deeplab_v3plus", "v3+ section 3.1"), **_RESNET, **_BOTH}


@paper_recipe(V3PLUS, after=deeplab_v3plus_voc)
def deeplab_v3plus_voc_stage2() -> Cited:
    """DeepLab v3+ on PASCAL VOC, second stage: output stride 8, frozen norms, a lower rate."""
    return _later(deeplab_v3plus_voc.cited)


@paper_recipe(V3PLUS)
def deeplab_v3plus_xception_voc() -> Cited:
    """DeepLab v3+ on PASCAL VOC: Xception-65, pyramid and decoder separable."""
    return {"model": ("deeplab_v3plus", "v3+ section 3.1"), **_BOTH, **_XCEPTION}


@paper_recipe(V3PLUS, after=deeplab_v3plus_xception_voc)
def deeplab_v3plus_xception_voc_stage2() -> Cited:
    """DeepLab v3+ on PASCAL VOC, second stage of Xception-65: output stride 8, frozen norms, a lower rate."""
    return _later(deeplab_v3plus_xception_voc.cited)


@paper_recipe(V3PLUS)
def deeplab_v3plus_cityscapes() -> Cited:
    """DeepLab v3+ on Cityscapes: Xception-65, with v3's crops and steps."""
    return {**deeplab_v3plus_xception_voc.cited, **_CITYSCAPES}
