"""The prototypes head: the nearest class mean, from the sum of each class's features and their counts.

FedNCM (Legate et al. 2210.08090): with φ the features of a picture at length 1 and μₖ their mean over class k, a
picture belongs to the class with the least ‖φ - μₖ‖², that is the largest 2μₖᵀφ - ‖μₖ‖²: a linear head. Sums and counts
add up over devices, so for any split the head is that of all pictures in one place. It is the head for few pictures and
for slow lines: f·K numbers instead of f², and nothing to be chosen; with many pictures the analytic head is far better.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from fanlight.learning.analytic import Doubles
from fanlight.learning.heads import Labels, SoftmaxHead, checked_head

SHARPNESS: Final = 20.0
"""So many times a difference of squared distances is a difference of logits; measured like ``analytic.SHARPNESS``."""


def head_of(sums: Doubles, examples: Labels) -> SoftmaxHead:
    """The head for features of length √f, as ``heads.as_read`` gives them; a class without pictures is never nearest.

    Args:
        sums: (f, K), per class the sum of φ.
        examples: (K,) pictures of each class.

    Raises:
        ModelError: fewer than two classes, or a number is not finite.
    """
    means = sums / np.maximum(examples, 1)
    bias = np.where(examples > 0, -(means**2).sum(axis=0), -3.0)  # no score of a class with pictures is less
    return checked_head(2 * SHARPNESS / math.sqrt(len(sums)) * means, SHARPNESS * bias)
