"""
Synthetic scenes: streets and cells
===================================

Data to try things on, without a download or a licence: every scene comes from a seed, every pixel has an exact label,
and a small network learns them in minutes.
"""

import matplotlib.pyplot as plt

from atrous.data.cells import cell_image, cell_space
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
# Twelve streets. Hour, weather, width, horizon and vanishing point differ, and so do the things that stand in them.
# Colours of the classes overlap on purpose: there are grey houses, grey roads and grey cars.

show(contact_sheet([[street_scene(seed).image for seed in range(row, row + 4)] for row in (0, 4, 8)]))

# %%
# Image, labels and overlay side by side. Image and labels are filled from the same outlines; the image is smooth at
# its edges, and the label is the class at the centre of each pixel.

space = street_space()
rows = []
for seed in (8, 41, 14):
    street = street_scene(seed, size=(240, 320))
    colours = colourise(street.labels, space)
    rows.append([street.image, colours, overlay(street.image, street.labels, space)])
show(contact_sheet(rows, titles=["image", "labels", "overlay"], gap=8))

# %%
# Nuclei under fluorescence and in bright field. Many touch, and ``instances`` tells them apart.

cells = [cell_image(seed, size=(160, 160)) for seed in range(5)]
overlays = [overlay(cell.image, cell.labels, cell_space(), strength=0.4) for cell in cells]
show(contact_sheet([[cell.image for cell in cells], overlays]))

# %%
# A folder of files for training takes one call:
#
# .. code-block:: python
#
#     from atrous.data.scenes import write_scenes
#
#     write_scenes("street", train=300, val=60, size=(120, 160))
