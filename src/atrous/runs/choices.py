"""What the data decide about the network: its input channels and its preprocessing."""

from __future__ import annotations

from typing import Any

from atrous.contract import AtrousError, Preprocessing, Recipe


def preprocessing(net: Any, facts: dict[str, Any]) -> Preprocessing:
    """Return how the dataset's values become the network's input.

    8-bit colour takes the mean and deviation that published weights of the encoder expect; everything else takes the
    range, mean and deviation of the data itself, 16 bits from their 0.5 to their 99.5 percentile.
    """
    padding = net.preprocessing_padding
    if facts["dtypes"] == ["uint8"] and _channels(facts) == 3:
        encoder = getattr(net, "encoder", None)
        expected = {key: getattr(encoder, key) for key in ("mean", "std") if hasattr(encoder, key)}
        return Preprocessing(padding=padding, **expected)
    low, high = facts["low"], max(facts["high"], facts["low"] + 1e-6)
    mean = tuple((value - low) / (high - low) for value in facts["mean"])
    std = tuple(max(value / (high - low), 1e-3) for value in facts["std"])
    return Preprocessing(low=low, high=high, mean=mean, std=std, padding=padding)


def _channels(facts: dict[str, Any]) -> int:
    """Return how many channels a network for these images takes: grey among colour is repeated to three."""
    channels, dtypes = set(facts["channels"]), facts["dtypes"]
    if len(dtypes) > 1:
        raise AtrousError(f"images of {' and '.join(dtypes)} are mixed; store them all with one depth")
    if len(channels) > 1 and channels != {1, 3}:
        raise AtrousError(f"images of {', '.join(map(str, sorted(channels)))} channels are mixed; store them all alike")
    return max(channels)


def network_options(recipe: Recipe, facts: dict[str, Any]) -> dict[str, Any]:
    """Return the keywords of the network's builder that the recipe and the data name."""
    options: dict[str, Any] = {
        "in_channels": _channels(facts),
        "encoder": recipe.encoder,
        "output_stride": recipe.output_stride,
        "width": recipe.width,
        "pretrained": recipe.pretrained,
    }
    return {**{key: value for key, value in options.items() if value is not None}, **recipe.options}
