"""Single- and multi-level quantization: clustering of weights, and its stages, on plain arrays.

Nothing here needs TensorFlow or tensorpack.

Source: Xu, Wang, Zhou, Lin, Xiong, Deep Neural Network Compression with Single and Multiple Level
Quantization, AAAI 2018, arXiv:1803.03289.
"""

from sspq.slq.backend import BackendError, backend_name
from sspq.slq.clustering import Clusters, cluster, initial_centres
from sspq.slq.layer import LayerState, next_stage, share, start
from sspq.slq.mlq import Advance, incremental_stages
from sspq.slq.schedule import PARTITIONS, SLQ, TERNARY, Schedule

__all__ = [
    "PARTITIONS",
    "SLQ",
    "TERNARY",
    "Advance",
    "BackendError",
    "Clusters",
    "LayerState",
    "Schedule",
    "backend_name",
    "cluster",
    "incremental_stages",
    "initial_centres",
    "next_stage",
    "share",
    "start",
]
