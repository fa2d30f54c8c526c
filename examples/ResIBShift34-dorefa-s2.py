"""Step S2 of SSPQ34 on CIFAR-100: 8-bit weights and activations, trained from S1's checkpoint."""

import sys
from typing import List, Optional, Tuple

import sspq
from sspq.experiments import cifar
from sspq.experiments.inputs import ImagesInput
from sspq.training.distributed import Processes
from sspq.training.engine import Training
from sspq.training.schedule import Schedule, within

DEFAULTS = cifar.Defaults(name="S2", bitw=8, bita=8, eta_min=1e-3, max_epoch=10, needs_load=True)


def plan(options: cifar.Options) -> Tuple[int, Schedule]:
    """Number of epochs, and the learning rate by epoch: a cosine in steps.

    The released script trains for 200 epochs whatever ``--max_epoch`` says; its cosine still ends
    at ``--max_epoch`` and swings beyond it.
    """
    s = options.schedule
    epochs = 200 if options.network.variant == "released" else s.max_epoch
    return epochs, within(epochs, s.wup_length, s.step_size, s.max_epoch, s.eta_min)


def model(options: cifar.Options, num_classes: int) -> sspq.CifarSSPQ34:
    """The network; weights and activations have the bits of DEFAULTS unless the options differ."""
    network = options.network
    return sspq.CifarSSPQ34(
        bitw=network.bitw,
        bita=network.bita,
        bitg=network.bitg,
        variant=network.variant,
        num_classes=num_classes,
        data_format=network.data_format,
        base_lr=network.base_lr,
        shift_lr_mult=network.shift_lr_mult,
        shift_normalize=network.shift_normalize,
        shift_decay=network.shift_decay,
    )


def training(options: cifar.Options, processes: Processes) -> Training:
    """What is trained, on which images, and for how long."""
    data = ImagesInput(options.images, processes)
    epochs, schedule = plan(options)
    return Training(
        model=model(options, data.num_classes),
        data=data,
        batch=options.batch,
        epochs=epochs,
        schedule=schedule,
        trainer=cifar.TRAINER,
        load=options.load,
    )


def main(argv: Optional[List[str]] = None) -> int:
    return cifar.main(DEFAULTS, __doc__, plan, model, training, argv)


if __name__ == "__main__":
    sys.exit(main())
