"""Predictions from a checkpoint, a packed file or an ONNX file alike."""
