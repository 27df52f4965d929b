"""The papers' recipes: a file per paper, every number beside its source, and the table that names them."""

from __future__ import annotations

from atrous.recipes.papers.cited import PaperRecipe
from atrous.recipes.papers.deconvnet import deconvnet_voc_stage1, deconvnet_voc_stage2
from atrous.recipes.papers.deeplab_v1 import deeplab_v1_largefov_voc, deeplab_v1_msc_largefov_voc, deeplab_v1_voc
from atrous.recipes.papers.deeplab_v2 import (
    deeplab_v2_resnet101_voc,
    deeplab_v2_vgg16_aspp_voc,
    deeplab_v2_vgg16_largefov_voc,
)
from atrous.recipes.papers.deeplab_v3 import (
    deeplab_v3_cityscapes,
    deeplab_v3_voc,
    deeplab_v3_voc_stage2,
    deeplab_v3plus_cityscapes,
    deeplab_v3plus_voc,
    deeplab_v3plus_voc_stage2,
    deeplab_v3plus_xception_voc,
    deeplab_v3plus_xception_voc_stage2,
)
from atrous.recipes.papers.fcn import (
    fcn8s_at_once_voc,
    fcn8s_voc,
    fcn8s_voc_cvpr,
    fcn16s_voc,
    fcn16s_voc_cvpr,
    fcn32s_voc,
    fcn32s_voc_cvpr,
)
from atrous.recipes.papers.fcn_elsewhere import (
    fcn8s_context,
    fcn8s_siftflow,
    fcn16s_context,
    fcn16s_siftflow,
    fcn32s_context,
    fcn32s_nyud,
    fcn32s_siftflow,
)
from atrous.recipes.papers.hypercolumn import hypercolumn_voc
from atrous.recipes.papers.unet import unet_isbi, unet_nuclei

TABLE: dict[str, PaperRecipe] = {
    recipe.name: recipe
    for recipe in (
        fcn32s_voc,
        fcn16s_voc,
        fcn8s_voc,
        fcn8s_at_once_voc,
        fcn32s_voc_cvpr,
        fcn16s_voc_cvpr,
        fcn8s_voc_cvpr,
        fcn32s_context,
        fcn16s_context,
        fcn8s_context,
        fcn32s_siftflow,
        fcn16s_siftflow,
        fcn8s_siftflow,
        fcn32s_nyud,
        hypercolumn_voc,
        unet_isbi,
        unet_nuclei,
        deconvnet_voc_stage1,
        deconvnet_voc_stage2,
        deeplab_v1_voc,
        deeplab_v1_largefov_voc,
        deeplab_v1_msc_largefov_voc,
        deeplab_v2_vgg16_largefov_voc,
        deeplab_v2_vgg16_aspp_voc,
        deeplab_v2_resnet101_voc,
        deeplab_v3_voc,
        deeplab_v3_voc_stage2,
        deeplab_v3_cityscapes,
        deeplab_v3plus_voc,
        deeplab_v3plus_voc_stage2,
        deeplab_v3plus_xception_voc,
        deeplab_v3plus_xception_voc_stage2,
        deeplab_v3plus_cityscapes,
    )
}
"""Every recipe by its name, papers in the order of their years, stages in that of their runs."""
