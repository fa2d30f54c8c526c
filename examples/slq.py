"""Quantizes the weights of a trained network by SLQ, stage by stage, or by MLQ, layer by layer."""

import sys
from typing import Any, List, Optional, Tuple

from sspq.experiments.slq import run
from sspq.experiments.slq.networks import NETWORKS, open_data
from sspq.experiments.slq.options import Options, groups_of, layers_of
from sspq.models import Classifier
from sspq.training.distributed import Processes
from sspq.training.engine import Training
from sspq.training.schedule import Schedule, staged
from sspq.training.slq import SLQ
from sspq.training.slq.callback import stage_epochs
from sspq.training.slq.reports import StageReports


def model(options: Options, num_classes: int) -> Classifier:
    """The network, its weights in float32; NETWORKS says how it is made and trained."""
    network = NETWORKS[options.model].make(options.network, num_classes)
    run.check_activations(network, options)
    return network


def quantization(options: Options, network: Classifier) -> Optional[run.Quantization]:
    """The callback that clusters weights and freezes them stage by stage; None for float32."""
    if options.clusters is None:
        return None
    layers = layers_of(network, options.layers)
    callback = SLQ(
        layers=frozenset(layers).__contains__,
        schedule=options.clusters,
        epochs=options.stage_epochs,
        groups=groups_of(options.groups, layers) if options.method == "mlq" else None,
    )
    return run.Quantization(callback, layers)


def plan(options: Options, quantized: Optional[run.Quantization]) -> Tuple[int, Schedule]:
    """Number of epochs, and the learning rate, which falls in every stage and then begins anew."""
    epochs = quantized.callback.epochs if quantized else stage_epochs(options.stage_epochs, 1)
    rate = options.network.base_lr
    return sum(epochs), staged(rate, options.rate_factor, options.rate_step, epochs)


def training(options: Options, processes: Processes) -> Tuple[Training, Optional[run.Quantization]]:
    """What is trained, on which images, and for how long."""
    data = open_data(options.images, processes)
    network = model(options, data.num_classes)
    quantized = quantization(options, network)
    if quantized:
        network.wrap_optimizer = quantized.callback.optimizer
    epochs, schedule = plan(options, quantized)

    def callbacks(validation: Any, folder: Any) -> List[Any]:
        if quantized is None or validation is None:
            return []
        slq = quantized.callback
        return [slq, StageReports(network, slq, validation, folder.path if folder else None)]

    return (
        Training(
            model=network,
            data=data,
            batch=options.batch,
            epochs=epochs,
            schedule=schedule,
            trainer=options.trainer,
            load=options.load,
            parameters_only=True,
            validate_every=options.val_every,
            callbacks=callbacks,
        ),
        quantized,
    )


def main(argv: Optional[List[str]] = None) -> int:
    return run.main(__doc__, model, training, argv)


if __name__ == "__main__":
    sys.exit(main())
