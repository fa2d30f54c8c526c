"""Devices of the CUDA kernels in tests: the host, emulated, or a GPU through CuPy or PyTorch.

Neither needs TensorFlow. Both compile ``shift2d_c.cu``, and both detect access beyond the ends of
arrays: the emulation puts them between forbidden pages, the GPU between canaries, or, for
compute-sanitizer, into allocations of their own.
"""

import ctypes
import fcntl
import hashlib
import mmap
import os
import subprocess
import sys
from types import SimpleNamespace

import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
SOURCE = os.path.join(HERE, "shift2d_c.cu")

sys.path.insert(0, ROOT)
from custom_ops import nvcc  # noqa: E402

POISON = 0xFF  # byte of a new array, NaN in all three types
CANARY = 0xA5  # byte around an array


def compile_emulation():
    """The library of the kernels as plain C++11, which the oldest nvcc accepts.

    Misaligned access, which a GPU does not allow, and overflows of arithmetic end the process.
    The library is kept in ``build/``, where all processes of a run find it.
    """
    folder = os.path.join(ROOT, "build", "emulation")
    os.makedirs(folder, exist_ok=True)
    flags = "-x c++ -std=c++11 -O2 -fPIC -shared -ffp-contract=off -Wall -Wextra -Werror"
    flags += " -Wno-unknown-pragmas -fno-sanitize-recover"
    flags += " -fsanitize=alignment,bounds,float-cast-overflow,integer-divide-by-zero"
    flags += ",null,shift,signed-integer-overflow"
    command = os.environ.get("CXX", "g++").split() + flags.split()
    command += ["-I" + os.path.join(HERE, "emulation"), "-I" + ROOT]
    with open(os.path.join(folder, "lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        text = subprocess.run(command + ["-E", SOURCE], stdout=subprocess.PIPE, check=True).stdout
        digest = hashlib.sha256(" ".join(command).encode() + text).hexdigest()
        library = os.path.join(folder, digest[:16] + ".so")
        if not os.path.exists(library):
            _run(command + [SOURCE, "-o", library + ".tmp"])
            os.replace(library + ".tmp", library)
    return _declare(ctypes.CDLL(library))


def compile_cuda(folder, capability):
    """The library of the kernels for a GPU.

    Args:
        folder: folder for the library.
        capability: compute capability of the GPU, such as "90".
    """
    library = os.path.join(str(folder), "cuda.so")
    found = nvcc.find_nvcc()
    if found is None:
        raise RuntimeError("nvcc is missing: expected in CUDA_HOME, CUDA_PATH or PATH")
    known = nvcc.toolkit(found).architectures
    # A GPU newer than nvcc runs PTX of the newest that nvcc knows.
    target = capability if int(capability) in known else f"{known[-1]}+PTX"
    command = [found] + nvcc.FLAGS + nvcc.code_flags([target]) + ["-lineinfo", "-shared"]
    _run(command + ["-I" + ROOT, SOURCE, "-o", library])
    return _declare(ctypes.CDLL(library))


def _run(command):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}\n{done.stdout.decode()}")


def _declare(library):
    p, i, sizes = ctypes.c_void_p, ctypes.c_int, ctypes.POINTER(ctypes.c_int64)
    library.sspq_limit.argtypes, library.sspq_limit.restype = [sizes], ctypes.c_char_p
    library.sspq_workspace.argtypes = [sizes, i]
    library.sspq_workspace.restype = ctypes.c_int64
    library.sspq_forward.argtypes = [sizes, i, p, p, p, p]
    library.sspq_backward.argtypes = [sizes, i, p, p, p, i, p, p, p, p]
    library.sspq_enough_blocks.argtypes = [ctypes.c_int64]
    return library


class GuardedArray:
    """Host memory that ends, or begins, exactly at a forbidden page."""

    _libc = ctypes.CDLL(None, use_errno=True)
    _libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]

    def __init__(self, size, at_end):
        page = mmap.PAGESIZE
        room = (size + page - 1) // page * page
        self._memory = mmap.mmap(-1, room + 2 * page)
        start = ctypes.addressof(ctypes.c_char.from_buffer(self._memory))
        for guard in (start, start + page + room):
            if self._libc.mprotect(guard, page, 0) != 0:
                raise OSError(ctypes.get_errno(), "mprotect")
        self.address = start + page + (room - size if at_end else 0)
        self.bytes = np.frombuffer((ctypes.c_char * size).from_address(self.address), np.uint8)


class Emulation:
    """Runs the kernels on the host.

    Attributes:
        at_end: whether arrays end at a forbidden page; else they begin at one (default: True).
    """

    name = "emulation"

    def __init__(self, compiled):
        self.compiled = compiled
        self.at_end = True

    def empty(self, size, offset):
        # At the end of a page an offset in front would change nothing.
        array = GuardedArray(size + offset, self.at_end and not offset)
        array.bytes[:] = POISON
        array.address += offset
        array.bytes = array.bytes[offset:]
        return array

    def upload(self, values, offset):
        array = self.empty(values.nbytes, offset)
        array.bytes[:] = np.frombuffer(values.tobytes(), np.uint8)
        return array

    def download(self, array):
        return array.bytes.tobytes()

    def stream(self):
        return None


class Cuda:
    """Runs the kernels on the first GPU, on the stream and in the memory of CuPy or PyTorch.

    Args:
        folder: folder for the compiled library.
        bare: whether arrays end with their memory, without canaries, and new arrays are
            uninitialised (default: False).
    """

    name = "cuda"

    def __init__(self, folder, bare=False):
        self._bare = bare
        self._margin = 0 if bare else 256  # bytes, which keep alignment
        try:
            import torch

            if not torch.cuda.is_available():
                raise ImportError("PyTorch without CUDA")
            self.capability = "".join(str(n) for n in torch.cuda.get_device_capability())
            self._new = lambda size: torch.empty(size, dtype=torch.uint8, device="cuda")
            self._fill = lambda array, values: array.copy_(torch.from_numpy(values))
            self._numpy = lambda array: array.cpu().numpy()
            self._pointer = lambda array: array.data_ptr()
            self.stream = lambda: torch.cuda.current_stream().cuda_stream
        except ImportError:
            import cupy

            self.capability = cupy.cuda.Device().compute_capability
            self._new = lambda size: cupy.empty(size, cupy.uint8)
            self._fill = lambda array, values: array.set(values)
            self._numpy = lambda array: array.get()
            self._pointer = lambda array: array.data.ptr
            self.stream = lambda: cupy.cuda.get_current_stream().ptr
        self.compiled = compile_cuda(folder, self.capability)

    def _placed(self, size, offset):
        array = SimpleNamespace(size=size, offset=self._margin + offset)
        array.memory = self._new(size + 2 * self._margin + offset)
        array.address = self._pointer(array.memory) + array.offset
        return array

    def upload(self, values, offset):
        raw = np.frombuffer(values.tobytes(), np.uint8)
        array = self._placed(raw.size, offset)
        whole = np.full(raw.size + 2 * self._margin + offset, CANARY, np.uint8)
        whole[array.offset : array.offset + raw.size] = raw
        self._fill(array.memory, whole)
        return array

    def empty(self, size, offset):
        if self._bare:
            return self._placed(size, offset)
        return self.upload(np.full(size, POISON, np.uint8), offset)

    def download(self, array):
        got = self._numpy(array.memory)
        inside = slice(array.offset, array.offset + array.size)
        outside = np.delete(got, inside)
        if not (self._bare or (outside == CANARY).all()):
            raise AssertionError("a kernel wrote beyond an array")
        return got[inside].tobytes()


class Kernels:
    """The shift of NCHW numpy arrays and its two gradients, in either layout, on a device.

    Args:
        device: :class:`Emulation` or :class:`Cuda`.
    """

    AXES = {"NCHW": (0, 1, 2, 3), "NHWC": (0, 2, 3, 1)}
    BACK = {"NCHW": (0, 1, 2, 3), "NHWC": (0, 3, 1, 2)}

    def __init__(self, device):
        self.device = device

    def sizes(self, shape, stride, pad, data_format):
        values = list(shape) + list(stride) + list(pad) + [data_format == "NCHW"]
        return (ctypes.c_int64 * 9)(*values)

    def limit(self, shape, stride=(1, 1), pad=(0, 0), data_format="NCHW"):
        """The reason why the kernels cannot index the arrays, None if they can."""
        text = self.device.compiled.sspq_limit(self.sizes(shape, stride, pad, data_format))
        return text and text.decode()

    def __call__(
        self,
        x,
        shift,
        gy,
        *,
        stride=(1, 1),
        pad=(0, 0),
        normalize=False,
        data_format="NCHW",
        offsets=(0, 0, 0, 0),
        enough_blocks=4096,
    ):
        """The output and the gradients to the image and the shift: y, gx, gs.

        Args:
            offsets: numbers of elements that x, gy, y and gx lie off their alignment (default: 0).
            enough_blocks: number of blocks beyond which threads do several things (default: 4096).
        """
        device, compiled, dtype = self.device, self.device.compiled, x.dtype
        there, back = self.AXES[data_format], self.BACK[data_format]
        sizes = self.sizes(x.shape, stride, pad, data_format)
        compiled.sspq_enough_blocks(enough_blocks)
        skip = [o * dtype.itemsize for o in offsets]
        x_there, gy_there = [np.ascontiguousarray(a.transpose(there)) for a in (x, gy)]
        placed = (x_there, skip[0]), (shift, 0), (gy_there, skip[1])
        inputs = [device.upload(values, offset) for values, offset in placed]
        on_x, on_shift, on_gy = [a.address for a in inputs]
        y, gx = device.empty(gy.nbytes, skip[2]), device.empty(x.nbytes, skip[3])
        gs = device.empty(shift.nbytes, 0)
        workspace = device.empty(compiled.sspq_workspace(sizes, dtype.itemsize), 0)
        outputs = (y, gx, gs)
        errors = [
            compiled.sspq_forward(
                sizes, dtype.itemsize, on_x, on_shift, y.address, device.stream()
            ),
            compiled.sspq_backward(
                sizes,
                dtype.itemsize,
                on_x,
                on_shift,
                on_gy,
                normalize,
                gx.address,
                gs.address,
                workspace.address,
                device.stream(),
            ),
        ]
        if errors != [0, 0]:
            raise RuntimeError(f"CUDA errors {errors}, expected [0, 0]")
        device.download(workspace)  # checks its canaries
        for array, before in zip(inputs, (x_there, shift, gy_there)):
            if device.download(array) != before.tobytes():
                raise AssertionError("a kernel wrote to its input")
        shapes = gy_there.shape, x_there.shape, shift.shape
        got = [np.frombuffer(device.download(a), dtype).reshape(s) for a, s in zip(outputs, shapes)]
        return got[0].transpose(back), got[1].transpose(back), got[2]
