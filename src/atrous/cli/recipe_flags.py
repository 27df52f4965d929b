"""The flags that are the recipe's fields: written once, and taken by every command that trains."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from atrous import flags


def _flag(help: str, **words: Any) -> Parameter:
    return Parameter(help=help, **words)


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class RecipeFlags:
    """A flag for every field of `Recipe`; what is None was not given."""

    model: Annotated[str | None, _flag("The network (`atrous models`); deeplab_v3plus without it.")] = None
    encoder: Annotated[str | None, _flag("The trunk: any timm name; resnet18 for deeplab_v3plus.")] = None
    pretrained: Annotated[str | None, _flag("Start from published weights, a FILE of them, or a RUN.")] = None
    output_stride: Annotated[int | None, _flag("8, 16 or 32: how dense the deepest map is.")] = None
    width: Annotated[float | None, _flag("Channels, as a share of the paper's.")] = None
    options: Annotated[
        list[str] | None, _flag("Another keyword of the network, like at_once=true.", name="--option")
    ] = None

    crop: Annotated[str | None, _flag("Size of a crop: 256 or 256x336 (height x width).")] = None
    multi_scale: Annotated[
        tuple[float, float] | None, _flag("Smallest and largest share of --crop; every step draws one.")
    ] = None
    batch: Annotated[int | None, _flag("Crops at a time, on all devices together.")] = None
    accumulate: Annotated[int | None, _flag("Batches per step, one after the other.")] = None
    epochs: Annotated[int | None, _flag("Passes over the training images.")] = None
    steps: Annotated[int | None, _flag("Steps of the optimiser, in place of --epochs.")] = None
    augment: Annotated[Literal["none", "flip", "light", "strong"] | None, _flag("How crops are varied.")] = None
    scale: Annotated[tuple[float, float] | None, _flag("Smallest and largest zoom.")] = None
    crops: Annotated[Literal["anywhere", "balanced", "foreground"] | None, _flag("Where crops are taken.")] = None
    elastic: Annotated[float | None, _flag("Elastic displacements, in pixels; U-Net's are 10.")] = None
    mosaic: Annotated[float | None, _flag("Chance of a crop made of four images.")] = None
    copy_paste: Annotated[float | None, _flag("Chance of objects put in from another image.")] = None

    loss: Annotated[str | None, _flag("A sum such as cross_entropy+0.5*dice, or focal, hard_pixels, lovasz ...")] = None
    class_weights: Annotated[str | None, _flag("median, root or none, or a number per class: 1,2.5,1.")] = None
    label_smoothing: Annotated[float | None, _flag("Of the cross-entropy.")] = None
    focusing: Annotated[float | None, _flag("The focal loss's exponent.")] = None
    hard_pixels: Annotated[float | None, _flag("Share of pixels that the loss hard_pixels keeps.")] = None
    tversky: Annotated[tuple[float, float] | None, _flag("Weights of false positives and false negatives.")] = None
    separation: Annotated[float | None, _flag("Weight of the gaps between objects; U-Net's is 10.")] = None
    reduction: Annotated[
        Literal["mean", "sum"] | None, _flag("Of the loss, over pixels; Caffe's sum wants tiny rates.")
    ] = None
    compare: Annotated[Literal["resized", "grid"] | None, _flag("Where the loss is taken.")] = None
    loss_weights: Annotated[
        list[float] | None, _flag("One per output of a network with several losses.", consume_multiple=True)
    ] = None

    optimizer: Annotated[Literal["sgd", "adamw"] | None, _flag("What turns gradients into steps.")] = None
    learning_rate: Annotated[float | None, _flag("Rate at the peak.", alias="--lr")] = None
    momentum: Annotated[float | None, _flag("Momentum of SGD, the first beta of AdamW.")] = None
    weight_decay: Annotated[float | None, _flag("Not applied to norms and biases.")] = None
    encoder_rate: Annotated[float | None, _flag("The trunk's rate, as a share.")] = None
    bias_rate: Annotated[float | None, _flag("The biases' rate, as a share; Caffe's networks take 2.")] = None
    schedule: Annotated[
        Literal["poly", "cosine", "one_cycle", "steps", "constant"] | None, _flag("The rate's course.")
    ] = None
    power: Annotated[float | None, _flag("Of the poly schedule.")] = None
    warm_up: Annotated[int | None, _flag("Steps until the rate has its peak.")] = None
    drop: Annotated[float | None, _flag("What the schedule steps multiplies the rate by.")] = None
    drop_every: Annotated[int | None, _flag("... every so many steps.")] = None
    clip: Annotated[float | None, _flag("Largest norm of the gradients; 0 is none.")] = None

    freeze: Annotated[
        list[str] | None, _flag("Parts of the network that do not learn, such as encoder.", consume_multiple=True)
    ] = None
    freeze_epochs: Annotated[int | None, _flag("For how many epochs; 0 is always.")] = None
    freeze_norm: Annotated[bool | None, _flag("Keep every norm as it came, its statistics too.")] = None
    ema: Annotated[str | None, _flag("Average the weights with this decay; alone, 0.999.")] = None
    measure_norm: Annotated[int | None, _flag("Batches that measure batch norm's statistics in the end.")] = None

    validate_every: Annotated[int | None, _flag("Epochs between two validations.")] = None
    patience: Annotated[int | None, _flag("Epochs without a better score that end the run; 0 is none.")] = None
    precision: Annotated[
        Literal["auto", "float32", "bfloat16", "float16"] | None, _flag("Of the network's arithmetic.")
    ] = None
    compile: Annotated[bool | None, _flag("Compile the network for this machine first.")] = None
    deterministic: Annotated[bool | None, _flag("Only algorithms that give the same result every time.")] = None
    seed: Annotated[int | None, _flag("Same seed, same run.")] = None


def changes_of(given: RecipeFlags | None) -> dict[str, Any]:
    """Return the fields of the recipe that were given, as the values that the recipe takes.

    Raises `ValueError` for words that are none of its values, and for flags that contradict one another.
    """
    if given is None:
        return {}
    if given.steps is not None and given.epochs is not None:
        raise ValueError(f"both --steps {given.steps} and --epochs {given.epochs} came; give one, the run's length")
    values = {field.name: getattr(given, field.name) for field in fields(given)}
    read: dict[str, Callable[[Any], Any]] = {
        "pretrained": lambda text: {"true": True, "false": False}.get(text, text),
        "options": flags.options_of,
        "crop": flags.size_of,
        "class_weights": flags.class_weights_of,
        "ema": flags.decay_of,
        "loss_weights": tuple,
        "freeze": _parts_of,
    }
    return {name: read.get(name, _as_it_is)(value) for name, value in values.items() if value is not None}


def _parts_of(words: list[str]) -> tuple[str, ...]:
    if not words:
        raise ValueError("--freeze needs the name of a part, such as encoder")
    return tuple(words)


def _as_it_is(value: Any) -> Any:
    return value
