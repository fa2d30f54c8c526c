"""Data sets of 32x32 images that are held in memory: CIFAR-100, and digits that need no file."""
