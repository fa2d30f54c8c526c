"""Makes a graph that computes in NCHW run on a CPU."""

from sspq.compat import tf

_TO_NHWC, _TO_NCHW = (0, 2, 3, 1), (0, 3, 1, 2)


def as_nhwc(graph_def):
    """A copy of ``graph_def`` in which every node that TensorFlow has for NHWC alone is NHWC.

    Such a node's image input is transposed ahead of it and its result after it, under its own name;
    the rest of the graph stays in NCHW. The shift op runs in both layouts and is left alone.
    """
    result = tf.GraphDef()
    result.versions.CopyFrom(graph_def.versions)
    for node in graph_def.node:
        if (
            node.op.startswith("SspqShift2D")
            or "data_format" not in node.attr
            or node.attr["data_format"].s != b"NCHW"
        ):
            result.node.add().CopyFrom(node)
            continue
        inner = result.node.add()
        inner.CopyFrom(node)
        inner.name = node.name + "/nhwc"
        inner.attr["data_format"].s = b"NHWC"
        for name in ("strides", "dilations", "ksize"):
            if name in node.attr:
                values = list(node.attr[name].list.i)
                inner.attr[name].list.i[:] = [values[axis] for axis in _TO_NHWC]
        inner.input[0] = _transpose(result, inner.name + "/in", node.input[0], _TO_NHWC)
        _transpose(result, node.name, inner.name, _TO_NCHW)
    return result


def _transpose(graph_def, name, source, axes):
    order = graph_def.node.add(name=name + "/axes", op="Const")
    order.attr["dtype"].type = tf.int32.as_datatype_enum
    order.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(axes, tf.int32))
    node = graph_def.node.add(name=name, op="Transpose", input=[source, order.name])
    node.attr["T"].type = tf.float32.as_datatype_enum
    node.attr["Tperm"].type = tf.int32.as_datatype_enum
    return name
