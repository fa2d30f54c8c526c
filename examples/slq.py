"""Quantizes the weights of a trained network by SLQ, stage by stage, or by MLQ, layer by layer."""

import sys

from sspq.experiments.slq.run import main

if __name__ == "__main__":
    sys.exit(main(__doc__))
