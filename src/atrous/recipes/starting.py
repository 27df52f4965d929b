"""The recipe that `train` starts from when nothing else is said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from atrous.contract import Recipe


def standard(
    model: str = "deeplab_v3plus", *, encoder: str | None = None, pretrained: bool | str | Path = False
) -> Recipe:
    """Return the recipe that `train` starts from for a network of the table, and for the trunk and weights it gets.

    The later DeepLabs take a light trunk, ResNet-18, that trains on a laptop; the papers' is `encoder="resnet101"`.
    DeepLab v2's norms are frozen where it starts from weights, at the paper's rates; from random ones they learn, at
    ten times the rate. Networks without normalisation have small rates, and their biases learn twice as fast, as they
    do in Caffe. U-Net's batch of one with momentum 0.99 is its paper's, and so are its elastic deformations; a crop of
    572 is its figure's. DeconvNet's crop and optimiser are its solver's. DeepLab v1 and v2 are compared on their own
    grid, and their classifiers learn ten times as fast as the trunk. The papers' own recipes are in `recipes.papers`.

    Source: FCN (arXiv 1605.06211) section 4; U-Net (arXiv 1505.04597) section 3; DeconvNet (arXiv 1505.04366) section
    4.3; DeepLab v1 (arXiv 1412.7062) section 5; v2 (arXiv 1606.00915) section 4.1; v3+ (arXiv 1802.02611) section 4.
    Rates of FCN, Hypercolumn and U-Net, and DeepLab v2's from random weights, are ours, for a loss that is a mean over
    pixels.

    >>> standard().encoder, standard("unet").batch
    ('resnet18', 1)
    """
    caffe: dict[str, Any] = {
        "crop": (321, 321),
        "compare": "grid",
        "encoder_rate": 0.1,
        "bias_rate": 2.0,
        "weight_decay": 5e-4,
    }
    without_norm: dict[str, Any] = {
        "batch": 4,
        "crop": (320, 320),
        "learning_rate": 5e-3,
        "bias_rate": 2.0,
        "weight_decay": 5e-4,
    }
    unet: dict[str, Any] = {
        "batch": 1,
        "crop": (572, 572),
        "elastic": 10.0,
        "momentum": 0.99,
        "learning_rate": 1e-3,
        "weight_decay": 0.0,
    }
    choices: dict[str, dict[str, Any]] = {
        **dict.fromkeys(("fcn32s", "fcn16s", "fcn8s", "hypercolumn"), without_norm),
        "unet": unet,
        "deconvnet": {"crop": (224, 224), "scale": (1.0, 1.0), "learning_rate": 0.01, "weight_decay": 5e-4},
        "deeplab_v1": {"learning_rate": 0.01, **caffe},
        "deeplab_v2": {**_deeplab_v2(encoder, pretrained), **caffe},
        "deeplab_v3": {"encoder": "resnet18"},
        "deeplab_v3plus": {"encoder": "resnet18"},
    }
    chosen = choices.get(model, {})
    return Recipe(model=model, **{**chosen, "encoder": chosen.get("encoder") if encoder is None else encoder})


def _deeplab_v2(encoder: str | None, pretrained: bool | str | Path) -> dict[str, Any]:
    if encoder == "vgg16":
        return {"learning_rate": 0.01}
    if pretrained:
        return {"encoder": "resnet18", "learning_rate": 2.5e-3}
    return {"encoder": "resnet18", "options": {"norm": "batch"}, "learning_rate": 0.025}
