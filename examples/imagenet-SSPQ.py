"""SSPQ on ImageNet: 1-bit kernels and 4-bit activations, by the schedule of L-SSPQ's S1."""

import sys

from sspq.experiments.imagenet import main
from sspq.experiments.imagenet_options import Step

STEP = Step(
    name="SSPQ",
    graph="resnet_model2",
    epochs=105,
    wup_length=5,
    step_size=10,
    eta_min=1e-5,
    needs_load=False,
)

if __name__ == "__main__":
    sys.exit(main(STEP, __doc__))
