"""A model as an ONNX graph of stock operators, in float32 or 8-bit integers."""
