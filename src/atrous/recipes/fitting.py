"""Which crop and which batch a network can be trained on in the memory there is."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator
from dataclasses import replace

from atrous.contract import AtrousError, Geometry, Recipe
from atrous.recipes.plan import Machine, gigabytes, shown

Memory = Callable[[Recipe], int]
"""How many bytes a step of a recipe takes in a process that trains all of its batch."""

NORM_BATCH = 8
"""From how many crops on batch norm's statistics are taken to be good enough."""
_SHARES = (1.0, 0.75, 0.5, 0.35, 0.25)
_ENLARGED = 1.25
"""By how much an image may be larger than the crop wished for and still be taken whole."""
_LONGEST = 2.0
_DEEPLAB = Geometry(multiple=16, offset=1, minimum=17)
_CAFFE = Geometry(multiple=8, offset=1, minimum=9)
_TAKEN = {
    "unet": Geometry(multiple=16, offset=12, minimum=188, margin=92),
    "deconvnet": Geometry(multiple=32, minimum=224),
    "hypercolumn": Geometry(multiple=32),
    "deeplab_v1": _CAFFE,
    "deeplab_v2": _CAFFE,
    "deeplab_v3": _DEEPLAB,
    "deeplab_v3plus": _DEEPLAB,
}


def geometry_of(recipe: Recipe) -> Geometry:
    """Return which sizes a network of the table takes, without building it.

    A U-Net on a trunk is padded, so that it takes multiples of 32; networks that take any size have them too.

    >>> geometry_of(Recipe(model="deeplab_v3plus")).valid(250)
    257
    """
    padded = recipe.model == "unet" and (recipe.encoder or recipe.options.get("padding", "valid") != "valid")
    return Geometry(multiple=32) if padded else _TAKEN.get(recipe.model, Geometry(multiple=32))


def crop_for(size: tuple[int, int], pixels: int, geometry: Geometry) -> tuple[int, int]:
    """Return a crop of about `pixels` in the shape of images of `size`, no larger than one; small ones are taken whole.

    Its shape is 2:1 at the most. What the network takes beside what it scores comes on top.

    >>> crop_for((360, 480), 256 * 336, Geometry(multiple=16, offset=1, minimum=17))
    (257, 337)
    >>> crop_for((300, 400), 513 * 513, Geometry(multiple=16, offset=1, minimum=17))
    (305, 401)
    """
    around = 2 * geometry.margin
    if size[0] * size[1] <= pixels * _ENLARGED:
        return geometry.valid(size[0] + around), geometry.valid(size[1] + around)
    shape = min(_LONGEST, max(1 / _LONGEST, size[0] / size[1]))
    sides = math.sqrt(pixels * shape), math.sqrt(pixels / shape)
    height, width = (_nearest(min(side, whole) + around, geometry) for side, whole in zip(sides, size, strict=True))
    return height, width


def scored_pixels(crop: tuple[int, int], geometry: Geometry) -> int:
    """Return how many pixels of a crop a network scores."""
    sides = [max(1, geometry.valid(side) - 2 * geometry.margin) for side in crop]
    return sides[0] * sides[1]


def _nearest(side: float, geometry: Geometry) -> int:
    above = geometry.valid(math.ceil(side))
    below = above - geometry.multiple
    return below if below >= geometry.minimum and side - below < above - side else above


def fitted(recipe: Recipe, machine: Machine, memory: Memory, *, given: Collection[str] = ()) -> tuple[Recipe, int]:
    """Return the recipe with the largest crop, batch and accumulation that fit, and the bytes a step of it takes.

    The recipe's own crop and batch are the most that is wanted, and settings that are `given` stay. The crop shrinks
    before the batch falls below 8, and what a smaller batch lacks is accumulated.

    Raises `AtrousError` where nothing fits, with the smallest that would.

    Source: that the patch shrinks until a small batch fits is nnU-Net's (Isensee et al. 2021).
    """
    tried = []
    for candidate in _ladder(recipe, machine, given):
        tried.append((candidate, memory(_own(candidate, machine))))
        if tried[-1][1] <= machine.memory:
            return tried[-1]
    smallest, needed = min(tried, key=lambda each: each[1])
    raise AtrousError(
        f"{_words(smallest)} takes about {gigabytes(needed)}, and there are {gigabytes(machine.memory)}"
        f"{' for each process' if machine.processes > 1 else ''}; {_hint(smallest, machine, memory)}"
    )


def _own(recipe: Recipe, machine: Machine) -> Recipe:
    """Return the recipe with the share of its batch that one process trains."""
    return replace(recipe, batch=math.ceil(recipe.batch / machine.processes))


def _ladder(recipe: Recipe, machine: Machine, given: Collection[str]) -> Iterator[Recipe]:
    geometry = geometry_of(recipe)
    crops = (
        [recipe.crop] if "crop" in given else list(dict.fromkeys(_shrunk(recipe.crop, geometry, s) for s in _SHARES))
    )
    batches = [recipe.batch]
    while "batch" not in given and batches[-1] % (2 * machine.processes) == 0:
        batches.append(batches[-1] // 2)
    enough = [batch for batch in batches if batch >= min(NORM_BATCH, recipe.batch)]
    for crop in crops[:3]:
        yield from (_with(recipe, crop, batch, given) for batch in enough)
    for crop in crops[2:] or crops[-1:]:
        yield from (_with(recipe, crop, batch, given) for batch in batches[len(enough) :] or batches[-1:])


def _with(recipe: Recipe, crop: tuple[int, int], batch: int, given: Collection[str]) -> Recipe:
    times = 1 if "accumulate" in given else recipe.batch // batch
    return replace(recipe, crop=crop, batch=batch, accumulate=recipe.accumulate * times)


def _shrunk(crop: tuple[int, int], geometry: Geometry, share: float) -> tuple[int, int]:
    around = 2 * geometry.margin
    height, width = (_nearest((side - around) * share + around, geometry) if share < 1 else side for side in crop)
    return height, width


def _words(recipe: Recipe) -> str:
    encoder = f" {recipe.encoder}" if recipe.encoder else ""
    return f"a step of {recipe.model}{encoder} with a batch of {recipe.batch} crops of {shown(recipe.crop)}"


def _hint(recipe: Recipe, machine: Machine, memory: Memory) -> str:
    """Return what would fit in place of a recipe that does not, the most alike first."""
    batch = recipe.batch
    while batch % (2 * machine.processes) == 0:
        batch //= 2
        if memory(_own(replace(recipe, batch=batch), machine)) <= machine.memory:
            return f"--batch {batch} --accumulate {recipe.batch // batch} would fit"
    narrow = replace(recipe, batch=machine.processes, width=0.25 * recipe.width, pretrained=False)
    needed = memory(_own(narrow, machine))
    if needed <= machine.memory:
        return f"--batch {narrow.batch} --width {narrow.width:g} would fit, in {gigabytes(needed)}"
    return f"a batch of {narrow.batch} of a quarter of the width would still take {gigabytes(needed)}"
