"""A model layer by layer: parameters, bits, bytes and work."""

import csv
import io
import json
from dataclasses import asdict, dataclass
from typing import Any, Dict, List, Optional, Tuple

from tabulate import tabulate

from sspq.analysis.layers import LINEAR, POINTWISE, SHIFT, SPATIAL, UNKNOWN, Layer, read_layers
from sspq.analysis.size import MIB, count_of, information_density, tensor_bytes

WORK = (POINTWISE, SPATIAL, LINEAR, SHIFT)


@dataclass(frozen=True)
class Row:
    """One layer.

    Attributes:
        layer: variable scope, or name of the op where there are no variables.
        kind: kind of the layer, see :class:`sspq.analysis.layers.Layer`.
        window: height, width and stride as "3x3/2", or "".
        output: shape of the output, ``(height, width, channels)`` in any layout or
            ``(features,)``; None if unknown.
        parameters: number of trainable values.
        averages: number of values that are not trained, the moving averages.
        weight_bits: bits of each value of the largest trainable tensor; None without one.
        activation_bits: bits of the values that the layer reads; 32 after a shift, which
            interpolates.
        bytes: bytes of the trainable values, see :func:`sspq.analysis.size.tensor_bytes`.
        work: multiply-adds for one image; for a shift, the four taps of each value; None if
            unknown.
    """

    layer: str
    kind: str
    window: str
    output: Optional[Tuple[int, ...]]
    parameters: int
    averages: int
    weight_bits: Optional[int]
    activation_bits: int
    bytes: int
    work: Optional[int]


@dataclass(frozen=True)
class Totals:
    """Sums over the rows.

    Attributes:
        parameters, averages: numbers of values, as in :class:`Row`.
        float32_bytes, quantized_bytes: bytes of the trainable values, all in float32 and at their
            own bits.
        work: multiply-adds for one image, by kind; for the kind "shift", taps.
        unknown: names of the layers of unknown work, which is in no sum.
    """

    parameters: int
    averages: int
    float32_bytes: int
    quantized_bytes: int
    work: Dict[str, int]
    unknown: Tuple[str, ...]


@dataclass(frozen=True)
class Summary:
    """A model layer by layer. ``str(summary)`` is :meth:`table`.

    Attributes:
        model: description of the model by itself, ``model.describe()``.
        rows: layers in the order of the graph.
        totals: sums over the layers.
        top1: top-1 in percent; None if it was not measured (default: None).
    """

    model: Dict[str, Any]
    rows: Tuple[Row, ...]
    totals: Totals
    top1: Optional[float] = None

    @property
    def density(self) -> Optional[float]:
        """``log10(top-1 in percent / MiB)`` of the quantized model, None without a top-1."""
        if self.top1 is None:
            return None
        return information_density(self.top1, self.totals.quantized_bytes)

    def table(self, style: str = "simple") -> str:
        """The rows, totals and facts as text.

        Args:
            style: table format of tabulate (default: "simple"; "github": Markdown).
        """
        align = ["left", "left", "right"] + ["right"] * (len(_HEADER) - 3)
        rows = [_cells(row) for row in self.rows]
        rows.append(_total_cells(self.totals))
        text = tabulate(rows, _HEADER, style, colalign=align, disable_numparse=True)
        return text + "\n\n" + "\n".join(self._facts())

    def to_markdown(self) -> str:
        """:meth:`table` in Markdown."""
        return self.table("github")

    def to_json(self) -> str:
        """Model, layers, totals, top-1 and information density as JSON."""
        value = dict(
            model=self.model,
            layers=[asdict(row) for row in self.rows],
            totals=asdict(self.totals),
            top1=self.top1,
            information_density=self.density,
        )
        return json.dumps(value, indent=2)

    def to_csv(self) -> str:
        """The rows, for a spreadsheet; the output as ``HxWxC``, an unknown work as ``?``."""
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(Row.__dataclass_fields__)
        for row in self.rows:
            values = dict(asdict(row), output=_shape(row.output))
            values["work"] = "?" if row.work is None else row.work
            writer.writerow(values.values())
        return out.getvalue()

    def _facts(self) -> List[str]:
        t = self.totals
        lines = [
            (
                f"parameters      {t.parameters:,} trainable, {t.averages:,} moving averages "
                "beside them"
            ),
            f"float32         {_mib(t.float32_bytes)}",
            f"quantized       {_mib(t.quantized_bytes)}",
            (
                f"multiply-adds   {sum(t.work[k] for k in WORK if k != SHIFT):,} for one image; "
                f"shifts weigh {t.work[SHIFT]:,} pixels beside them"
            ),
        ]
        if self.top1 is not None and self.density is not None:
            lines.append(
                f"density         {self.density:.3f} = log10({self.top1:.2f} % top-1 / MiB)"
            )
        if t.unknown:
            lines.append(f"unknown         {', '.join(t.unknown)}: their work is in no sum")
        return lines

    __str__ = table


_HEADER = ("layer", "kind", "window", "output", "parameters", "W", "A", "bytes") + tuple(
    f"{kind} {'taps' if kind == SHIFT else 'MACs'}" for kind in WORK
)


def _mib(size: int) -> str:
    return f"{size:,} bytes = {size / MIB:.3f} MiB"


def _shape(output: Optional[Tuple[int, ...]]) -> str:
    return "?" if output is None else "x".join(str(n) for n in output)


def _cells(row: Row) -> Tuple[str, ...]:
    work = ["?" if row.kind == UNKNOWN else ""] * len(WORK)
    if row.kind in WORK:
        work[WORK.index(row.kind)] = "?" if row.work is None else f"{row.work:,}"
    return (
        row.layer,
        row.kind,
        row.window,
        _shape(row.output),
        f"{row.parameters:,}" if row.parameters else "",
        str(row.weight_bits or ""),
        str(row.activation_bits),
        f"{row.bytes:,}" if row.bytes else "",
    ) + tuple(work)


def _total_cells(t: Totals) -> Tuple[str, ...]:
    work = tuple(f"{t.work[kind]:,}" for kind in WORK)
    sizes = (f"{t.parameters:,}", "", "", f"{t.quantized_bytes:,}")
    return ("total", "", "", "") + sizes + work


def _row(layer: Layer, bits_of: Any) -> Row:
    trained = [(name, shape) for name, shape, trainable in layer.variables if trainable]
    largest = max(trained, key=lambda v: count_of(v[1]), default=None)
    return Row(
        layer=layer.name,
        kind=layer.kind,
        window=layer.window,
        output=layer.output,
        parameters=sum(count_of(shape) for _, shape in trained),
        averages=sum(count_of(shape) for _, shape, trainable in layer.variables if not trainable),
        weight_bits=bits_of(largest[0]) if largest else None,
        activation_bits=layer.input_bits,
        bytes=sum(tensor_bytes(count_of(shape), bits_of(name)) for name, shape in trained),
        work=layer.work,
    )


def summarize(model: Any, top1: Optional[float] = None, graph: Any = None) -> Summary:
    """The summary of a model, read off its graph; nothing is computed.

    It is equal in both layouts. Ops that are not recognised are layers of the kind "unknown".

    Args:
        model: :class:`sspq.models.classifier.Classifier`, or another tensorpack ``ModelDesc`` with
            a tensor ``logits``; without ``weight_bits`` its variables count as float32.
        top1: top-1 in percent, for the information density (default: not measured).
        graph: :func:`sspq.analysis.layers.inference_graph` of the model (default: a new one).
    """
    bits = getattr(model, "weight_bits", None)
    layers = read_layers(model, graph)
    rows = tuple(_row(layer, bits.of if bits else lambda name: 32) for layer in layers)
    known = [row for row in rows if row.work is not None]
    parameters = sum(row.parameters for row in rows)
    totals = Totals(
        parameters=parameters,
        averages=sum(row.averages for row in rows),
        float32_bytes=tensor_bytes(parameters, 32),
        quantized_bytes=sum(row.bytes for row in rows),
        work={kind: sum(row.work or 0 for row in known if row.kind == kind) for kind in WORK},
        unknown=tuple(row.layer for row in rows if row.work is None),
    )
    describe = getattr(model, "describe", dict)
    return Summary(describe(), rows, totals, top1)
