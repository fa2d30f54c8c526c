"""The CUDA kernels without TensorFlow.

In the ordinary run of the tests a plain C++ compiler builds the kernels, with ``emulation`` in
place of CUDA, and they run on the host: index arithmetic, alignment, borders and the order of sums
are those of the GPU. Speed, memory order and the compiler need a machine with a GPU:

    SSPQ_TEST_GPU=1 python -m pytest --confcutdir=tests/gpu tests/gpu

runs the same tests on the GPU as well, and those of ``test_gpu.py``. The command needs nvcc, numpy,
pytest and PyTorch or CuPy, in any Python 3; ``--confcutdir`` leaves out the ``conftest.py`` that
imports TensorFlow. Without a working GPU the tests fail.
"""
