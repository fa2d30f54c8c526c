"""Step S2 of SSPQ34 on CIFAR-100: 8-bit weights and activations, trained from S1's checkpoint."""

import sys

from sspq.experiments.cifar import main
from sspq.experiments.cifar_options import Step

STEP = Step(name="S2", bitw=8, bita=8, eta_min=1e-3, max_epoch=10, needs_load=True)

if __name__ == "__main__":
    sys.exit(main(STEP, __doc__))
