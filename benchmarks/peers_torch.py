"""PyTorch's part of peers.py and memory.py: ResNet50, run by an interpreter that has PyTorch.

    python benchmarks/peers_torch.py PASS PIXELS BATCH THREADS STEP...

Steps are ``eager`` and ``frozen``; a training step is always eager.
"""

import sys
from typing import Any, Callable

import torch
import turns
from torch import nn
from torch.nn import functional

CLASSES = 1000


class Bottleneck(nn.Module):
    """A block of version 1.5: the stride is at the 3x3 kernel."""

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        outputs = 4 * width
        self.layers = nn.Sequential(
            nn.Conv2d(inputs, width, 1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, width, 3, stride, 1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, outputs, 1, bias=False),
            nn.BatchNorm2d(outputs),
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride > 1 or inputs != outputs:
            self.shortcut = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, x: Any) -> Any:
        return functional.relu(self.layers(x) + self.shortcut(x), inplace=True)


def resnet50() -> nn.Module:
    layers = [
        nn.Conv2d(3, 64, 7, 2, 3, bias=False),
        nn.BatchNorm2d(64),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(3, 2, 1),
    ]
    inputs = 64
    for width, blocks, stride in ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2)):
        for block in range(blocks):
            layers.append(Bottleneck(inputs, width, 1 if block else stride))
            inputs = 4 * width
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inputs, CLASSES)]
    return nn.Sequential(*layers).to(memory_format=torch.channels_last)


def training(net: nn.Module, images: Any, labels: Any) -> Callable[[], None]:
    optimizer = torch.optim.SGD(
        net.parameters(), lr=0.1, momentum=0.9, nesterov=True, weight_decay=1e-4
    )

    def step() -> None:
        optimizer.zero_grad()
        functional.cross_entropy(net(images), labels).backward()
        optimizer.step()

    return step


def evaluation(net: nn.Module, images: Any, frozen: bool) -> Callable[[], None]:
    net.eval()
    with torch.inference_mode():
        infer = torch.jit.freeze(torch.jit.trace(net, images)) if frozen else net

    def step() -> None:
        with torch.inference_mode():
            infer(images)

    return step


def main() -> None:
    passes, names = sys.argv[1], sys.argv[5:]
    size, batch, threads = (int(a) for a in sys.argv[2:5])
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    images = torch.randn(batch, 3, size, size).to(memory_format=torch.channels_last)
    labels = torch.randint(CLASSES, [batch])
    steps = {
        name: training(resnet50(), images, labels)
        if passes == "training"
        else evaluation(resnet50(), images, name == "frozen")
        for name in names
    }
    turns.serve(steps, {"version": torch.__version__})


if __name__ == "__main__":
    main()
