"""Which variables of a graph are quantized: the variants ``paper`` and ``released``, by name.

``paper`` is the method as published. ``released`` is what the published scripts compute, so that
numbers obtained from them can be compared.
"""

import re
from typing import Dict, NamedTuple, Pattern, Tuple

from sspq.quantizers.dorefa import check_bits

VARIANTS = ("paper", "released")


class WeightScope(NamedTuple):
    """The variables whose name matches ``include`` anywhere and ``exclude`` nowhere."""

    include: Pattern[str]
    exclude: Pattern[str]

    def holds(self, name: str) -> bool:
        return bool(self.include.search(name)) and not self.exclude.search(name)


class WeightBits(NamedTuple):
    """Bits of each variable: those of the first scope that holds its name, else 32."""

    rules: Tuple[Tuple[WeightScope, int], ...]

    def of(self, name: str) -> int:
        return next((bits for scope, bits in self.rules if scope.holds(name)), 32)


_KERNELS = re.compile(r"/W$")
_NONE = re.compile(r"(?!)")

_SCOPES: Dict[Tuple[str, str], WeightScope] = {
    # Every kernel but the first and the last layer's.
    ("cifar", "paper"): WeightScope(_KERNELS, re.compile(r"(^|/)(conv1|fct)/W$")),
    # Meant to be the same, but matches `conv1` within `conv1x1a` and `conv1x1b` too, which leaves
    # the three kernels named `convshortcut`.
    ("cifar", "released"): WeightScope(_KERNELS, re.compile(r"conv1|fct")),
    # Every 1x1 kernel of the shift blocks and of `bfAP`.
    ("imagenet", "paper"): WeightScope(
        re.compile(r"(^|/)(conv1x1a|conv1x1b|convshortcut)/W$"), _NONE
    ),
    # The quantizer is defined and not applied.
    ("imagenet", "released"): WeightScope(_NONE, _NONE),
}

_LAST_LAYERS = {
    "cifar": WeightScope(re.compile(r"(^|/)fct/W$"), _NONE),
    "imagenet": WeightScope(re.compile(r"(^|/)linear/W$"), _NONE),
}


def check_variant(variant: str) -> str:
    """Returns ``variant`` if there is one of that name, else raises ValueError."""
    if variant not in VARIANTS:
        raise ValueError(f"`variant` must be one of {VARIANTS}, got {variant!r}")
    return variant


def weight_scope(family: str, variant: str) -> WeightScope:
    """The scope of a family of graphs ("cifar", "imagenet") in a variant ("paper", "released")."""
    check_variant(variant)
    if (family, variant) not in _SCOPES:
        families = sorted({f for f, _ in _SCOPES})
        raise ValueError(f"`family` must be one of {families}, got {family!r}")
    return _SCOPES[family, variant]


def weight_bits(family: str, variant: str, bitw: int, last_bits: int = 32) -> WeightBits:
    """``bitw`` bits for the :func:`weight_scope` and ``last_bits`` for the last layer's kernel."""
    scope = weight_scope(family, variant)
    return WeightBits(
        (
            (scope, check_bits("bitw", bitw)),
            (_LAST_LAYERS[family], check_bits("last_bits", last_bits)),
        )
    )
