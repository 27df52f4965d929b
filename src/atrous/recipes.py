"""Recipes: what `train` does when nothing else is said, a function that returns a `Recipe`.

A variant is `dataclasses.replace(standard("unet"), epochs=10)`.
"""

from __future__ import annotations

from atrous.contract import Recipe


def standard(model: str = "deeplab_v3plus") -> Recipe:
    """Return the recipe that `train` starts from for a network of the table.

    DeepLab v3+ takes a light trunk, ResNet-18, that trains on a laptop; the paper's is `encoder="resnet101"`.
    FCN and U-Net have no normalisation, so their rates are small; U-Net's batch of one with momentum 0.99 is its
    paper's, and a crop of 572 its figure's.

    Source: DeepLab v3+ (arXiv 1802.02611) section 4; U-Net (arXiv 1505.04597) section 3; FCN (arXiv 1605.06211)
    section 4. The rates are ours, for a loss that is a mean over pixels.

    >>> standard().encoder, standard("unet").batch
    ('resnet18', 1)
    """
    if model == "deeplab_v3plus":
        return Recipe(model=model, encoder="resnet18")
    if model == "unet":
        return Recipe(model=model, batch=1, crop=(572, 572), momentum=0.99, learning_rate=1e-3, weight_decay=0.0)
    if model.startswith("fcn"):
        return Recipe(model=model, batch=4, crop=(320, 320), momentum=0.9, learning_rate=5e-3, weight_decay=5e-4)
    return Recipe(model=model)
