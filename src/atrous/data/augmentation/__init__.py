"""Augmentation: one warp of image and labels, one pass over the colours, and crops that see what is rare.

    sample -> place, scale, flip, rotate, shear, perspective, elastic: one resampling -> colour -> crop

Every sample is warped once, so nothing is resampled twice; labels are taken from the nearest pixel and what lies
outside the image is ignored. The same generator gives the same pixels, whatever process runs it.
"""

from atrous.data.augmentation.adapters import from_albumentations, from_torchvision
from atrous.data.augmentation.colours import recoloured
from atrous.data.augmentation.crops import crop_sample, cropped
from atrous.data.augmentation.mixing import copy_paste, joined, mosaic, pasted
from atrous.data.augmentation.placing import drawn_warp, placement
from atrous.data.augmentation.presets import LIGHT, NONE, PRESETS, STRONG, Augmentation, augmentation_of
from atrous.data.augmentation.warps import source_map, warped, warped_labels

__all__ = [
    "LIGHT",
    "NONE",
    "PRESETS",
    "STRONG",
    "Augmentation",
    "augmentation_of",
    "copy_paste",
    "crop_sample",
    "cropped",
    "drawn_warp",
    "from_albumentations",
    "from_torchvision",
    "joined",
    "mosaic",
    "pasted",
    "placement",
    "recoloured",
    "source_map",
    "warped",
    "warped_labels",
]
