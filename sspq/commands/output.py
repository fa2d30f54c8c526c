"""Lines and checks about the files that commands write."""

from sspq.analysis.size import MIB
from sspq.export.packed import container


def check_ending(output: str, ending: str) -> None:
    """Raises ValueError unless the name of the output file has the ending."""
    if not output.endswith(ending):
        raise ValueError(f"`--output` must end in {ending}, got {output!r}")


def size_line(path: str, size: int, packed: container.Packed) -> str:
    """The size of a packed file, and the sizes of its tensors and its header."""
    header = container.header_bytes(path)
    tensors = f"tensors {size - header}"
    if size - header < packed.nbytes:
        share = 100 * (size - header) / packed.nbytes
        tensors += f" ({share:.1f} % of {packed.nbytes}, by entropy coding)"
    return f"{path}: {size} bytes = {size / MIB:.3f} MiB: {tensors}, header {header}"
