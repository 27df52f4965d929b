"""The blocks that more than one paper needs. They import torch and, inside functions, timm.

The files here may be imported too; a function that has its file's name is what `atrous.layers` calls by that name.
"""

from atrous.layers.aspp import ASPP, ImagePooling
from atrous.layers.atrous import convolution, separable_convolution
from atrous.layers.checkerboard import Checkerboard, Overlap, checkerboard
from atrous.layers.convolutionalise import convolutionalise
from atrous.layers.norm import with_norm
from atrous.layers.output_stride import Density, set_output_stride
from atrous.layers.receptive_field import effective_receptive_field, receptive_field
from atrous.layers.spp import SPP
from atrous.layers.trunk import trunk
from atrous.layers.unpool import SwitchPool, Unpool
from atrous.layers.upsample import BilinearDeconvolution, upsampling

__all__ = [
    "ASPP",
    "SPP",
    "BilinearDeconvolution",
    "Checkerboard",
    "Density",
    "ImagePooling",
    "Overlap",
    "SwitchPool",
    "Unpool",
    "checkerboard",
    "convolution",
    "convolutionalise",
    "effective_receptive_field",
    "receptive_field",
    "separable_convolution",
    "set_output_stride",
    "trunk",
    "upsampling",
    "with_norm",
]
