"""The packed file: a model with every quantized kernel at its own bits."""
