"""Caffe's model files as its caffe.proto defines them: the messages that hold weights, and no more.

Field names and numbers are those of BVLC/caffe, src/caffe/proto/caffe.proto.
"""

import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_Field = descriptor_pb2.FieldDescriptorProto
_KINDS = {"float": _Field.TYPE_FLOAT, "int64": _Field.TYPE_INT64, "string": _Field.TYPE_STRING}

# Message: fields (name, number, type, whether it is repeated).
_MESSAGES = {
    "BlobShape": [("dim", 1, "int64", True)],
    "BlobProto": [
        ("num", 1, "int64", False),
        ("channels", 2, "int64", False),
        ("height", 3, "int64", False),
        ("width", 4, "int64", False),
        ("data", 5, "float", True),
        ("shape", 7, "BlobShape", False),
    ],
    "LayerParameter": [
        ("name", 1, "string", False),
        ("type", 2, "string", False),
        ("bottom", 3, "string", True),
        ("top", 4, "string", True),
        ("blobs", 7, "BlobProto", True),
    ],
    "V1LayerParameter": [
        ("bottom", 2, "string", True),
        ("top", 3, "string", True),
        ("name", 4, "string", False),
        ("type", 5, "LayerType", False),
        ("blobs", 6, "BlobProto", True),
    ],
    "NetParameter": [
        ("name", 1, "string", False),
        ("layers", 2, "V1LayerParameter", True),
        ("layer", 100, "LayerParameter", True),
    ],
}
# What the first version of layers calls the types that have weights.
_V1_TYPES = {"Convolution": 4, "InnerProduct": 14}


def _file():
    file = descriptor_pb2.FileDescriptorProto(
        name="caffe_weights.proto", package="caffe", syntax="proto2"
    )
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        if name == "V1LayerParameter":
            types = message.enum_type.add(name="LayerType")
            for layer_type, number in _V1_TYPES.items():
                types.value.add(name=layer_type, number=number)
        for field_name, number, kind, repeated in fields:
            field = message.field.add(name=field_name, number=number)
            field.label = _Field.LABEL_REPEATED if repeated else _Field.LABEL_OPTIONAL
            if kind in _KINDS:
                field.type = _KINDS[kind]
            elif kind == "LayerType":
                field.type, field.type_name = _Field.TYPE_ENUM, ".caffe.V1LayerParameter.LayerType"
            else:
                field.type, field.type_name = _Field.TYPE_MESSAGE, ".caffe." + kind
            field.options.packed = repeated and kind in ("float", "int64")
    return file


_pool = descriptor_pool.DescriptorPool()
_pool.Add(_file())
NetParameter = message_factory.MessageFactory(_pool).GetPrototype(
    _pool.FindMessageTypeByName("caffe.NetParameter")
)


def write_caffemodel(path, layers, old=False):
    """Writes layers ``(name, type, blobs)``; ``old`` in the first version, whose blobs are 4-D."""
    net = NetParameter(name="AlexNet")
    for name, layer_type, blobs in layers:
        if old:
            layer = net.layers.add(name=name, type=_V1_TYPES[layer_type])
        else:
            layer = net.layer.add(name=name, type=layer_type)
        for blob in blobs:
            stored = layer.blobs.add(data=blob.ravel().tolist())
            if old:
                shape = (1,) * (4 - blob.ndim) + blob.shape
                stored.num, stored.channels, stored.height, stored.width = shape
            else:
                stored.shape.dim.extend(blob.shape)
    with open(str(path), "wb") as f:
        f.write(net.SerializeToString())


def write_prototxt(path, width, image_size, num_classes, *, groups=2, alpha=1e-4, pool_first=False):
    """Writes bvlc_alexnet as it infers, ``width`` times as wide; the rest is to get it wrong."""
    lines = [
        'name: "AlexNet"',
        'layer { name: "data" type: "Input" top: "data"',
        f"  input_param {{ shape {{ dim: 1 dim: 3 dim: {image_size} dim: {image_size} }} }} }}",
    ]
    top = "data"

    def layer(name, kind, parameters="", in_place=False):
        nonlocal top
        out = top if in_place else name
        lines.append(
            f'layer {{ name: "{name}" type: "{kind}" bottom: "{top}" top: "{out}" {parameters} }}'
        )
        top = out

    def convolution(number, features, parameters):
        text = f"convolution_param {{ num_output: {int(features * width)} {parameters} }}"
        layer(f"conv{number}", "Convolution", text)
        layer(f"relu{number}", "ReLU", in_place=True)

    def inner_product(number, units):
        layer(f"fc{number}", "InnerProduct", f"inner_product_param {{ num_output: {int(units)} }}")

    norm = f"lrn_param {{ local_size: 5 alpha: {alpha:g} beta: 0.75 }}"
    pool = "pooling_param { pool: MAX kernel_size: 3 stride: 2 }"
    then = [("norm%d", "LRN", norm), ("pool%d", "Pooling", pool)][:: -1 if pool_first else 1]
    convolution(1, 96, "kernel_size: 11 stride: 4")
    for name, kind, parameters in then:
        layer(name % 1, kind, parameters)
    convolution(2, 256, f"pad: 2 kernel_size: 5 group: {groups}")
    for name, kind, parameters in then:
        layer(name % 2, kind, parameters)
    convolution(3, 384, "pad: 1 kernel_size: 3")
    convolution(4, 384, f"pad: 1 kernel_size: 3 group: {groups}")
    convolution(5, 256, f"pad: 1 kernel_size: 3 group: {groups}")
    layer("pool5", "Pooling", pool)
    for number in (6, 7):
        inner_product(number, 4096 * width)
        layer(f"relu{number}", "ReLU", in_place=True)
        layer(f"drop{number}", "Dropout", "dropout_param { dropout_ratio: 0.5 }", in_place=True)
    inner_product(8, num_classes)
    layer("prob", "Softmax")
    with open(str(path), "w") as f:
        f.write("\n".join(lines) + "\n")


def weights(width, last_edge, num_classes, groups=2):
    """Layers for :func:`write_caffemodel`, random: activations are as large as those of images.

    ``last_edge`` is that of pool5, in pixels.
    """
    rng = np.random.RandomState(0)
    c1, c2, c3, c4, c5, hidden = [int(n * width) for n in (96, 256, 384, 384, 256, 4096)]
    shapes = {
        "conv1": (c1, 3, 11, 11),
        "conv2": (c2, c1 // groups, 5, 5),
        "conv3": (c3, c2, 3, 3),
        "conv4": (c4, c3 // groups, 3, 3),
        "conv5": (c5, c4 // groups, 3, 3),
        "fc6": (hidden, c5 * last_edge**2),
        "fc7": (hidden, hidden),
        "fc8": (num_classes, hidden),
    }
    layers = []
    for name, shape in shapes.items():
        blob = rng.randn(*shape) * np.sqrt(2 / np.prod(shape[1:]))
        bias = rng.randn(shape[0])
        layer_type = "Convolution" if name.startswith("conv") else "InnerProduct"
        layers.append((name, layer_type, [blob.astype("float32"), bias.astype("float32")]))
    return layers
