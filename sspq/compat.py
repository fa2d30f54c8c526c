"""The one place that imports TensorFlow: ``tf`` is its version 1 interface."""

import warnings

with warnings.catch_warnings():
    # TensorFlow 1.15 defines its numpy types in a form that newer numpy warns of, a dozen lines
    # at every start.
    warnings.simplefilter("ignore", FutureWarning)
    import tensorflow as _tensorflow

tf = _tensorflow.compat.v1

TF_VERSION = _tensorflow.__version__


def has_gpu() -> bool:
    """Whether TensorFlow can use a GPU here. Does not allocate its memory."""
    return bool(_tensorflow.config.experimental.list_physical_devices("GPU"))
