"""What processes that train together agree on and share, without any that really do."""

import sys
import types

from sspq.experiments.inputs import ImagesInput, ImagesSettings
from sspq.models.cifar import SMALL_IMAGES
from sspq.training.distributed import HorovodProcesses, Processes


def test_what_processes_agree_on_keeps_off_gpus(monkeypatch):
    """A session that sees GPUs settles for the whole process which it has."""
    seen = []
    hvd = types.ModuleType("horovod.tensorflow")
    hvd.init, hvd.rank, hvd.size = (lambda: None), (lambda: 1), (lambda: 2)
    hvd.broadcast_object = lambda value, root_rank, session, name: seen.append(session) or value
    monkeypatch.setitem(sys.modules, "horovod", types.ModuleType("horovod"))
    monkeypatch.setitem(sys.modules, "horovod.tensorflow", hvd)
    monkeypatch.setattr(sys.modules["horovod"], "tensorflow", hvd, raising=False)
    assert HorovodProcesses().agree("value") == "value"
    assert dict(seen[0]._config.device_count) == {"GPU": 0}


def test_processes_share_images_that_are_held_in_memory():
    shares = []
    for rank in range(2):
        processes = Processes()
        processes.rank, processes.ranks = rank, 2
        data = ImagesInput(ImagesSettings("digits"), processes)
        batch = next(iter(data.training(SMALL_IMAGES, 64, 1, 1).ds))
        assert len(batch[0]) == 32 and len(data.validation(SMALL_IMAGES)) > 0
        shares.append((batch[1], sum(len(labels) for _, labels in data.validation(SMALL_IMAGES))))
    assert list(shares[0][0]) != list(shares[1][0])
    assert shares[0][1] + shares[1][1] == data.facts()["test_images"]
