"""L-SSPQ, step S1: 4-bit kernels, float32 activations (W4 A32).

The names are those of the released file of this name. Its functions compute with the variables as
they are; ``tensorpack.tfutils.varreplace.remap_variables(new_get_variable)`` quantizes the kernels,
and :class:`sspq.ImageNetSSPQ` is the whole model.
"""

from sspq.graphs.imagenet import Blocks

BITW, BITA, BITG = 4, 32, 32

_blocks = Blocks(BITW, BITA, BITG)

fw, fa, fg = _blocks.fw, _blocks.fa, _blocks.fg
new_get_variable, new_w = _blocks.new_get_variable, _blocks.fw
nonlin, activate = _blocks.nonlin, _blocks.activate
get_bn, resnet_shortcut = _blocks.get_bn, _blocks.resnet_shortcut
apply_preactivation = _blocks.apply_preactivation
apply_preactivation2 = _blocks.apply_preactivation2

resnet_basicblock, resnet_bottleneck = _blocks.resnet_basicblock, _blocks.resnet_bottleneck
resnet_group = _blocks.resnet_group
preact_basicblock, preact_bottleneck = _blocks.preact_basicblock, _blocks.preact_bottleneck
preact_group = _blocks.preact_group
se_bottleneck, se_group = _blocks.se_bottleneck, _blocks.se_group
resnext32x4d_bottleneck = _blocks.resnext32x4d_bottleneck
resnext32x4d_group = _blocks.resnext32x4d_group
asl_basicblock, asl_bottleneck = _blocks.asl_basicblock, _blocks.asl_bottleneck
asl_group = _blocks.asl_group
resIBShift_basicblock = _blocks.resIBShift_basicblock
resIBShift_bottleneck = _blocks.resIBShift_bottleneck
resIBShift_group = _blocks.resIBShift_group
QresIBShift_basicblock = _blocks.QresIBShift_basicblock
QresIBShift_bottleneck = _blocks.QresIBShift_bottleneck
QresIBShift_group = _blocks.QresIBShift_group

resnet_backbone = _blocks.resnet_backbone
resnet_backbone2 = _blocks.resnet_backbone2
beforeAP, afterAP = _blocks.beforeAP, _blocks.afterAP
