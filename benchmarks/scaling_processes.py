"""Horovod's processes for benchmarks/scaling.py, each in a network namespace, and their links.

Started as a program, by a :class:`Cluster`, this is one of the processes. Each line that it reads
is ``[WHAT, NUMBER]``: what to do, and how often; each that it writes says what came of it, see
:class:`Training` and :class:`Replay`.
"""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from functools import partial
from typing import Any, Callable, Dict, List

import horovod.tensorflow as hvd
import numpy as np
from horovod.runner.common.util.hosts import get_host_assignments, parse_hosts
from horovod.runner.gloo_run import create_run_env_vars, create_slot_env_vars
from horovod.runner.http.http_server import RendezvousServer
from scaling_model import FUSION
from tensorpack.tfutils.tower import TowerContext

import sspq
from sspq.compat import tf
from sspq.training.console import quieten

ADDRESS, HUB = "198.18.27.%d", 254  # of those set aside for benchmarks of networks (RFC 2544)
BRIDGE, NAMESPACE, LINK = "sspq-hub", "sspq-worker", "sspq-link"
HOSTS = "/etc/netns/"
# What tc lets through at once, which must outlast the kernel's timer, and what waits for it.
BURST_SECONDS, LEAST_BURST, QUEUE = 200e-6, 128 << 10, 16 << 20

COMPRESSIONS = {"none": hvd.Compression.none, "fp16": hvd.Compression.fp16}


class Cluster:
    """Processes with a network namespace, thus an address and a link, each.

    Args:
        arguments: ``train`` or ``replay``, and those of :class:`Training` or :class:`Replay`.
        cores: numbers of the cores of each process; one process for each list.
        fusion: bytes of Horovod's largest buffer.
    """

    def __init__(self, arguments: List[Any], cores: List[List[int]], fusion: int = FUSION) -> None:
        self._processes: List[Any] = []
        self._names = [f"{NAMESPACE}{i}" for i in range(len(cores))]
        self._rendezvous = RendezvousServer()
        port = self._rendezvous.start()
        try:
            self._link()
            env = dict(os.environ, TF_CPP_MIN_LOG_LEVEL="2")
            env["PYTHONPATH"] = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
            env["HOROVOD_FUSION_THRESHOLD"] = str(fusion)
            for name, value in create_run_env_vars(ADDRESS % HUB, ["eth0"], port).items():
                env[name] = str(value)
            program = [sys.executable, os.path.abspath(__file__), arguments[0]]
            program += [json.dumps(a) for a in arguments[1:]]
            hosts = parse_hosts(",".join(f"{name}:1" for name in self._names))
            slots = get_host_assignments(hosts, len(cores))
            self._rendezvous.init(slots)
            for name, slot, own in zip(self._names, slots, cores):
                enter = ["ip", "netns", "exec", name, "taskset", "-c", ",".join(map(str, own))]
                self._processes.append(
                    subprocess.Popen(
                        enter + program,
                        env=dict(env, **create_slot_env_vars(slot)),
                        stdin=subprocess.PIPE,
                        stdout=subprocess.PIPE,
                        text=True,
                    )
                )
        except BaseException:
            self.__exit__()
            raise

    def __enter__(self) -> "Cluster":
        return self

    def __exit__(self, *error: Any) -> None:
        for process in self._processes:
            process.kill()
        for process in self._processes:
            process.communicate()
        self._rendezvous.stop()
        _remove()

    def _link(self) -> None:
        _remove()
        _run("ip link add %s type bridge", BRIDGE)
        _run("ip addr add %s/24 dev %s", ADDRESS % HUB, BRIDGE)
        _run("ip link set %s up", BRIDGE)
        for i, name in enumerate(self._names):
            address, outside = ADDRESS % (i + 1), f"{LINK}{i}"
            _run("ip netns add %s", name)
            # Horovod 0.28.1 listens at the address of the host's name, whatever interface it is
            # told; `ip netns exec` puts this file in the place of /etc/hosts.
            os.makedirs(HOSTS + name, exist_ok=True)
            with open(os.path.join(HOSTS + name, "hosts"), "w") as f:
                f.write(f"{address} {socket.gethostname()}\n")
            _run("ip link add %s type veth peer name eth0 netns %s", outside, name)
            _run("ip link set %s master %s up", outside, BRIDGE)
            _run("ip -n %s addr add %s/24 dev eth0", name, address)
            _run("ip -n %s link set eth0 up", name)
            # The only one that every kernel lets a namespace choose; nothing gets lost here.
            _run("ip netns exec %s sysctl -qw net.ipv4.tcp_congestion_control=reno", name)

    def shape(self, rate: float) -> None:
        """Gives every link that many bit/s each way; before, they have no limit."""
        for name in self._names:
            burst = max(LEAST_BURST, rate / 8 * BURST_SECONDS)
            limit = f"rate {rate}bit burst {burst} limit {QUEUE}"
            _run("tc -n %s qdisc replace dev eth0 root tbf " + limit, name)

    def do(self, what: str, number: int) -> List[List[Any]]:
        """What comes of it, as many entries as it is done, each with those of the processes."""
        for process in self._processes:
            process.stdin.write(json.dumps([what, number]) + "\n")
            process.stdin.flush()
        answers = [process.stdout.readline() for process in self._processes]
        if not all(answers):
            raise RuntimeError("one of Horovod's processes ended: see its message above")
        return [list(entry) for entry in zip(*map(json.loads, answers))]


def _remove() -> None:
    """Removes the namespaces and links, those of an earlier run that was killed as well."""
    for name in subprocess.check_output(["ip", "netns"], text=True).split():
        if name.startswith(NAMESPACE):
            _run("ip netns del %s", name)
            shutil.rmtree(HOSTS + name, ignore_errors=True)
    if os.path.exists("/sys/class/net/" + BRIDGE):
        _run("ip link del %s", BRIDGE)


def _run(command: str, *names: str) -> None:
    command %= names
    done = subprocess.run(command.split(), stderr=subprocess.PIPE, text=True)
    if done.returncode:
        raise RuntimeError(f"`{command}` failed: {done.stderr.strip()}")


def mean(gradient: Any, compression: str) -> Any:
    """A gradient's mean over the processes, as tensorpack's HorovodTrainer takes it."""
    return hvd.allreduce(gradient, op=hvd.Average, compression=COMPRESSIONS[compression])


def session(threads: int) -> Any:
    # Two operations at a time at least: gradients are to be sent while others are waited for.
    return tf.Session(
        config=tf.ConfigProto(
            intra_op_parallelism_threads=threads, inter_op_parallelism_threads=max(2, threads)
        )
    )


class Training:
    """L-SSPQ50's S1, really trained.

    ``alone`` is a step without communication, told as the moments at which the gradients are ready,
    their bytes and the seconds of the step; ``none`` and ``fp16``, ways to compress the gradients,
    are the seconds of a step with it.
    """

    def __init__(self, pixels: int, batch: int, threads: int) -> None:
        model = sspq.ImageNetSSPQ(graph="resnet_model3", image_size=pixels)
        rng = np.random.RandomState(0)
        images = rng.randint(0, 256, [batch, pixels, pixels, 3]).astype(np.uint8)
        labels = rng.randint(0, model.num_classes, [batch]).astype(np.int32)
        with TowerContext("", is_training=True):
            cost = model.build_graph(
                *[tf.Variable(value, trainable=False).value() for value in (images, labels)]
            )
        optimizer = model.optimizer()
        gradients = optimizer.compute_gradients(cost)
        self._bytes = [4 * v.shape.num_elements() for _, v in gradients]
        self._ready = [0.0] * len(gradients)
        marks = []
        for i, (gradient, _) in enumerate(gradients):
            with tf.control_dependencies([gradient]):
                marks.append(tf.py_func(partial(self._mark, i), [], []))
        with tf.control_dependencies(tf.get_collection(tf.GraphKeys.UPDATE_OPS)):
            steps = {"unmarked": optimizer.apply_gradients(gradients)}
            for name in COMPRESSIONS:
                means = [(mean(g, name) if hvd.size() > 1 else g, v) for g, v in gradients]
                steps[name] = optimizer.apply_gradients(means)
        self._session = session(threads)
        self._session.run(tf.global_variables_initializer())
        self._marked = partial(self._session.run, [steps["unmarked"], marks])
        self.does: Dict[str, Callable[[], Any]] = {
            name: partial(seconds, partial(self._session.run, op)) for name, op in steps.items()
        }
        self.does["alone"] = self._alone

    def _mark(self, number: int) -> None:
        self._ready[number] = time.perf_counter()

    def _alone(self) -> Any:
        start = time.perf_counter()
        marked = seconds(self._marked)
        step = self.does["unmarked"]()  # marks cost some per cent
        return [(m - start) / marked * step for m in self._ready], self._bytes, step


class Replay:
    """Gradients of given bytes that are ready at given moments.

    ``none`` and ``fp16`` are the seconds of a step, ``none at once`` and ``fp16 at once`` those of
    one whose gradients are all ready at its beginning.
    """

    def __init__(self, tensors: List[List[float]], update: float) -> None:
        self._start = 0.0
        waits: List[Any] = []
        for ready, _ in tensors:
            with tf.control_dependencies(waits[-1:]):
                waits.append(tf.py_func(partial(self._wait, ready), [], []))
        gradients = [tf.Variable(tf.random.normal([int(size) // 4])) for _, size in tensors]
        ops = {}
        for name in COMPRESSIONS:
            ops[name + " at once"] = [mean(tf.identity(g), name).op for g in gradients]
            ops[name] = []
            for gradient, wait in zip(gradients, waits):
                with tf.control_dependencies([wait]):
                    ops[name].append(mean(tf.identity(gradient), name).op)
        self._session = session(1)
        self._session.run(tf.global_variables_initializer())
        self.does = {}
        for name, op in ops.items():
            pause = 0.0 if name.endswith("at once") else update
            self.does[name] = partial(seconds, partial(self._step, op, pause))

    def _wait(self, ready: float) -> None:
        time.sleep(max(0.0, self._start + ready - time.perf_counter()))

    def _step(self, op: Any, update: float) -> None:
        self._start = time.perf_counter()
        self._session.run(op)
        time.sleep(update)


def seconds(function: Callable[[], Any]) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def main() -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print keeps out of the answers
    quieten()
    hvd.init()
    arguments = [json.loads(a) for a in sys.argv[2:]]
    work: Any = Training(*arguments) if sys.argv[1] == "train" else Replay(*arguments)
    for line in sys.stdin:
        what, number = json.loads(line)
        print(json.dumps([work.does[what]() for _ in range(number)]), file=answers, flush=True)


if __name__ == "__main__":
    main()
