"""Step S2 of L-SSPQ on ImageNet: 4-bit kernels and 8-bit activations, on from S1's checkpoint."""

import sys

from sspq.experiments.imagenet import main
from sspq.experiments.imagenet_options import Step

STEP = Step(
    name="S2",
    graph="resnet_model4",
    epochs=1,
    wup_length=1,
    step_size=1,
    eta_min=1e-5,
    needs_load=True,
)

if __name__ == "__main__":
    sys.exit(main(STEP, __doc__))
