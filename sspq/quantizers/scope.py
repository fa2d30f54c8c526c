"""Which variables of a graph are quantized: the variants ``paper`` and ``released``, by name.

``paper`` is the method as published. ``released`` is what the published scripts compute, so that
numbers obtained from them can be compared.
"""

import re
from typing import Dict, NamedTuple, Pattern, Tuple

VARIANTS = ("paper", "released")


class WeightScope(NamedTuple):
    """The variables whose name matches ``include`` anywhere and ``exclude`` nowhere."""

    include: Pattern[str]
    exclude: Pattern[str]

    def holds(self, name: str) -> bool:
        return bool(self.include.search(name)) and not self.exclude.search(name)


_KERNELS = re.compile(r"/W$")

_SCOPES: Dict[Tuple[str, str], WeightScope] = {
    # Every kernel but the first and the last layer's.
    ("cifar", "paper"): WeightScope(_KERNELS, re.compile(r"(^|/)(conv1|fct)/W$")),
    # Meant to be the same, but matches `conv1` within `conv1x1a` and `conv1x1b` too, which leaves
    # the three kernels named `convshortcut`.
    ("cifar", "released"): WeightScope(_KERNELS, re.compile(r"conv1|fct")),
}


def check_variant(variant: str) -> str:
    """Returns ``variant`` if there is one of that name, else raises ValueError."""
    if variant not in VARIANTS:
        raise ValueError("`variant` must be one of %s, got %r" % (VARIANTS, variant))
    return variant


def weight_scope(family: str, variant: str) -> WeightScope:
    """The scope of a family of graphs ("cifar") in a variant ("paper" or "released")."""
    check_variant(variant)
    if (family, variant) not in _SCOPES:
        families = sorted({f for f, _ in _SCOPES})
        raise ValueError("`family` must be one of %s, got %r" % (families, family))
    return _SCOPES[family, variant]
