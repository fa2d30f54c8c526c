"""The shifts of the networks, at the batch sizes that they are trained with."""

# (network, batch, channels, size, stride): the shifts of L-SSPQ50 and of SSPQ34 for CIFAR.
SHAPES = [
    ("L-SSPQ50", 32, 64, 56, 1),
    ("L-SSPQ50", 32, 128, 56, 2),
    ("L-SSPQ50", 32, 128, 28, 1),
    ("L-SSPQ50", 32, 256, 28, 2),
    ("L-SSPQ50", 32, 256, 14, 1),
    ("L-SSPQ50", 32, 512, 14, 2),
    ("L-SSPQ50", 32, 512, 7, 1),
    ("SSPQ34", 256, 16, 32, 1),
    ("SSPQ34", 256, 32, 32, 2),
    ("SSPQ34", 256, 32, 16, 1),
    ("SSPQ34", 256, 64, 16, 2),
    ("SSPQ34", 256, 64, 8, 1),
    ("SSPQ34", 256, 128, 8, 2),
    ("SSPQ34", 256, 128, 4, 1),
]
# Those that the targets are stated for.
TARGET_SHAPES = [(32, 64, 56, 1), (32, 128, 56, 2), (32, 128, 28, 1), (32, 256, 28, 2)]
TARGET_SHAPES += [(32, 256, 14, 1), (32, 512, 14, 2), (32, 512, 7, 1)]
TARGET_SHAPES += [(256, 16, 32, 1), (256, 64, 8, 1)]
