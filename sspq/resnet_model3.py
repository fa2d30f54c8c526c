"""L-SSPQ, step S1: 4-bit kernels, float32 activations (W4 A32).

The names are those of the released file of this name. Its functions compute with the variables as
they are; ``tensorpack.tfutils.varreplace.remap_variables(new_get_variable)`` quantizes the kernels,
and :class:`sspq.ImageNetSSPQ` is the whole model.
"""

from sspq.graphs.imagenet import released_names

globals().update(released_names("resnet_model3"))
