"""FCN's recipes: the released ones, a whole image a step and the loss summed, and those of the first paper.

Long, Shelhamer and Darrell, CVPR 2015 (arXiv 1411.4038); Shelhamer, Long and Darrell, TPAMI 2017 (arXiv 1605.06211);
shelhamer/fcn.berkeleyvision.org, whose files are named here.

The released recipes learn "heavily": one image, a momentum of 0.99, and the sum of the loss over all pixels, for which
rates are tiny. 1e-10 times the 187,500 pixels of 500 x 375 is 1.9e-5 for their mean, ten times that at the momentum of
0.9: near the first paper's 1e-4. Each stage adds a skip whose scores start at zero, at a hundredth of the rate.

Those rates were made for Caffe's VGG16, whose input goes up to 255 and whose pool4 and pool3 are larger the finer they
are. On images of deviation 1, as torchvision's weights take them, the later stages move their skips slowly. Larger
images than VOC's lose what lies outside the crop: give `crop` the size of the largest.
"""

from __future__ import annotations

from atrous.recipes.papers.cited import Cited, paper_recipe

SOURCE = "FCN (arXiv 1411.4038 and 1605.06211); shelhamer/fcn.berkeleyvision.org"

_HEAVY: Cited = {
    "pretrained": (True, "solve.py: VGG16 of ImageNet (Caffe's); ours: torchvision's"),
    "crop": ((500, 500), "voc_layers.py: the whole image; ours: within 500 x 500, the border ignored"),
    "batch": (1, "train.prototxt, solver.prototxt: one image, iter_size 1"),
    "augment": ("none", "paper 4.3: mirroring and jitter gave nothing; voc_layers.py has none"),
    "reduction": ("sum", "train.prototxt: normalize false"),
    "momentum": (0.99, "solver.prototxt"),
    "weight_decay": (5e-4, "solver.prototxt; train.prototxt: none of biases"),
    "bias_rate": (2.0, "train.prototxt: lr_mult 1 and 2"),
    "schedule": ("constant", "solver.prototxt: fixed"),
    "warm_up": (0, "solver.prototxt: none"),
}

_CVPR: Cited = {
    **_HEAVY,
    "batch": (20, "paper 4.3: 20 images"),
    "reduction": ("mean", "not verified; the release's FCN-AlexNet has the same kind of rate and normalises"),
    "momentum": (0.9, "paper 4.3"),
    "weight_decay": (5e-4, "paper 4.3, printed 5^-4 or 2^-4"),
    "bias_rate": (2.0, "paper 4.3: doubled for biases"),
    "schedule": ("constant", "paper 4.3: fixed rates"),
    "warm_up": (0, "ours: the paper names none"),
}

_LEARNT = ({"deconvolution": "learnt"}, "paper 4.2 and 4.3: the 2x layers start bilinear and learn")
_DAYS = (58, "ours: a third of FCN-32s's, as its days are (paper 4.3: one against three)")


def _staged(net: str, rate: float, steps: tuple[int, str], base: Cited, place: str) -> Cited:
    rest = {field: cited for field, cited in base.items() if net == "fcn32s" or field != "pretrained"}
    return {
        "model": (net, f"{place}-{net}/net.py"),
        **rest,
        "learning_rate": (rate, f"{place}-{net}/solver.prototxt"),
        "steps": steps,
    }


_VOC = (100_000, "solve.py: 25 x 4,000")


@paper_recipe(SOURCE)
def fcn32s_voc() -> Cited:
    """FCN-32s on PASCAL VOC, as released: one whole image a step, the loss summed."""
    return _staged("fcn32s", 1e-10, _VOC, _HEAVY, "voc")


@paper_recipe(SOURCE, after=fcn32s_voc)
def fcn16s_voc() -> Cited:
    """FCN-16s on PASCAL VOC, as released: from FCN-32s, at a hundredth of its rate."""
    return _staged("fcn16s", 1e-12, _VOC, _HEAVY, "voc")


@paper_recipe(SOURCE, after=fcn16s_voc)
def fcn8s_voc() -> Cited:
    """FCN-8s on PASCAL VOC, as released: from FCN-16s, at a hundredth of its rate."""
    return _staged("fcn8s", 1e-14, _VOC, _HEAVY, "voc")


@paper_recipe(SOURCE)
def fcn8s_at_once_voc() -> Cited:
    """FCN-8s on PASCAL VOC, as released, in one go: the skips' maps are scaled, and one rate fits all."""
    return {
        "model": ("fcn8s", "voc-fcn8s-atonce/net.py"),
        "options": ({"at_once": True}, "voc-fcn8s-atonce/net.py: pool4 x 0.01, pool3 x 0.0001"),
        **_HEAVY,
        "learning_rate": (1e-10, "voc-fcn8s-atonce/solver.prototxt"),
        "steps": (300_000, "solve.py: 75 x 4,000"),
    }


@paper_recipe(SOURCE)
def fcn32s_voc_cvpr() -> Cited:
    """FCN-32s on PASCAL VOC, as in the first paper: 20 images a step, the mean of the loss."""
    return {
        "model": ("fcn32s", "paper 4.1"),
        **_CVPR,
        "learning_rate": (1e-4, "paper 4.3: VGG16"),
        "epochs": (175, "paper 4.3: at least 175"),
    }


@paper_recipe(SOURCE, after=fcn32s_voc_cvpr)
def fcn16s_voc_cvpr() -> Cited:
    """FCN-16s on PASCAL VOC, as in the first paper: from FCN-32s, its doubling layer learns."""
    rest = {field: cited for field, cited in _CVPR.items() if field != "pretrained"}
    return {
        "model": ("fcn16s", "paper 4.2"),
        "options": _LEARNT,
        **rest,
        "learning_rate": (1e-6, "paper 4.2: a hundredth"),
        "epochs": _DAYS,
    }


@paper_recipe(SOURCE, after=fcn16s_voc_cvpr)
def fcn8s_voc_cvpr() -> Cited:
    """FCN-8s on PASCAL VOC, as in the first paper: from FCN-16s, its doubling layers learn."""
    rest = {field: cited for field, cited in _CVPR.items() if field != "pretrained"}
    return {
        "model": ("fcn8s", "paper 4.2"),
        "options": _LEARNT,
        **rest,
        "learning_rate": (1e-8, "not verified; paper 4.2 lowers it for FCN-16s, the release again for FCN-8s"),
        "epochs": _DAYS,
    }
