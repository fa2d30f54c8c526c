"""What the commands say about the files that they write."""

from sspq.analysis.size import MIB
from sspq.export.packed import container


def check_ending(output: str, ending: str) -> None:
    if not output.endswith(ending):
        raise ValueError(f"`--output` must end in {ending}, got {output!r}")


def size_line(path: str, size: int, packed: container.Packed) -> str:
    """The file's size, beside that of its tensors with every code at its own bits."""
    tensors = packed.nbytes
    if size < tensors:
        beside = f"{100 * size / tensors:.1f} % of the tensors' {tensors}, by entropy coding"
    else:
        beside = f"tensors {tensors}, header {size - tensors}"
    return f"{path}: {size} bytes = {size / MIB:.3f} MiB: {beside}"
