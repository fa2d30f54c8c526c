"""Step S1 of SSPQ34 on CIFAR-100: 8-bit weights, float32 activations, trained from scratch."""

import sys

from sspq.experiments.cifar import main
from sspq.experiments.cifar_options import Step

STEP = Step(name="S1", bitw=8, bita=32, eta_min=1e-6, max_epoch=200, needs_load=False)

if __name__ == "__main__":
    sys.exit(main(STEP, __doc__))
