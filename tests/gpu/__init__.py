"""The CUDA kernels without TensorFlow.

In the ordinary run of the tests a plain C++ compiler builds them, with ``emulation`` standing in
for CUDA, and they run on the host: index arithmetic, alignment, borders and the order of sums are
those of the GPU. What only a GPU shows (speed, memory order, the compiler) is left to a machine
with one:

    SSPQ_TEST_GPU=1 python -m pytest --confcutdir=tests/gpu tests/gpu

runs the same tests there too, and those of ``test_gpu.py``. It needs nvcc, numpy, pytest and
PyTorch or CuPy, in any Python 3 they run in; ``--confcutdir`` leaves out what imports TensorFlow.
Without a GPU that works it fails.
"""
