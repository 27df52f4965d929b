"""Networks of others that are known by their names and that atrous does not have: said by name, not by shapes."""

from __future__ import annotations

from atrous.foreign.matching import Tensors

_SMP = (
    ("decoder.blocks.x_0_0.", "Unet++"),
    ("decoder.p5.", "FPN"),
    ("decoder.feature_norms.", "UPerNet"),
    ("decoder.psp.", "PSPNet"),
    ("decoder.center.top_conv.", "MAnet"),
    ("decoder.fpa.", "PAN"),
    ("decoder.blocks.0.block.0.", "Linknet"),
    ("decoder.mlp_stage.", "Segformer"),
    ("decoder.reassemble_blocks.", "DPT"),
)
_OTHERS = (
    (("backbone.0.0.weight", "classifier.low_classifier.weight"), "torchvision's lraspp_mobilenet_v3_large"),
    (("backbone.0.0.weight", "classifier.0.convs.0.0.weight"), "torchvision's deeplabv3_mobilenet_v3_large"),
    (("rpn.head.cls_logits.weight",), "a detector of torchvision"),
    (("level2_0.c1.conv.weight", "level3_0.d16.conv.weight"), "ESPNet's encoder"),
    (("encoder.level2_0.c1.conv.weight", "combine_l2_l3.1.c1.conv.weight"), "ESPNet"),
    (("encoder.level1.conv.weight", "Fine.0.conv.weight"), "ExtremeC3Net"),
    (("encoder.level1.conv.weight", "level2_C.conv.weight"), "SINet"),
    (("decode_head.conv_seg.weight",), "mmsegmentation"),
    (("segformer.encoder.patch_embeddings.0.proj.weight",), "SegFormer of transformers"),
    (("inc.double_conv.0.weight",), "a U-Net with padded convolutions and batch norm"),
)


def known_and_absent(tensors: Tensors) -> str | None:
    """Return the name of a network that these are weights of and that atrous does not have, else None.

    >>> known_and_absent({"decoder.p5.weight": 0, "segmentation_head.0.weight": 0})
    "segmentation_models_pytorch's FPN"
    """
    if any(key.startswith("segmentation_head.") for key in tensors):
        timm = any(key.startswith("encoder.model.") for key in tensors)
        if timm and any(key.startswith("decoder.aspp.") for key in tensors):
            return "segmentation_models_pytorch's DeepLab on an encoder of timm (tu-), which has rates of its own"
        for prefix, name in _SMP:
            if any(key.startswith(prefix) for key in tensors):
                return f"segmentation_models_pytorch's {name}"
    for names, network in _OTHERS:
        if all(name in tensors for name in names):
            return network
    return None
