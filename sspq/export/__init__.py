"""Models as files that need no checkpoint: packed, ONNX, frozen TensorFlow graphs."""
