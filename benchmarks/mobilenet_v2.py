"""MobileNetV2 with random weights as a float32 ONNX graph, to be compared with.

Sandler et al., 2018, arXiv:1801.04381, table 2, width 1, for 224x224 images: 3.50 million
parameters, 0.30 G multiply-adds. Batch normalization is folded into the convolutions, as converters
leave it.
"""

from typing import Any

import numpy as np
from onnx import TensorProto, helper

from sspq.export.onnx.builder import LOGITS, Builder

SIZE, CLASSES = 224, 1000
# Expansion, channels, blocks, stride of the first one.
_GROUPS = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
_LAST = 1280


class _Network(Builder):
    def __init__(self) -> None:
        super().__init__()
        self._rng = np.random.RandomState(0)
        self._x, self._channels, self._count = "input", 3, 0

    def _next(self, kind: str, *constants: Any, **attributes: Any) -> None:
        """Adds an op on what the last one gave."""
        self._count += 1
        name = f"{kind}{self._count}"
        inputs = [self.constant(f"{name}/{i}", c) for i, c in enumerate(constants)]
        self._x = self.node(kind, [self._x, *inputs], name, **attributes)

    def _normal(self, shape: Any, inputs: int) -> np.ndarray:
        return (self._rng.standard_normal(shape) * np.sqrt(2 / inputs)).astype(np.float32)

    def image(self) -> None:
        """uint8 ``[N, H, W, 3]`` to float32 ``[N, 3, H, W]`` in [-1, 1]."""
        self._next("Transpose", perm=[0, 3, 1, 2])
        self._next("Cast", to=TensorProto.FLOAT)
        self._next("Sub", np.float32(127.5))
        self._next("Div", np.float32(127.5))

    def convolution(
        self, channels: int, size: int, stride: int = 1, depthwise: bool = False, relu: bool = True
    ) -> None:
        group = self._channels if depthwise else 1
        shape = [channels, self._channels // group, size, size]
        kernel = self._normal(shape, int(np.prod(shape[1:])))
        self._next(
            "Conv",
            kernel,
            np.zeros(channels, np.float32),
            kernel_shape=[size, size],
            strides=[stride, stride],
            pads=[size // 2] * 4,
            group=group,
        )
        if relu:
            self._next("Clip", np.float32(0), np.float32(6))
        self._channels = channels

    def block(self, expansion: int, channels: int, stride: int) -> None:
        shortcut = self._x if stride == 1 and channels == self._channels else None
        inner = expansion * self._channels
        if expansion > 1:
            self.convolution(inner, 1)
        self.convolution(inner, 3, stride, depthwise=True)
        self.convolution(channels, 1, relu=False)
        if shortcut is not None:
            self._x = self.node("Add", [self._x, shortcut], self._x + "/sum")

    def logits(self) -> None:
        self._next("ReduceMean", axes=[2, 3], keepdims=0)
        self._next("MatMul", self._normal([self._channels, CLASSES], self._channels))
        self._next("Add", np.zeros(CLASSES, np.float32))
        self.node("Identity", [self._x], LOGITS)


def mobilenet_v2() -> Any:
    """The ``onnx.ModelProto``: input ``input``, uint8 ``[N, 224, 224, 3]``; output ``logits``."""
    network = _Network()
    network.image()
    network.convolution(32, 3, 2)
    for expansion, channels, blocks, stride in _GROUPS:
        for i in range(blocks):
            network.block(expansion, channels, stride if i == 0 else 1)
    network.convolution(_LAST, 1)
    network.logits()
    image = helper.make_tensor_value_info("input", TensorProto.UINT8, ["N", SIZE, SIZE, 3])
    return network.model(image, CLASSES, {"model": "MobileNetV2"})
