"""The definition, in exact arithmetic and as slow as that is."""

import math
from fractions import Fraction

import numpy as np


def nearest(weights, centres):
    """The index of the nearest centre of each weight; of equally near ones the lowest."""
    exact = [Fraction(float(c)) for c in centres]
    return np.array(
        [
            min(range(len(exact)), key=lambda k: (abs(exact[k] - Fraction(float(w))), k))
            for w in weights
        ],
        int,
    )


def means(weights, index, centres, fixed=()):
    moved = np.array(centres, np.float64)
    for k in range(len(moved)):
        members = weights[index == k]
        if len(members) and k not in fixed:
            moved[k] = math.fsum(members.tolist()) / len(members)
    return moved


def losses(weights, index, centres):
    """Exact sums of squares, each rounded once."""
    result = []
    for k, centre in enumerate(centres):
        distances = [Fraction(float(w)) - Fraction(float(centre)) for w in weights[index == k]]
        result.append(float(sum(d * d for d in distances)))
    return np.array(result)
