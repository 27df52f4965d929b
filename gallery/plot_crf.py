"""
The fully connected CRF: what each number does
==============================================

A network that looks at every sixteenth pixel knows what is there, and not where it ends. The CRF asks the photo: pixels
that lie close together and have the same colour should have the same label. Five numbers say what "close", "same" and
"should" mean; here is what happens when one of them is turned and the others stay.
"""

import cv2
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.collections import LineCollection
from matplotlib.colors import to_rgb
from skimage.data import astronaut

from atrous.crf import DenseCRF, Lattice, deeplab_v2, mild, pydensecrf_example
from atrous.data.scenes import street_scene, street_space
from atrous.draw import overlay
from atrous.evaluation import Scores

PARTS = {
    "wall": "black",
    "flag": "royalblue",
    "hair": "gold",
    "face": "hotpink",
    "suit": "orangered",
    "ring": "teal",
    "helmet": "blueviolet",
    "rocket": "yellowgreen",
    "table": "sienna",
}
TINTS = 255 * np.array([to_rgb(colour) for colour in PARTS.values()])
PHOTO = astronaut()  # Eileen Collins; NASA, in the public domain

# %%
# The photo comes without a network, so the network's answer is made up: outlines drawn by hand, brought to a grid of
# every sixteenth pixel, blurred, with noise, and enlarged. It has faults that a real one has: edges are some pixels
# off, corners are round, thin things are lost, and here and there it is wrong.

OUTLINES = (
    (1, [(0, 0), (38, 0), (64, 60), (92, 150), (98, 215), (60, 300), (26, 400), (30, 512), (0, 512)]),
    (4, [(140, 190), (60, 240), (34, 310), (20, 420), (30, 512), (300, 512), (362, 380), (345, 270), (280, 220)]),
    (5, [(115, 200), (150, 150), (185, 160), (250, 170), (300, 220), (290, 275), (210, 290), (145, 255)]),
    (2, [(155, 90), (170, 40), (230, 14), (290, 50), (300, 95), (275, 130), (240, 70), (195, 80), (180, 118)]),
    (3, [(180, 100), (205, 80), (250, 75), (270, 105), (262, 155), (235, 188), (205, 182), (185, 145)]),
    (8, [(366, 285), (470, 270), (512, 275), (512, 500), (362, 350)]),
    (7, [(368, 272), (356, 215), (380, 180), (384, 60), (414, 0), (450, 50), (456, 200), (470, 275)]),
    (6, [(278, 512), (285, 440), (330, 380), (400, 346), (470, 368), (496, 440), (505, 512)]),
)


def coarse(labels, count, stride, seed=0):
    """Return probabilities (count, h, w) as from a network whose logits lie `stride` pixels apart."""
    height, width = labels.shape
    grid = -(-width // stride), -(-height // stride)
    generator = np.random.default_rng(seed)
    logits = np.empty((count, height, width), np.float32)
    for label in range(count):
        share = cv2.resize((labels == label).astype(np.float32), grid, interpolation=cv2.INTER_AREA)
        noise = cv2.GaussianBlur(generator.normal(size=share.shape).astype(np.float32), (0, 0), 0.8)
        score = 6 * cv2.GaussianBlur(share, (0, 0), 0.6) + noise / noise.std()
        logits[label] = cv2.resize(score, (width, height), interpolation=cv2.INTER_LINEAR)
    powers = np.exp(logits - logits.max(0))
    return powers / powers.sum(0)


drawn = np.zeros(PHOTO.shape[:2], np.uint8)
for label, outline in OUTLINES:
    cv2.fillPoly(drawn, [np.array(outline)], label)
network = coarse(drawn, len(PARTS), stride=16)
refined = deeplab_v2()(PHOTO, network)


def panels(pictures, titles, *, wide=10.0, **options):
    """Show pictures in a row, each under its title."""
    height, width = pictures[0].shape[:2]
    side = wide / len(pictures)
    _, row = plt.subplots(1, len(pictures), figsize=(wide, side * height / width + 0.32), layout="constrained")
    for axes, picture, title in zip(row, pictures, titles, strict=True):
        axes.imshow(picture, **options)
        axes.set_title(title, fontsize=10)
        axes.set_axis_off()
    plt.show()


def seen(image, probabilities):
    """Return the likeliest labels as tints over the grey image, with white borders; the wall stays grey."""
    labels = probabilities.argmax(0).astype(np.uint8)
    grey = image.mean(2, keepdims=True)
    picture = np.where(labels[..., None] > 0, 0.5 * grey + 0.5 * TINTS[labels], grey).astype(np.uint8)
    borders = cv2.morphologyEx(labels, cv2.MORPH_GRADIENT, np.ones((2, 2), np.uint8)) > 0
    picture[borders] = 255
    return picture


panels([PHOTO, seen(PHOTO, network), seen(PHOTO, refined)], ["photo", "network, stride 16", "after the CRF"])

# %%
# From here on a part of the photo, and DeepLab v2's numbers, ``w1=4, sigma_alpha=67, sigma_beta=3, w2=3,
# sigma_gamma=3``, but for the one that is turned.

PART = np.ascontiguousarray(PHOTO[:280, 90:370])
GIVEN = np.ascontiguousarray(network[:, :280, 90:370])
WINDOW = np.s_[10:225, 30:245]  # what is shown of it
USUAL = {"w1": 4.0, "sigma_alpha": 67.0, "sigma_beta": 3.0, "w2": 3.0, "sigma_gamma": 3.0}


def turned(name, *values, **others):
    """Show what becomes of the part as one number takes these values."""
    crfs = [DenseCRF(**(USUAL | others | {name: value})) for value in values]
    pictures = [seen(PART, crf(PART, GIVEN))[WINDOW] for crf in crfs]
    panels(pictures, [f"{name} = {value!r}" for value in values])


# %%
# ``w1`` is how much pixels of like colour and place say. At 0 colours are not looked at. Too much of it, and large
# regions swallow what lies between them.

turned("w1", 0, 1, 4, 20)

# %%
# ``sigma_alpha``, in pixels, is how far away such a pixel may lie. With few pixels nobody is heard who
# knows better; with many, a pixel that got the wrong label is outvoted by the same colour further off.

turned("sigma_alpha", 3, 15, 67, 300)

# %%
# ``sigma_beta``, in the units of the image, is how different its colour may be. Below the photo's own noise no two
# pixels are alike and nothing happens; far above it colour stops no one, and labels no longer end at edges.

turned("sigma_beta", 0.5, 3, 10, 100)

# %%
# ``w2`` is how much neighbours say whatever their colour. It removes specks, and rounds what is thin.

turned("w2", 0, 3, 10, 30)

# %%
# ``sigma_gamma``, in pixels, is how far those neighbours reach; here with ``w2=10``, so that it shows.

turned("sigma_gamma", 1, 3, 8, 20, w2=10.0)

# %%
# ``iterations``: what happens, happens early. The map is the marginal probability of "hair", white for certain.

HAIR = list(PARTS).index("hair")
steps = [GIVEN, *(DenseCRF(**USUAL, iterations=count)(PART, GIVEN) for count in (1, 3, 10))]
panels([step[HAIR][WINDOW] for step in steps], ["network", "1 iteration", "3", "10"], cmap="gray", vmin=0, vmax=1)

# %%
# Normalisations with the same five numbers. They differ in how the sum over alike pixels is divided, so their weights
# do not mean the same, and numbers tuned for one should be tuned again for another. Without any, the sum grows with the
# number of alike pixels: plain regions are heard far and wide, and the same weights act more strongly.

turned("normalisation", "symmetric", "before", "after", "none")

# %%
# The lattice
# -----------
# How does every pixel hear every other in time linear in their number? Here for one line of the photo, where a pixel
# has two features, its place and its brightness. The plane of features is covered by triangles. *Splat*: a pixel hands
# its probability to the three corners around it, more to the nearer one. *Blur*: corners average with their neighbours
# along each of the three axes. *Slice*: a pixel reads its three corners again. Pixels on the other side of an edge lie
# far away in this plane, however close they are in the photo. A colour image has five features, so simplices have six
# corners, and there are six axes.


def simplex(point):
    """Return the d + 1 corners around a point, as whole coordinates (d + 1) that sum to 0, and their weights."""
    d = len(point)
    elevated = point @ ELEVATION[d]
    origin = np.rint(elevated / (d + 1)).astype(int)
    rest = elevated / (d + 1) - origin
    rank = np.argsort(np.argsort(-rest, kind="stable")) + origin.sum()
    wrap = rank // (d + 1)
    origin, rest, rank = origin - wrap, rest + wrap, rank - (d + 1) * wrap
    falling = np.sort(rest)[::-1]
    weights = np.append(1 + falling[-1] - falling[0], (falling[:-1] - falling[1:])[::-1])
    corners = [tuple((d + 1) * origin + k - (d + 1) * (rank > d - k)) for k in range(d + 1)]
    return corners, weights


def elevation(d):
    """Return the matrix (d, d + 1) that puts d features into the plane of d + 1 coordinates that sum to 0."""
    rows = [[1.0] * (axis + 1) + [-(axis + 1.0)] + [0.0] * (d - axis - 1) for axis in range(d)]
    axes = np.arange(1, d + 1)
    return np.array(rows) * ((d + 1) * np.sqrt(2 / 3) / np.sqrt(axes * (axes + 1)))[:, None]


def blurred(table, axis):
    """Return the values of the corners, each with half of its two neighbours' on an axis."""
    some = next(iter(table))
    step = np.ones(len(some), int)
    step[axis] -= len(some)
    none = np.zeros_like(table[some])
    ahead = {corner: table.get(tuple(np.add(corner, step)), none) for corner in table}
    behind = {corner: table.get(tuple(np.subtract(corner, step)), none) for corner in table}
    return {corner: value + (ahead[corner] + behind[corner]) / 2 for corner, value in table.items()}


ELEVATION = {2: elevation(2)}
COLUMNS = np.arange(118, 196)  # the wall, its edge at 156, hair
bright = PHOTO[60, COLUMNS].mean(1)
points = np.stack([(COLUMNS - COLUMNS[0]) / 16, (bright - bright.min()) / 22], axis=1)
given = 1 / (1 + np.exp((166 - COLUMNS) / 4))  # a network that puts the edge of the hair ten pixels too far right
values = np.stack([given, np.ones_like(given)], axis=1)  # the probability, and how many have spoken

splat = {}
for point, value in zip(points, values, strict=True):
    for corner, weight in zip(*simplex(point), strict=True):
        splat[corner] = splat.get(corner, 0) + weight * value
blur = splat
for axis in range(3):
    blur = blurred(blur, axis)
sliced = np.array(
    [sum(weight * blur[corner] for corner, weight in zip(*simplex(point), strict=True)) for point in points]
)
heard = sliced[:, 0] / sliced[:, 1]

# The package's filter finds the same corners and says the same.
lattice = Lattice.of_features(points.T[:, None].astype(np.float32), normalisation="none")
theirs = lattice.filter(values.T[:, None])[:, 0]
print(f"largest difference from the package's filter: {np.abs(theirs[0] / theirs[1] - heard).max():.0e}")

# %%
# Position and brightness are on the axes, in units of their sigmas. Orange is "hair". Discs are corners, as large as
# what they hold. The network puts the edge of the hair ten pixels too far to the right; what a pixel hears from others
# jumps where the photo does.


def triangles(table):
    """Return the sides of the lattice's triangles between the corners of a table, in the plane of features."""
    back = np.linalg.pinv(ELEVATION[2])
    steps = [np.ones(3, int) - 3 * np.eye(3, dtype=int)[axis] for axis in range(3)]
    pairs = [(corner, tuple(np.add(corner, step))) for corner in table for step in steps]
    return [(np.array(one) @ back, np.array(other) @ back) for one, other in pairs if other in table]


def draw_corners(axes, table):
    """Draw a table's corners as discs: their area is how much they hold, their colour the mean probability."""
    places = np.array(list(table)) @ np.linalg.pinv(ELEVATION[2])
    held = np.array(list(table.values()))
    axes.scatter(*places.T, s=24 * held[:, 1] ** 0.8, c=held[:, 0] / held[:, 1], zorder=2, **SHADES)


everywhere = np.array(list(splat)) @ np.linalg.pinv(ELEVATION[2])
LIMITS = np.stack([everywhere.min(0) - 0.8, everywhere.max(0) + 0.8], axis=1)
SHADES = {"cmap": "PuOr_r", "vmin": 0, "vmax": 1, "edgecolors": "0.25", "linewidths": 0.6}
_, row = plt.subplots(1, 4, figsize=(11, 2.9), layout="constrained")
titles = ("pixels of one line", "splat", "blur", "slice")
for axes, title, table in zip(row, titles, (splat, splat, blur, None), strict=True):
    axes.set_title(title, fontsize=10)
    if table is None:
        continue
    axes.add_collection(LineCollection(triangles(table), colors="0.8", linewidths=0.7, zorder=1))
    axes.set(xlabel="position / sigma_alpha", aspect="equal", xlim=LIMITS[0], ylim=LIMITS[1])
row[0].scatter(*points.T, s=16, c=given, zorder=2, **SHADES)
row[0].set_ylabel("brightness / sigma_beta")
draw_corners(row[1], splat)
draw_corners(row[2], blur)
row[3].imshow(
    bright[None], cmap="gray", vmin=0, vmax=255, aspect="auto", extent=(COLUMNS[0], COLUMNS[-1], -0.22, -0.06)
)
row[3].plot(COLUMNS, given, color="0.6", label="network")
row[3].plot(COLUMNS, heard, color="C1", label="what is heard")
row[3].set(xlabel="column", ylim=(-0.24, 1.05))
row[3].legend(fontsize=8, loc="upper left")
plt.show()

# %%
# When it helps
# -------------
# Streets with an exact label for every pixel, and two made-up networks on them: one that knows every sixteenth pixel,
# and one with a decoder that knows every fourth. Numbers are the mean IoU over six streets, in per cent. The errors of
# these networks are small and differ from place to place, which a CRF removes easily. A real network is wrong over
# whole regions, and there a CRF gains less. But this much is the same: numbers that are too strong take away what is
# thin, such as the trunk of the tree, and cost more than they give.

STREETS = [street_scene(seed, size=(240, 320)) for seed in range(6)]
CRFS = {"no CRF": None, "mild": mild(), "DeepLab v2": deeplab_v2(), "peer's README": pydensecrf_example()}


def labelled(crf, stride):
    """Return the labels of every street."""
    networks = [coarse(street.labels, len(street_space()), stride, seed) for seed, street in enumerate(STREETS)]
    refined = [crf(street.image, net) if crf else net for street, net in zip(STREETS, networks, strict=True)]
    return [each.argmax(0).astype(np.uint8) for each in refined]


def mean_iou(labels):
    """Return the mean IoU in per cent over the streets."""
    confusion = np.zeros((len(street_space()),) * 2, np.int64)
    for street, found in zip(STREETS, labels, strict=True):
        np.add.at(confusion, (street.labels, found), 1)
    return 100 * Scores(space=street_space(), confusion=confusion, images=len(STREETS)).mean_iou


SHOWN = 1
for stride in (16, 4):
    found = {name: labelled(crf, stride) for name, crf in CRFS.items()}
    pictures = [overlay(STREETS[SHOWN].image, labels[SHOWN], street_space(), legend=False) for labels in found.values()]
    panels(pictures, [f"stride {stride}, {name}: {mean_iou(labels):.1f}" for name, labels in found.items()], wide=12)
