"""
Every network, stage by stage
=============================

One street, and the maps that each network makes of it: how large they are, how many pixels apart their positions lie,
and how far one of them sees. Networks are an eighth as wide as in their papers and have random weights, which changes
neither sizes nor reach; edges show all the same.
"""

import matplotlib.pyplot as plt
import numpy as np
import torch

from atrous.data.scenes import street_scene
from atrous.describing import described
from atrous.describing.seeing import draw_zeros
from atrous.models import TABLE, build

torch.manual_seed(0)


def network(name):
    """Return a small network: the DeepLabs of ResNets on a ResNet-18, the others on their own trunk."""
    encoder = "resnet18" if name in ("deeplab_v3", "deeplab_v3plus") else None
    net = build(name, 8, encoder=encoder, width=1 / 8).eval()
    draw_zeros(net)  # layers that start at zero would show nothing
    return net


# %%
# ``described`` runs a network without values and says which parts are its stages. Hooks on the same parts then hand out
# their maps for a real image; the mean over the channels, magnitudes only, is the picture.


def maps_of(net, description, image):
    """Return the mean map of each stage."""
    found, hooks = {}, []

    def noted(stage):
        def hook(module, given, result):
            maps = [result] if isinstance(result, torch.Tensor) else list(result)
            fitting = [each for each in maps if tuple(each.shape[2:]) == stage.size]
            found.setdefault(stage.name, fitting[0].abs().mean((0, 1)))

        return hook

    for stage in description.stages:
        if stage.path:
            hooks.append(net.get_submodule(stage.path).register_forward_hook(noted(stage)))
    with torch.no_grad():
        logits = net(image)
    for hook in hooks:
        hook.remove()
    return [found.get(stage.name, logits.abs().mean((0, 1))) for stage in description.stages]


def normalised(picture):
    """Return (h, w, 3) bytes as the (1, 3, h, w) values of a network."""
    return torch.from_numpy(picture.copy()).permute(2, 0, 1)[None] / 64 - 2


# %%
# A tile is a stage, in the order they run. Its side goes with the root of the side of its map, since the smallest would
# be a dot otherwise. U-Net's maps shrink by every convolution; DeepLab's stay at a stride of 8 or 16 where FCN's go on
# to 32; decoders climb up again. A "+" says that a mean over the map brings in the whole image besides the window.

COLUMNS, WIDE, TALL = 12, 10.8, 1.5


def tiles_of(name):
    """Return a picture with its name and what is said of it, for the image and each stage of a network."""
    net = network(name)
    size = tuple(net.geometry.valid(side) for side in (224, 256))
    street = street_scene(8, size=size).image
    description = described(net, size, name=name)
    tiles = [(street, "image", f"{size[0]} x {size[1]}")]
    for stage, mean in zip(description.stages, maps_of(net, description, normalised(street)), strict=True):
        sees = "image" if stage.receptive_field is None else f"{stage.receptive_field[0]}{' +' * stage.whole}"
        text = f"{stage.size[0]} x {stage.size[1]}\nstride {stage.stride:g}\nsees {sees}"
        tiles.append((mean.numpy(), stage.name.replace("upscore_", "up_"), text))
    return tiles


def draw(figure, tile, place, largest):
    """Draw one tile with its words; `place` is the left and lower corner in inches, `largest` the image's height."""
    picture, title, text = tile
    left, bottom = place
    high = 0.64 * (picture.shape[0] / largest) ** 0.5
    wide = high * picture.shape[1] / picture.shape[0]
    tall = figure.get_figheight()
    axes = figure.add_axes((left / WIDE, bottom / tall, wide / WIDE, high / tall))
    low, top = np.percentile(picture, (1, 99))
    axes.imshow(picture, cmap="magma", vmin=low, vmax=top, aspect="auto", interpolation="nearest")
    axes.set_axis_off()
    figure.text(left / WIDE, (bottom - 0.05) / tall, title, fontsize=7.4, va="top")
    figure.text(left / WIDE, (bottom - 0.18) / tall, text, fontsize=6.8, va="top", linespacing=1.3, color="0.35")


networks = {name: tiles_of(name) for name in TABLE}
lines = {name: -(-len(tiles) // COLUMNS) for name, tiles in networks.items()}
figure = plt.figure(figsize=(WIDE, TALL * sum(lines.values()) + 0.32 * len(lines)))
bottom = figure.get_figheight()
for name, tiles in networks.items():
    figure.text(0.008, (bottom - 0.2) / figure.get_figheight(), name, fontsize=10, fontweight="bold", va="center")
    bottom -= 0.32
    for place, tile in enumerate(tiles):
        line, column = divmod(place, -(-len(tiles) // lines[name]))
        corner = 0.08 + column * WIDE / COLUMNS, bottom - TALL * line - 0.82
        draw(figure, tile, corner, tiles[0][0].shape[0])
    bottom -= TALL * lines[name]
plt.show()

# %%
# ``atrous describe`` prints the same numbers for any network and size, with parameters and cost, and draws what one
# logit sees.

print(described(network("deeplab_v3plus"), (513, 513), name="deeplab_v3plus").as_text())
