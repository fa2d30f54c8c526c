"""Chains of nodes of a float32 ONNX graph that become one node in integers."""

from typing import Any, Dict, List, NamedTuple, Optional, Tuple

import numpy as np

from sspq.export.packed.pack import fold_norm

try:
    from onnx import numpy_helper
except ImportError:  # to_onnx raises the error
    pass


class Chain(NamedTuple):
    """A node and its followers, each the only reader of the output before it.

    Attributes:
        output: name of the output of the last node.
        members: names of the followers (default: none).
        factor, offset: factor and offset of each channel of the batch normalization in the chain;
            None without batch normalization (default: None).
        high: upper bound of the activation in the chain, whose lower bound is 0; infinite for
            ReLU, None without activation (default: None).
        levels: number of steps from 0 to 1 that the activation is rounded to; None without
            rounding (default: None).
    """

    output: str
    members: Tuple[str, ...] = ()
    factor: Optional[np.ndarray] = None
    offset: Optional[np.ndarray] = None
    high: Optional[float] = None
    levels: Optional[int] = None


class Graph:
    """Looks up constants and consumers of an ``onnx.ModelProto``."""

    def __init__(self, model: Any) -> None:
        self._constants = {t.name: t for t in model.graph.initializer}
        self._consumers: Dict[str, List[Any]] = {}
        for node in model.graph.node:
            for name in node.input:
                self._consumers.setdefault(name, []).append(node)

    def constant(self, name: str) -> Optional[np.ndarray]:
        """The value of a constant, None if the name is not that of a constant."""
        stored = self._constants.get(name)
        return None if stored is None else numpy_helper.to_array(stored)

    def chain(self, node: Any, high: Optional[float] = None) -> Chain:
        """The chain of a node: batch normalization after a convolution, activation, rounding.

        Args:
            node: first node of the chain.
            high: upper bound of the node if it is an activation itself (default: None).
        """
        chain = Chain(node.output[0], high=high)
        while True:
            after = self._only_consumer(chain.output)
            longer = None if after is None else self._extended(node, chain, after)
            if longer is None:
                return chain
            chain = longer

    def clips_to(self, clip: Any) -> Optional[float]:
        """The upper bound of a node Clip, None if its lower bound is not 0."""
        low, high = [self.constant(name) for name in clip.input[1:]]
        return None if high is None or low != 0 or not high > 0 else float(high)

    def _only_consumer(self, name: str) -> Optional[Any]:
        after = self._consumers.get(name, [])
        return after[0] if len(after) == 1 else None

    def _extended(self, node: Any, chain: Chain, after: Any) -> Optional[Chain]:
        longer = chain._replace(output=after.output[0], members=(*chain.members, after.name))
        if after.op_type == "BatchNormalization":
            if node.op_type != "Conv" or chain.members:
                return None
            rows = [self.constant(name) for name in after.input[1:]]
            epsilon = next(a.f for a in after.attribute if a.name == "epsilon")
            factor, offset = fold_norm(rows, epsilon)
            return longer._replace(factor=factor, offset=offset)
        if after.op_type == "Relu" and node.op_type in ("Conv", "Add") and chain.high is None:
            return longer._replace(high=np.inf)
        if after.op_type == "Clip" and chain.high is None:
            high = self.clips_to(after)
            return None if high is None else longer._replace(high=high)
        if after.op_type == "Mul" and chain.high == 1 and chain.levels is None:
            return self._rounded(longer, after)
        return None

    def _rounded(self, chain: Chain, times: Any) -> Optional[Chain]:
        """The chain with the rounding ``round(x * n) / n``, whose first node is ``times``."""
        nearest = self._only_consumer(times.output[0])
        if nearest is None or nearest.op_type != "Round":
            return None
        over = self._only_consumer(nearest.output[0])
        n = self.constant(times.input[1])
        if over is None or over.op_type != "Div" or n is None or self.constant(over.input[1]) != n:
            return None
        members = (*chain.members, nearest.name, over.name)
        return chain._replace(output=over.output[0], members=members, levels=int(n))
