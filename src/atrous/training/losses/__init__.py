"""Losses, computed in float32 whatever the network's precision, with 255 left out."""

from atrous.training.losses.comparing import check_weights, compared, cross_entropy, weighted_sum

__all__ = ["check_weights", "compared", "cross_entropy", "weighted_sum"]
