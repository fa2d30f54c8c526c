"""Times the CUDA kernels of shift2d beside a copy of the same bytes. Needs no TensorFlow.

    python benchmarks/shift2d_gpu.py [--megabytes 8 64 512 1024] [--rounds 20] [--json FILE]

Needs a GPU, PyTorch with CUDA, numpy and nvcc. For every shape, type, layout and pass the
candidates run in turn in one process; a row gives medians over the rounds, of the GPU's time alone.
FILE holds all rows so far at any time.

    GB/s       bytes that have to move: x and y forward; x, gy and gx backward
    of copy    that rate as a share of the rate of a device-to-device copy of x
    / grid     time of PyTorch's kernel for grid_sample over that of shift2d; channels first only,
               given images of one channel or the batch as channels, whichever is faster
    / depthw.  time of a depthwise 3x3 convolution over that of shift2d, same layout; by cuDNN
               forward, backward by whichever kernel PyTorch chooses

Targets: 85 % of the copy forward, 80 % backward, and 3 times as fast as both others. A tensor that
fits into the L2 cache is copied faster than memory allows; shift2d is held to that rate too.
"""

import argparse
import datetime
import json
import os
import statistics
import sys
import tempfile
import time
from typing import Any, Callable, Dict, Iterator, List, Optional

import torch

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from tests.gpu import devices

# (channels, size, stride): the shifts of L-SSPQ50. The batch makes the tensor as large as wished.
SHAPES = [(64, 56, 1), (128, 56, 2), (128, 28, 1), (256, 14, 1), (512, 7, 1)]
SHARE = {"forward": 0.85, "backward": 0.80}
TIMES_FASTER = 3.0

# A GPU takes about a thousand launches ahead; a call is up to some ten of them.
MOST_CALLS = 100
CYCLES_PER_SECOND = 2e9  # about; of the GPU


def size_of(tensor: torch.Tensor) -> int:
    """In bytes."""
    return tensor.numel() * tensor.element_size()


class Case:
    """One shape, type and layout: its arrays, and every candidate as a function."""

    def __init__(self, kernels: devices.Kernels, shape: List[int], stride: int, dtype: Any,
                 layout: str) -> None:  # fmt: skip
        self.compiled = kernels.device.compiled
        n, c, size, _ = shape
        out = (size - 1) // stride + 1
        form = torch.contiguous_format if layout == "NCHW" else torch.channels_last
        options = dict(device="cuda", dtype=dtype, memory_format=form)
        generator = torch.Generator("cuda").manual_seed(0)
        self.x, self.gx = torch.empty(shape, **options), torch.empty(shape, **options)
        self.y, self.gy = [torch.empty((n, c, out, out), **options) for _ in range(2)]
        for tensor in (self.x, self.gy):
            tensor.normal_(generator=generator)
        self.shift = torch.empty((2, c), device="cuda", dtype=dtype)
        self.shift.uniform_(-0.9, 0.9, generator=generator)
        self.gshift = torch.empty_like(self.shift)
        self.sizes = kernels.sizes(shape, (stride, stride), (0, 0), layout)
        self.element = self.x.element_size()
        room = self.compiled.sspq_workspace(self.sizes, self.element)
        self.workspace = torch.empty(room, dtype=torch.uint8, device="cuda")
        self.stride, self.form, self.layout = stride, form, layout
        moved = {"forward": (self.x, self.y), "backward": (self.x, self.gy, self.gx)}
        self.bytes = {k: sum(size_of(t) for t in tensors) for k, tensors in moved.items()}

    def check(self, error: int) -> None:
        if error:
            raise RuntimeError(f"CUDA error {error}")

    def forward(self) -> None:
        stream = torch.cuda.current_stream().cuda_stream
        pointers = [t.data_ptr() for t in (self.x, self.shift, self.y)]
        self.check(self.compiled.sspq_forward(self.sizes, self.element, *pointers, stream))

    def backward(self) -> None:
        stream = torch.cuda.current_stream().cuda_stream
        inputs = [t.data_ptr() for t in (self.x, self.shift, self.gy)]
        outputs = [t.data_ptr() for t in (self.gx, self.gshift, self.workspace)]
        self.check(
            self.compiled.sspq_backward(self.sizes, self.element, *inputs, 0, *outputs, stream)
        )

    def copy(self) -> None:
        self.gx.copy_(self.x)

    def candidates(self, passes: str) -> Dict[str, Callable[[], Any]]:
        found = {"shift2d": getattr(self, passes), "copy": self.copy}
        makers = {"depthwise": self._depthwise}
        if self.layout == "NCHW":
            makers["grid of images"] = lambda: self._grid_sample(False)
            makers["grid of channels"] = lambda: self._grid_sample(True)
        for name, make in makers.items():
            try:
                found[name] = self._of_pass(make(), passes)
                found[name]()
            except RuntimeError as e:  # such as too little memory: autograd takes more than shift2d
                found.pop(name, None)
                print(f"{name} is left out: {str(e).splitlines()[0]}", file=sys.stderr)
                torch.cuda.empty_cache()
        return found

    def _of_pass(self, run: Any, passes: str) -> Callable[[], Any]:
        call, inputs, gy = run
        if passes == "forward":
            return lambda: call()
        for tensor in inputs:
            tensor.requires_grad_()
        y = call()
        return lambda: torch.autograd.grad(y, inputs, gy, retain_graph=True)

    def _depthwise(self) -> Any:
        c = self.x.shape[1]
        x = self.x.detach()
        weights = torch.randn((c, 1, 3, 3), device="cuda", dtype=x.dtype)
        weights = weights.contiguous(memory_format=self.form)
        stride = [self.stride, self.stride]

        def call() -> Any:
            return torch.cudnn_convolution(
                x, weights, [1, 1], stride, [1, 1], c, True, False, False
            )

        return call, [x, weights], self.gy

    def _grid_sample(self, by_channel: bool) -> Any:
        n, c, h, w = self.x.shape
        stride = self.stride
        columns = torch.arange(0, w, stride, device="cuda") + self.shift[0].float()[:, None]
        rows = torch.arange(0, h, stride, device="cuda") + self.shift[1].float()[:, None]
        shape = (c, rows.shape[1], columns.shape[1])
        grid = torch.stack(
            [
                (columns * (2 / (w - 1)) - 1)[:, None, :].expand(shape),
                (rows * (2 / (h - 1)) - 1)[:, :, None].expand(shape),
            ],
            dim=-1,
        )
        grid = grid.to(self.x.dtype)
        if by_channel:
            x, y, gy = [t.detach().transpose(0, 1) for t in (self.x, self.y, self.gy)]
        else:
            grid = grid.repeat(n, 1, 1, 1)
            x, y, gy = [t.detach().flatten(0, 1)[:, None] for t in (self.x, self.y, self.gy)]
        # Bilinear, zeros outside, corners aligned. torch.nn.functional.grid_sample would give them
        # to cuDNN, which refuses more than 65,535 images.
        call = lambda: torch.ops.aten.grid_sampler_2d(x, grid, 0, 0, True)  # noqa: E731
        if x.dtype == torch.float32:  # in float16 the grid itself is too coarse to compare
            self.forward()
            difference = (call() - y).abs().max().item()
            if difference > 1e-3:
                raise SystemExit(f"shift2d and grid_sample differ by {difference:g}")
        return call, [x, grid], gy


def time_in_turn(candidates: Dict[str, Callable[[], Any]], rounds: int) -> Dict[str, float]:
    """Median seconds by candidate."""
    calls = {}
    for name, call in candidates.items():
        for _ in range(3):
            call()
        calls[name] = min(MOST_CALLS, max(1, int(5e-3 / _seconds(call, 3))))
    seconds: Dict[str, List[float]] = {name: [] for name in candidates}
    for _ in range(rounds):
        for name, call in candidates.items():
            seconds[name].append(_seconds(call, calls[name]))
    return {name: statistics.median(times) for name, times in seconds.items()}


def _seconds(call: Callable[[], Any], calls: int) -> float:
    """What a call takes the GPU.

    Python needs longer to ask for a small one than the GPU to do it, so the GPU is kept busy until
    all are asked for.
    """
    torch.cuda.synchronize()
    began = time.perf_counter()
    call()
    asking = time.perf_counter() - began
    torch.cuda._sleep(int(min(2 * asking * calls, 0.1) * CYCLES_PER_SECOND))
    start, end = [torch.cuda.Event(enable_timing=True) for _ in range(2)]
    start.record()
    for _ in range(calls):
        call()
    end.record()
    end.synchronize()
    return start.elapsed_time(end) / 1e3 / calls


def measure(
    kernels: devices.Kernels, megabytes: List[int], rounds: int
) -> Iterator[Dict[str, Any]]:
    for size_mb in megabytes:
        for (channels, size, stride), dtype, layout in (
            (s, d, f)
            for s in SHAPES
            for d in (torch.float32, torch.float16)
            for f in ("NCHW", "NHWC")
        ):
            image = channels * size * size * torch.empty((), dtype=dtype).element_size()
            shape = [max(1, size_mb * 2**20 // image), channels, size, size]
            case = Case(kernels, shape, stride, dtype, layout)
            for passes in ("forward", "backward"):
                seconds = time_in_turn(case.candidates(passes), rounds)
                own = seconds["shift2d"]
                grids = [t / own for name, t in seconds.items() if name.startswith("grid")]
                rate, copy = case.bytes[passes] / own, 2 * size_of(case.x) / seconds["copy"]
                yield {
                    "megabytes": size_mb,
                    "shape": shape,
                    "stride": stride,
                    "type": str(dtype).split(".")[1],
                    "layout": layout,
                    "pass": passes,
                    "ms": own * 1e3,
                    "gb_per_s": rate / 1e9,
                    "copy_gb_per_s": copy / 1e9,
                    "of_copy": rate / copy,
                    "grid": min(grids) if grids else None,
                    "depthwise": seconds["depthwise"] / own if "depthwise" in seconds else None,
                }
                torch.cuda.empty_cache()


def verdict(value: Optional[float], target: float) -> str:
    return "-" if value is None else f"{value:.2f} {'met' if value >= target else 'NOT MET'}"


def write(path: str, value: Any) -> None:
    """As JSON, whole or not at all. :mod:`sspq.files` would need TensorFlow."""
    with open(path + ".tmp", "w") as f:
        json.dump(value, f, indent=1)
    os.replace(path + ".tmp", path)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--megabytes",
        type=int,
        nargs="+",
        default=[8, 64, 512, 1024],
        help="sizes of the tensors in MB (default: 8 64 512 1024)",
    )
    parser.add_argument("--rounds", type=int, default=20, help="number of rounds (default: 20)")
    parser.add_argument("--json", help="file that the rows are written to, too")
    args = parser.parse_args()

    # Of what PyTorch leaves to cuDNN: the fastest algorithm, and no fewer bits than float32 has.
    torch.backends.cudnn.benchmark, torch.backends.cudnn.allow_tf32 = True, False
    about = {
        "date": datetime.date.today().isoformat(),
        "gpu": torch.cuda.get_device_name(),
        "torch": torch.__version__,
        "cudnn": torch.backends.cudnn.version(),
        "command": " ".join(sys.argv),
    }
    print("\n".join(f"{name:<8} {value}" for name, value in about.items()))
    print(
        f"{'MB':>5} {'CxHxW/stride':<16} {'type':<8} {'layout':<6} {'pass':<9} "
        f"{'ms':>9} {'GB/s':>7} {'of copy (target)':>20} {'/ grid (3)':>20} "
        f"{'/ depthw. (3)':>20}"  # fmt: skip
    )
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        kernels = devices.Kernels(devices.Cuda(folder))
        for row in measure(kernels, args.megabytes, args.rounds):
            rows.append(row)
            if args.json:
                write(args.json, dict(about, rows=rows))
            target = SHARE[row["pass"]]
            shape = "x".join(str(length) for length in row["shape"][1:]) + f"/{row['stride']}"
            of_copy = f"{verdict(row['of_copy'], target)} ({target:.2f})"
            print(
                f"{row['megabytes']:5d} {shape:<16} {row['type']:<8} {row['layout']:<6} "
                f"{row['pass']:<9} {row['ms']:9.3f} {row['gb_per_s']:7.0f} {of_copy:>20} "
                f"{verdict(row['grid'], TIMES_FASTER):>20} "
                f"{verdict(row['depthwise'], TIMES_FASTER):>20}",
                flush=True,
            )
    for passes, target in SHARE.items():
        for name, least in (
            ("of_copy", target),
            ("grid", TIMES_FASTER),
            ("depthwise", TIMES_FASTER),
        ):
            values = [r[name] for r in rows if r["pass"] == passes and r[name] is not None]
            middle = statistics.median(values) if values else None
            print(f"{passes:<9} median {name:<10} target {least:.2f}: {verdict(middle, least)}")


if __name__ == "__main__":
    main()
