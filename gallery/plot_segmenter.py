"""
From an image to labels: the stages of DeepLab v3+
==================================================

How large the maps are between an image and its labels, and how far a logit sees. The network is a small copy of
DeepLab v3+ with a ResNet-18, an eighth as wide but for the trunk's first layer. Sizes and reach do not depend on the
width.
"""

import matplotlib.pyplot as plt
import numpy as np
import torch

from atrous.contract import Preprocessing
from atrous.data.scenes import street_scene, street_space
from atrous.models import Segmenter, deeplab_v3plus

torch.manual_seed(0)
space = street_space()
net = deeplab_v3plus(classes=len(space), encoder="resnet18", width=1 / 8).eval()
segmenter = Segmenter(net, space, Preprocessing()).eval()

# %%
# The network takes sides of 16k + 1 pixels, so an image of 120 x 160 is filled up to 129 x 161 with the mean colour.
# ``padding`` says how many pixels come before and after.

image = street_scene(8, size=(120, 160)).image
geometry = net.geometry
print(geometry)
print("rows:", geometry.padding(120), "columns:", geometry.padding(160))

# %%
# Every part of the network, and the map that leaves it.

sizes = [("image", tuple(image.shape[:2]), image.shape[2])]


def noted(name):
    """Return a hook that writes down what leaves a part."""
    return lambda module, given, map: sizes.append((name, tuple(map.shape[2:]), map.shape[1]))


parts = ("aspp", "reduce", "refine", "classify")
hooks = [getattr(net, name).register_forward_hook(noted(name)) for name in parts]
encoder = net.encoder.register_forward_hook(
    lambda module, given, maps: sizes.extend(
        (f"trunk, stride {stride}", tuple(map.shape[2:]), map.shape[1])
        for stride, map in zip(net.encoder.strides, maps, strict=True)
    )
)
images = segmenter.from_numpy(image.transpose(2, 0, 1)[None])
labels = segmenter.labels(images)[0]
for hook in (*hooks, encoder):
    hook.remove()
for name, (height, width), channels in (*sizes, ("labels", tuple(labels.shape), 1)):
    print(f"{name:<17} {height:>4} x {width:<4} {channels:>4} channels")

# %%
# Which pixels can change the logit in the middle? The gradient of that logit says so. Image pooling lets every pixel
# speak a little; the convolutions, which see a window, speak louder. With the pooling left out, the window shows.

side = geometry.valid(513)
probe = torch.randn(1, 3, side, side, requires_grad=True)
pooled = net.aspp.pooling.register_forward_hook(lambda module, given, map: map * 0)
logits = net(probe)
logits[0, :, logits.shape[2] // 2, logits.shape[3] // 2].sum().backward()
pooled.remove()
reach = probe.grad.abs().sum((0, 1)).numpy()
rows = np.flatnonzero(reach.max(1))
print(f"the middle logit of {side} x {side} pixels sees rows {rows[0]} to {rows[-1]}")

figure, axes = plt.subplots(figsize=(5, 5))
axes.imshow(np.log10(reach + reach[reach > 0].min()), cmap="magma")
axes.set_title("how much each pixel moves the middle logit (logarithm)")
axes.set_axis_off()
plt.show()
