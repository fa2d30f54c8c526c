"""Layers, bytes and work of a model, read off its graph; results; versions and devices."""
