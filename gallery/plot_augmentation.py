"""
Augmentation: many crops of one street
======================================

A training crop is the image scaled, flipped, cropped and recoloured. Scale, flip and crop are one warp, so nothing is
resampled twice; the labels follow the same warp and take the nearest pixel.
"""

import matplotlib.pyplot as plt
import numpy as np

from atrous.data.augmentation import crop_sample
from atrous.data.scenes import street_scene, street_space
from atrous.draw import colourise, contact_sheet, overlay


def show(sheet):
    """Show one sheet of pictures at its own shape."""
    height, width = sheet.shape[:2]
    figure = plt.figure(figsize=(10, 10 * height / width))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.imshow(sheet, interpolation="lanczos")
    axes.set_axis_off()
    plt.show()


# %%
# The street as it is, and under its labels.

space = street_space()
street = street_scene(41, size=(240, 320))
show(contact_sheet([[street.image, overlay(street.image, street.labels, space)]], titles=["image", "labels"]))

# %%
# Eight crops of 161 x 193 with the standard recipe's scales, one half to double. What lies outside the image is grey
# here, the mean of ImageNet, and its labels are ignored: black below. A crop is a function of a random generator alone,
# so the same seed gives the same pixels, whatever process makes them.

mean = (123.7, 116.3, 103.5)
crops = [crop_sample(street, (161, 193), np.random.default_rng(seed), fill=mean) for seed in range(8)]
rows = []
for four in (crops[:4], crops[4:]):
    rows += [[image for image, _ in four], [colourise(labels, space) for _, labels in four]]
show(contact_sheet(rows))

# %%
# With ``augment="none"`` the crop is the middle of the image, as it is.

image, labels = crop_sample(street, (161, 193), np.random.default_rng(0), augment="none", fill=mean)
show(contact_sheet([[image, overlay(image, labels, space)]]))
