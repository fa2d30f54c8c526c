"""Writes what a run of SLQ or MLQ measures, one report for each stage."""

import os
from typing import Any, Dict, Optional

import numpy as np
from tensorpack.callbacks import Callback

from sspq.analysis.size import model_size
from sspq.files import read_json, write_json
from sspq.runs.stages import StageReport, stage_file
from sspq.slq import LayerState
from sspq.training.results import variables_of
from sspq.training.slq.callback import SLQ, Observer, States, Weights
from sspq.training.validation import Validation

HISTOGRAM_BINS = 128


class StageReports(Callback, Observer):
    """Writes ``stage1/report.json`` and so on.

    Top-1 and top-5 are measured ahead of a stage, right after it has frozen its weights, and when
    its last epoch has trained the others. What is measured at a stage's beginning is written at
    once, so a run that is killed within a stage still has it.

    To be put after the callbacks that validate and ahead of those that save.

    Args:
        model: a :class:`sspq.models.classifier.Classifier`.
        slq: the callback whose stages these are.
        validation: validation of the run.
        folder: folder of the run; None in processes that are not the chief.
    """

    _chief_only = False

    def __init__(self, model: Any, slq: SLQ, validation: Validation, folder: Optional[str]) -> None:
        self._model, self._slq, self._validation, self._folder = model, slq, validation, folder
        slq.observer = self

    def before(self, stage: int, weights: Weights) -> None:
        self._histograms = {name: _histogram(w) for name, w in weights.items()}
        self._accuracy = {"before_freezing": self._validation.measure()}

    def after(self, stage: int, states: States) -> None:
        self._accuracy["after_freezing"] = self._validation.measure()
        if self._folder is None:
            return
        first = sum(self._slq.epochs[: stage - 1]) + 1
        layers = {name: self._layer(name, states.get(name)) for name in self._slq.layers}
        total = sum(entry["weights"] for entry in layers.values())
        finished = {n: len(s.centres) for n, s in states.items() if s.finished}
        size = model_size(variables_of(self._model), self._model.weight_bits, finished)
        os.makedirs(os.path.dirname(self._path(stage)), exist_ok=True)
        self._write(
            stage,
            {
                "stage": stage,
                "stages": len(self._slq.epochs),
                "epochs": [first, first + self._slq.epochs[stage - 1] - 1],
                "frozen_share": sum(entry["frozen"] for entry in layers.values()) / total,
                "layers": layers,
                "bytes": size.quantized_bytes,
                "accuracy": self._accuracy,
            },
        )

    def _trigger_epoch(self) -> None:
        stage = self._slq.stage_of(self.epoch_num)
        if self.epoch_num != sum(self._slq.epochs[:stage]):
            return
        v = self._validation
        trained = v.latest if v.latest_epoch == self.epoch_num else v.measure()
        if self._folder is not None:
            report = read_json(self._path(stage))
            report["accuracy"]["after_training"] = trained
            self._write(stage, report)

    def _layer(self, name: str, state: Optional[LayerState]) -> Dict[str, Any]:
        entry = {"weights": self._slq.layers[name].weights.shape.num_elements(), "frozen": 0}
        if state is not None:
            entry["frozen"] = int(state.frozen.sum())
            entry["codebook"] = state.centres.tolist()
            entry["frozen_centres"] = np.flatnonzero(state.frozen_centres).tolist()
            entry["members"] = np.bincount(
                state.index.ravel(), minlength=len(state.centres)
            ).tolist()
            entry["loss"] = state.loss.tolist()
        entry["frozen_share"] = entry["frozen"] / entry["weights"]
        if name in self._histograms:
            entry["histogram"] = self._histograms[name]
        return entry

    def _path(self, stage: int) -> str:
        assert self._folder is not None
        return stage_file(self._folder, stage)

    def _write(self, stage: int, report: StageReport) -> None:
        write_json(self._path(stage), report)


def _histogram(weights: np.ndarray) -> Dict[str, Any]:
    """The numbers of weights in equal intervals from the least to the largest."""
    counts, edges = np.histogram(weights, HISTOGRAM_BINS)
    return {"low": float(edges[0]), "high": float(edges[-1]), "counts": counts.tolist()}
