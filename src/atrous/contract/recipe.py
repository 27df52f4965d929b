"""The seventh noun: everything that decides a training run."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, field_validator, model_validator
from pydantic.dataclasses import dataclass as checked_dataclass

LOSSES = ("cross_entropy", "focal", "hard_pixels", "dice", "jaccard", "tversky", "lovasz")
"""What a loss is made of; `training.losses` has each."""

_Share = Annotated[float, Field(ge=0, le=1)]
_Below1 = Annotated[float, Field(ge=0, lt=1)]
_Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
_Amount = Annotated[float, Field(ge=0, allow_inf_nan=False)]
_Count = Annotated[int, Field(ge=1)]
_Number = Annotated[int, Field(ge=0)]


@checked_dataclass(config=ConfigDict(frozen=True, extra="forbid"), kw_only=True)
class Recipe:
    """Everything that decides a training run, so that a variant is `dataclasses.replace(recipe, epochs=10)`.

    Network: `pretrained` is True for the encoder's published weights, a file of them, or a run or model folder to start
    from. `options` are further keywords of the network's builder.

    Crops: `crop` is (height, width), or one number for a square; it is rounded up to a size the network takes, and
    `multi_scale` is the smallest and largest share of it that a step is trained on. A step takes `batch` crops,
    `accumulate` times one after the other. `steps`, where given, ends the run in place of `epochs`. `crops` lie
    anywhere, about a pixel of a class that is drawn (`"balanced"`), or a third of them about one that is not class 0
    (`"foreground"`); `elastic` is in pixels of the crop (U-Net: 10); `mosaic` and `copy_paste` are chances.

    Loss: `loss` is a sum of names, like `"cross_entropy+0.5*dice"`. `class_weights` are one per class, or worked out
    from how often the classes are: `"median"` (median frequency balancing) or `"root"` (of its square root).
    `label_smoothing` is of the cross-entropy, `focusing` the focal loss's exponent, `hard_pixels` the share of pixels
    that its loss keeps, `tversky` the weights of false positives and false negatives. `separation` is the weight that
    U-Net's loss adds in the gaps between objects (its paper: 10). `reduction` `"sum"` is Caffe's: over pixels, not
    their mean. `compare` says where the loss is taken: on logits resized to the labels, or on the network's own grid
    with the labels decimated. `loss_weights` has a weight per output of a network that is trained on several, the main
    one first; without any, all are 1.

    Optimiser: `encoder_rate` and `bias_rate` are shares of `learning_rate`. `warm_up` is in steps, a tenth of the run
    at most. `drop_every`, in steps, and `drop` are of the schedule `"steps"`. `clip` bounds the norm of the gradients.

    What learns: `freeze` names parts of the network, such as `"encoder"`, that do not, for `freeze_epochs` or, at 0,
    always; `freeze_norm` keeps every norm as it came. `ema` is the decay of averaged weights, which are then the ones
    scored and kept as best. `measure_norm` passes over crops measure the statistics of batch norm in the end.

    The run is scored every `validate_every` epochs, and ends after `patience` epochs without a better score.
    `precision` `"auto"` is bfloat16 where the device has matrix units for it, else float32.

    Raises `ValueError` for values that cannot be, naming the field.
    """

    model: str = "deeplab_v3plus"
    encoder: str | None = None
    output_stride: Literal[8, 16, 32] | None = None
    width: _Positive = 1.0
    pretrained: bool | str = False
    options: dict[str, Any] = Field(default_factory=dict)

    crop: tuple[_Count, _Count] = (256, 256)
    multi_scale: tuple[_Positive, _Positive] = (1.0, 1.0)
    batch: _Count = 8
    accumulate: _Count = 1
    epochs: _Count = 50
    steps: _Count | None = None
    augment: Literal["none", "flip", "light", "strong"] = "light"
    scale: tuple[_Positive, _Positive] = (0.5, 2.0)
    crops: Literal["anywhere", "balanced", "foreground"] = "anywhere"
    elastic: Annotated[float, Field(ge=0, le=1000)] = 0.0
    mosaic: _Share = 0.0
    copy_paste: _Share = 0.0

    loss: str = "cross_entropy"
    class_weights: Literal["none", "median", "root"] | tuple[_Amount, ...] = "none"
    label_smoothing: _Below1 = 0.0
    focusing: _Amount = 2.0
    hard_pixels: Annotated[float, Field(gt=0, le=1)] = 0.25
    tversky: tuple[_Amount, _Amount] = (0.3, 0.7)
    separation: _Amount = 0.0
    reduction: Literal["mean", "sum"] = "mean"
    compare: Literal["resized", "grid"] = "resized"
    loss_weights: tuple[_Amount, ...] = ()

    optimizer: Literal["sgd", "adamw"] = "sgd"
    learning_rate: _Positive = 0.05
    momentum: _Below1 = 0.9
    weight_decay: _Amount = 1e-4
    encoder_rate: _Amount = 1.0
    bias_rate: _Amount = 1.0
    schedule: Literal["poly", "cosine", "one_cycle", "steps", "constant"] = "poly"
    power: _Positive = 0.9
    warm_up: _Number = 100
    drop: _Share = 0.1
    drop_every: _Count = 10_000
    clip: _Amount = 0.0

    freeze: tuple[str, ...] = ()
    freeze_epochs: _Number = 0
    freeze_norm: bool = False
    ema: _Below1 = 0.0
    measure_norm: _Number = 0

    validate_every: _Count = 1
    patience: _Number = 0
    precision: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    compile: bool = False
    deterministic: bool = False
    seed: _Number = 0

    @field_validator("crop", mode="before")
    @classmethod
    def _square(cls, crop: Any) -> Any:
        return (crop, crop) if isinstance(crop, int) else crop

    @field_validator("loss")
    @classmethod
    def _known_loss(cls, loss: str) -> str:
        loss_terms(loss)
        return loss

    @model_validator(mode="after")
    def _check(self) -> Recipe:
        for name in ("scale", "multi_scale"):
            low, high = getattr(self, name)
            if low > high:
                raise ValueError(f"{name} {(low, high)} is (smallest, largest)")
        for name in ("loss_weights", "tversky", "class_weights"):
            values = getattr(self, name)
            if isinstance(values, tuple) and values and not any(values):
                raise ValueError(f"{name} {values} are all 0: nothing would be learnt")
        if self.freeze_epochs and not self.freeze:
            raise ValueError(f"freeze_epochs {self.freeze_epochs} came without freeze: name the parts, such as encoder")
        return self


def loss_terms(loss: str) -> tuple[tuple[float, str], ...]:
    """Return a loss as weights and names; raises `ValueError`, with the nearest name, for one that is not known.

    >>> loss_terms("cross_entropy + 0.5*dice")
    ((1.0, 'cross_entropy'), (0.5, 'dice'))
    """
    terms = []
    for part in loss.split("+"):
        weight, star, name = part.strip().rpartition("*")
        name = name.strip()
        if name not in LOSSES:
            near = get_close_matches(name, LOSSES, n=1)
            hint = f"did you mean {near[0]!r}? There are" if near else "there are"
            raise ValueError(f"{name!r} is no loss; {hint} {', '.join(LOSSES)}, and sums like cross_entropy+0.5*dice")
        terms.append((_weight(weight, loss) if star else 1.0, name))
    return tuple(terms)


def _weight(text: str, loss: str) -> float:
    try:
        weight = float(text)
    except ValueError:
        weight = -1.0
    if not 0 < weight < float("inf"):
        raise ValueError(f"{text.strip()!r} in the loss {loss!r} is no weight; numbers above 0 are")
    return weight
