"""U-Net's recipes: large tiles, one at a time, elastic deformations, and a loss that keeps touching cells apart.

Ronneberger, Fischer and Brox, MICCAI 2015 (arXiv 1505.04597).

The paper names neither rate, nor decay, nor steps: those are ours, for a loss that is a mean over the weighted pixels.
Its sigma of 5 pixels is the width of what `separation` weighs; mirroring at the border is the network's. Its rotations
are not here: the augmentation that rotates (`"strong"`, by 15 degrees) does much else.
"""

from __future__ import annotations

from atrous.recipes.papers.cited import Cited, paper_recipe

SOURCE = "U-Net (arXiv 1505.04597)"

_TILES: Cited = {
    "model": ("unet", "section 2, figure 1"),
    "crop": ((572, 572), "figure 1: tiles of 572, of which 388 are scored"),
    "batch": (1, "section 3: one tile"),
    "augment": ("light", "section 3.1: shifts and grey values; ours: by how much, and the flips"),
    "scale": ((1.0, 1.0), "section 3.1 names no scaling"),
    "elastic": (10.0, "section 3.1: deviation of 10 pixels on a 3 x 3 grid"),
    "class_weights": ("median", "section 3: balances the classes; ours: median frequency balancing"),
    "separation": (10.0, "section 3: w0, with sigma 5"),
    "learning_rate": (1e-3, "ours: the paper has none"),
    "momentum": (0.99, "section 3"),
    "weight_decay": (0.0, "ours: the paper names none"),
    "schedule": ("constant", "ours: the paper names none"),
    "warm_up": (100, "ours: the paper names none"),
    "steps": (12_000, "ours: 400 passes over ISBI's 30 images"),
    "validate_every": (10, "ours: an epoch is 30 steps"),
}


@paper_recipe(SOURCE)
def unet_isbi() -> Cited:
    """U-Net on the 30 slices of ISBI 2012's membranes."""
    return _TILES


@paper_recipe(SOURCE)
def unet_nuclei() -> Cited:
    """U-Net on nuclei of microscopy, such as DSB 2018's: ours, after `unet_isbi`."""
    return {
        **_TILES,
        "crop": ((444, 444), "ours: 260 are scored, a whole image of 256"),
        "augment": ("strong", "ours: nuclei lie any way round, and pictures come from many microscopes"),
        "scale": ((0.5, 2.0), "ours: magnifications differ"),
        "crops": ("foreground", "ours: large images are mostly background"),
        "steps": (20_000, "ours: some 30 passes over 670 images"),
        "validate_every": (1, "ours: an epoch is some 600 steps"),
    }
