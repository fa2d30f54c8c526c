"""Step S2 of L-SSPQ on ImageNet: 4-bit kernels and 8-bit activations, on from S1's checkpoint."""

import sys
from typing import List, Optional

import sspq
from sspq.experiments import imagenet
from sspq.experiments.inputs import FakeInput, FolderInput
from sspq.training.distributed import Processes
from sspq.training.engine import Training
from sspq.training.schedule import Schedule, warmed_up, within

DEFAULTS = imagenet.Defaults(
    name="S2",
    graph="resnet_model4",
    epochs=1,
    wup_length=1,
    step_size=1,
    eta_min=1e-5,
    needs_load=True,
)


def schedule(options: imagenet.Options) -> Schedule:
    """Learning rate by epoch: the released cosine in steps, on from the rate of S1's checkpoint.

    A rate of ``--base_lr`` follows the batch, and grows over 5 epochs above 256 images a step.
    """
    s = options.schedule
    cosine = within(s.epochs, s.wup_length, s.step_size, s.epochs, s.eta_min)
    if options.base_lr is None:
        return cosine
    return warmed_up(cosine, options.rate_of_base_batch, options.rate, epochs=5)


def model(options: imagenet.Options, num_classes: int) -> sspq.ImageNetSSPQ:
    """L-SSPQ50 with 4-bit 1x1 kernels and 8-bit activations, unless the options say otherwise."""
    network = options.network
    return sspq.ImageNetSSPQ(
        graph=network.graph,
        depth=network.depth,
        mode=network.mode,
        bitw=network.bitw,
        bita=network.bita,
        variant=network.variant,
        num_classes=num_classes,
        image_size=network.image_size,
        data_format=network.data_format,
        linear_bits=network.linear_bits,
        base_lr=options.rate,
        weight_decay_pattern=network.weight_decay_pattern,
        shift_lr_mult=network.shift_lr_mult,
        shift_normalize=network.shift_normalize,
    )


def training(options: imagenet.Options, processes: Processes) -> Training:
    """What is trained, on which images, for how long, and how several GPUs work together."""
    data = FolderInput(options.images, processes) if options.images else FakeInput(processes)
    return Training(
        model=model(options, data.num_classes),
        data=data,
        batch=options.batch,
        epochs=options.schedule.epochs,
        schedule=schedule(options),
        trainer=options.trainer,
        load=options.load,
        # Of S1's checkpoint, the step counter begins anew; the rate does where --base_lr gives one.
        not_loaded=["global_step"] if options.base_lr is None else ["global_step", "learning_rate"],
        validate_every=options.val_every,
        compression=options.compression,
    )


def main(argv: Optional[List[str]] = None) -> int:
    return imagenet.main(DEFAULTS, __doc__, schedule, model, training, argv)


if __name__ == "__main__":
    sys.exit(main())
