"""Entropy coding of codes: one code a byte, compressed by LZMA as a stream of the format xz."""

import lzma

import numpy as np

from sspq.export.packed.encoding import EncodingError, pack_bits

MOST_CODES = 2**28  # four times as many as AlexNet has weights


def compress(codes: np.ndarray) -> np.ndarray:
    """Codes, uint8 ``[codes]``, as the bytes of an xz stream, uint8."""
    return np.frombuffer(lzma.compress(codes.tobytes()), np.uint8)


def decompress(stored: np.ndarray, count: int) -> np.ndarray:
    """The ``count`` codes of :func:`compress`; never more memory than these take.

    Raises:
        EncodingError: the bytes are no whole xz stream of that many codes.
    """
    if count > MOST_CODES:
        raise EncodingError(f"would have {count} codes; at most {MOST_CODES} are read")
    xz = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=2**28)
    try:
        codes = xz.decompress(stored.tobytes(), count + 1)
    except lzma.LZMAError as e:
        raise EncodingError(f"the codes are no whole xz stream: {e}") from e
    if not xz.eof or xz.unused_data or len(codes) != count:
        raise EncodingError(f"the codes are no xz stream of {count} bytes")
    return np.frombuffer(codes, np.uint8)


def repack(codes: np.ndarray, bits: int) -> np.ndarray:
    """Decompressed codes at their own bits.

    Raises:
        EncodingError: a code takes more bits.
    """
    if codes.size and codes.max() >= 2**bits:
        raise EncodingError(f"a code is {codes.max()}, expected less than {2**bits} of {bits} bits")
    return pack_bits(codes, bits)
