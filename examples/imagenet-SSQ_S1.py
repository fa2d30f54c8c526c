"""Step S1 of L-SSPQ on ImageNet: 4-bit kernels, float32 activations, trained from scratch."""

import sys

from sspq.experiments.imagenet import main
from sspq.experiments.imagenet_options import Step

STEP = Step(
    name="S1",
    graph="resnet_model3",
    epochs=105,
    wup_length=5,
    step_size=10,
    eta_min=1e-5,
    needs_load=False,
)

if __name__ == "__main__":
    sys.exit(main(STEP, __doc__))
