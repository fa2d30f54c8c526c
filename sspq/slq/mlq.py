"""The order in which MLQ quantizes the layers of a network (incremental layer compensation)."""

from dataclasses import dataclass
from typing import Optional, Sequence, Tuple

from sspq.slq.schedule import TERNARY


@dataclass(frozen=True)
class Advance:
    """One stage of a network: these layers pass into ``state``, all others train on.

    States: 0 all float, 1 both outer clusters frozen, 2 all three.
    """

    layers: Tuple[str, ...]
    state: int


def incremental_stages(
    layers: Sequence[str], groups: Optional[Sequence[Sequence[str]]] = None
) -> Tuple[Advance, ...]:
    """The stages, in order: each group passes through state 1, then state 2, before the next.

    A layer advances by :func:`sspq.slq.next_stage` with the schedule ``TERNARY``. The order of
    layers in the paper's experiments is not public; this one is this package's own.

    Args:
        layers: names of the layers, in network order.
        groups: names of the layers that advance together, group by group (default: None, each
            layer on its own).

    Raises:
        ValueError: a layer is in no group or in several, or a group names none of the layers.
    """
    chosen = [tuple(group) for group in ([[n] for n in layers] if groups is None else groups)]
    if sorted(name for group in chosen for name in group) != sorted(set(layers)):
        raise ValueError(f"`groups` must hold each of the layers {list(layers)} once, got {groups}")
    states = range(1, len(TERNARY.counts) + 1)
    return tuple(Advance(group, state) for group in chosen for state in states)
