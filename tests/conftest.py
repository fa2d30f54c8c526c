"""Fixtures for all tests."""

import inspect
import os
import shutil
from collections import namedtuple

import pytest
from tensorpack.models import regularize
from tensorpack.tfutils import common, dependency, scope_utils, summary
from xdist.scheduler import LoadFileScheduling

from sspq import oplib
from sspq.compat import tf
from sspq.graphs.imagenet import BLOCKS
from sspq.ops import shift2d
from tests.shell import CHAINS, ROOT

# Otherwise every session of a process uses the thread pool of the first one, whatever number of
# threads its own configuration asks for. Read when the first session starts.
os.environ["TF_OVERRIDE_GLOBAL_THREADPOOL"] = "1"

# The threads that run ops side by side are made once, by the first session of a process. With one
# alone, as TWO_THREADS asks for, two towers that wait for each other's data would wait for ever.
tf.Session(graph=tf.Graph(), config=tf.ConfigProto(inter_op_parallelism_threads=4)).close()

TWO_THREADS = tf.ConfigProto(intra_op_parallelism_threads=2, inter_op_parallelism_threads=1)

Shift2DResult = namedtuple("Shift2DResult", "y gx gs")


class SlowFirst(LoadFileScheduling):
    """Gives out the files with slow tests ahead of all others.

    By itself xdist begins with those of many tests: one process would be left with the slow ones
    when all else is done.
    """

    def _assign_work_unit(self, node):
        for name in self.workqueue:
            with open(os.path.join(str(self.config.rootdir), name)) as f:
                if "mark.slow" in f.read():
                    self.workqueue.move_to_end(name, last=False)
                    break
        super()._assign_work_unit(node)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    return SlowFirst(config, log) if config.getoption("dist") == "loadfile" else None


def _memories():
    """What tensorpack remembers by graph, which keeps every graph that was trained alive."""
    for module in (regularize, common, dependency, scope_utils, summary):
        for function in vars(module).values():
            if inspect.isfunction(function) and function.__closure__:
                memory = inspect.getclosurevars(function).nonlocals.get("func_with_graph_arg")
                if memory is not None:
                    yield memory


MEMORIES = list(_memories())


@pytest.fixture(autouse=True)
def graph():
    """A graph of its own for every test, as the default graph."""
    with tf.Graph().as_default() as new_graph:
        yield new_graph
    # The tests of the ImageNet scripts alone would take 3 GB.
    for memory in MEMORIES:
        memory.cache_clear()


@pytest.fixture
def sess(graph):
    """A session with two threads on the test's graph."""
    with tf.Session(graph=graph, config=TWO_THREADS) as session:
        yield session


@pytest.fixture
def one_block_a_group(monkeypatch):
    """Halves what a network of 18 layers takes to build, for tests of what is around it."""
    monkeypatch.setitem(BLOCKS, 18, (1, 1, 1, 1))


class Shift2DRunner:
    """Runs shift2d and both gradients on NCHW arrays, in either layout.

    All shapes are unknown to the graph, so one subgraph serves every case with the same attributes.
    """

    AXES = {"NCHW": (0, 1, 2, 3), "NHWC": (0, 2, 3, 1)}
    BACK = {"NCHW": (0, 1, 2, 3), "NHWC": (0, 3, 1, 2)}

    def __init__(self, session, cpu_version):
        self._session = session
        self._cpu_version = cpu_version
        self._built = {}

    def __call__(
        self, x, shift, gy, *, stride=(1, 1), pad=(0, 0), normalize=False, data_format="NCHW"
    ):
        """Arrays of one dtype; ``stride`` and ``pad`` are (height, width). Gives y, gx and gs."""
        attrs = (tuple(stride), tuple(pad), bool(normalize), data_format, x.dtype.name)
        if attrs not in self._built:
            with self._session.graph.as_default():
                self._built[attrs] = self._build(*attrs)
        feeds, fetches = self._built[attrs]
        there, back = self.AXES[data_format], self.BACK[data_format]
        values = [x.transpose(there), shift, gy.transpose(there)]
        with pytest.MonkeyPatch.context() as patch:  # read when the session creates its kernels
            patch.setenv("SSPQ_CPU", self._cpu_version)
            y, gx, gs = self._session.run(fetches, dict(zip(feeds, values)))
        return Shift2DResult(y.transpose(back), gx.transpose(back), gs)

    def _build(self, stride, pad, normalize, data_format, dtype):
        axes = self.AXES[data_format]
        strides, paddings = (1, 1) + stride, (0, 0) + pad
        x, shift, gy = [tf.placeholder(dtype) for _ in range(3)]
        y = shift2d(
            x,
            shift,
            strides=[strides[a] for a in axes],
            paddings=[paddings[a] for a in axes],
            normalize=normalize,
            data_format=data_format,
        )
        return (x, shift, gy), [y] + tf.gradients(y, [x, shift], gy)


@pytest.fixture(scope="session", params=oplib.cpu_versions())
def run_shift2d(request):
    """One runner for all tests, once per version of the CPU kernels that this machine runs."""
    with tf.Session(graph=tf.Graph(), config=TWO_THREADS) as session:
        yield Shift2DRunner(session, request.param)


@pytest.fixture
def checkout(tmp_path):
    """The scripts and what they read, in a folder of their own without an environment."""
    for name in (*CHAINS, "scripts", "requirements", "tests/run.sh"):
        target = tmp_path / name
        target.parent.mkdir(exist_ok=True)
        source = os.path.join(ROOT, name)
        (shutil.copytree if os.path.isdir(source) else shutil.copy)(source, str(target))
    return tmp_path


@pytest.fixture
def tools(tmp_path):
    """A PATH with everything but a Python 3.7."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("bash", "cat", "cksum", "dirname", "flock", "grep", "mktemp", "rm", "sed"):
        found = shutil.which(name)
        if found:
            (folder / name).symlink_to(found)
    for name in ("python3", "python"):
        fake = folder / name
        fake.write_text("#!/bin/sh\nexit 1\n")
        fake.chmod(0o755)
    return str(folder)
