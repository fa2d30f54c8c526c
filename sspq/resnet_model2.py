"""SSPQ: 1-bit kernels, 4-bit activations (W1 A4).

The names are those of the released file of this name. Its functions compute with the variables as
they are; ``tensorpack.tfutils.varreplace.remap_variables(new_get_variable)`` quantizes the kernels,
and :class:`sspq.ImageNetSSPQ` is the whole model.
"""

from sspq.graphs.imagenet import released_names

globals().update(released_names("resnet_model2"))
