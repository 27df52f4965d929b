"""
Augmentation: many crops of one street
======================================

A training crop is the image scaled, turned, bent, cropped and recoloured. All that moves pixels is one warp, so nothing
is resampled twice; the labels follow the same warp and take the nearest pixel.
"""

from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np

from atrous._core import separation_weights
from atrous.data.augmentation import LIGHT, NONE, STRONG, copy_paste, crop_sample, mosaic
from atrous.data.cells import cell_image
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


def show_crops(augmentation):
    """Show four crops of the street, and their labels."""
    crops = [
        crop_sample(street, (161, 193), np.random.default_rng(seed), augmentation=augmentation, fill=mean)
        for seed in range(4)
    ]
    show(contact_sheet([[image for image, _ in crops], [colourise(labels, space) for _, labels in crops]]))


# %%
# The street as it is, and under its labels.

space = street_space()
street = street_scene(41, size=(240, 320))
mean = (123.7, 116.3, 103.5)
show(contact_sheet([[street.image, overlay(street.image, street.labels, space)]], titles=["image", "labels"]))

# %%
# Crops of 161 x 193 with ``light``, the default: scales from one half to double, flips, and small changes of colour.
# What lies outside the image is grey here, the mean of ImageNet, and its labels are ignored: black below. A crop is a
# function of a random generator alone, so the same seed gives the same pixels, whatever process makes them.

show_crops(LIGHT)

# %%
# ``strong`` also rotates, shears and tilts the plane, bends the curve of brightness, and now and then blurs, adds noise
# or leaves JPEG's traces.

show_crops(STRONG)

# %%
# Elastic displacements are U-Net's: drawn at 3 x 3 points of the crop with a standard deviation of 10 pixels, bicubic
# between them. They suit tissue better than streets, whose poles are straight.

show_crops(replace(LIGHT, scale=(1.0, 1.0), elastic=10.0))

# %%
# A class that covers little of every image is seen more often where crops are balanced: here each is about a pixel of
# a class that is drawn among those in the image.

show_crops(replace(LIGHT, scale=(1.0, 2.0), crops="balanced"))

# %%
# A mosaic of four streets, and one street with objects of another put in.

streets = [street_scene(seed, size=(240, 320)) for seed in (41, 42, 43, 44)]
four = mosaic(streets, (161, 193), np.random.default_rng(1), fill=mean)
base = crop_sample(street, (161, 193), np.random.default_rng(1), augmentation=NONE)
pasted = copy_paste(base, replace(streets[1], instances=None), np.random.default_rng(3))
show(
    contact_sheet(
        [[four[0], colourise(four[1], space), pasted[0], colourise(pasted[1], space)]],
        titles=["mosaic", "its labels", "copy-paste", "its labels"],
    )
)

# %%
# U-Net's weights make the thin background between cells count: an error there weighs up to eleven times as much. Cells
# that touch are given a line of background first, where two numbers meet.

cells = cell_image(3)
numbers = cells.instances.copy()
meet = np.zeros(numbers.shape, bool)
meet[:, 1:] |= (numbers[:, 1:] != numbers[:, :-1]) & (numbers[:, 1:] * numbers[:, :-1] > 0)
meet[1:] |= (numbers[1:] != numbers[:-1]) & (numbers[1:] * numbers[:-1] > 0)
numbers[meet] = 0
weights = separation_weights(numbers)
shown = np.repeat((255 * weights / weights.max()).astype(np.uint8)[..., None], 3, 2)
show(contact_sheet([[cells.image, shown]], titles=["cells", "weights"]))

# %%
# With ``augment="none"`` the crop is the middle of the image, as it is.

image, labels = crop_sample(street, (161, 193), np.random.default_rng(0), augmentation=NONE, fill=mean)
show(contact_sheet([[image, overlay(image, labels, space)]]))
