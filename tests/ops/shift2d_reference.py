"""shift2d in plain numpy, float64, NCHW. Slow; every line is one line of the definition.

``stride`` and ``pad`` are pairs (height, width). Positions are floats, so that a shift of any
size is only ever compared with the image, never turned into an index.
"""

import numpy as np


def output_shape(x_shape, stride, pad):
    """``[N, C, (H + 2*pad - 1)//stride + 1, ...]``"""
    sizes = [(x_shape[2 + a] + 2 * pad[a] - 1) // stride[a] + 1 for a in range(2)]
    return tuple(x_shape[:2]) + tuple(sizes)


def forward(x, shift, *, stride=(1, 1), pad=(0, 0)):
    """y, ``[N, C, H', W']``"""
    y = np.zeros(output_shape(x.shape, stride, pad))
    for c, (sx, sy) in enumerate(_columns(shift)):
        if not np.isfinite([sx, sy]).all():
            y[:, c] = np.nan
            continue
        rows, cols = _positions(y.shape, sx, sy, stride, pad)
        for a, wy in _weights(sy):
            for b, wx in _weights(sx):
                y[:, c] += wy * wx * _read(x[:, c], rows + a, cols + b)
    return y


def gradient_to_x(x, shift, gy, *, stride=(1, 1), pad=(0, 0)):
    """The adjoint: every output pixel adds its gradient to the four pixels that it read."""
    gx = np.zeros(x.shape)
    for c, (sx, sy) in enumerate(_columns(shift)):
        if not np.isfinite([sx, sy]).all():
            gx[:, c] = np.nan
            continue
        rows, cols = _positions(gy.shape, sx, sy, stride, pad)
        for a, wy in _weights(sy):
            for b, wx in _weights(sx):
                _add(gx[:, c], rows + a, cols + b, wy * wx * gy[:, c])
    return gx


def gradient_to_shift(x, shift, gy, *, stride=(1, 1), pad=(0, 0), normalize=False):
    """``[2, C]``; at an integer shift the mean of the two one-sided derivatives."""
    gs = np.zeros(np.shape(shift))
    for c, (sx, sy) in enumerate(_columns(shift)):
        if not np.isfinite([sx, sy]).all():
            gs[:, c] = np.nan
            continue
        rows, cols = _positions(gy.shape, sx, sy, stride, pad)
        for a, wy in _weights(sy):
            for b, slope in _slopes(sx):
                gs[0, c] += np.sum(gy[:, c] * wy * slope * _read(x[:, c], rows + a, cols + b))
        for a, slope in _slopes(sy):
            for b, wx in _weights(sx):
                gs[1, c] += np.sum(gy[:, c] * slope * wx * _read(x[:, c], rows + a, cols + b))
    return normalized(gs) if normalize else gs


def normalized(gs):
    """Each channel's (gx, gy) divided by its L2 norm; zero stays zero."""
    norm = np.sqrt(np.sum(np.square(gs), axis=0))
    return gs / np.where(norm == 0, 1, norm)


def _columns(shift):
    return np.asarray(shift, np.float64).T


def _weights(s):
    """(pixel, weight) of the two taps along one axis."""
    d = s - np.floor(s)
    return (0, 1 - d), (1, d)


def _slopes(s):
    """(pixel, derivative of its weight to the shift) along one axis."""
    if s == np.floor(s):
        return (-1, -0.5), (1, 0.5)
    return (0, -1.0), (1, 1.0)


def _positions(y_shape, sx, sy, stride, pad):
    """r for every output row and q for every output column."""
    rows = np.arange(y_shape[2], dtype=np.float64) * stride[0] - pad[0] + np.floor(sy)
    cols = np.arange(y_shape[3], dtype=np.float64) * stride[1] - pad[1] + np.floor(sx)
    return rows, cols


def _inside(plane, rows, cols):
    """The same rectangle twice: as indices into (rows, cols) and as indices into the plane."""
    batch, height, width = plane.shape
    i = np.flatnonzero((rows >= 0) & (rows < height))
    j = np.flatnonzero((cols >= 0) & (cols < width))
    n = np.arange(batch)
    return np.ix_(n, i, j), np.ix_(n, rows[i].astype(int), cols[j].astype(int))


def _read(plane, rows, cols):
    """``plane[:, rows, cols]``, zero outside."""
    values = np.zeros((len(plane), len(rows), len(cols)))
    here, there = _inside(plane, rows, cols)
    values[here] = plane[there]
    return values


def _add(plane, rows, cols, values):
    """``plane[:, rows, cols] += values`` where it is inside; no position occurs twice."""
    here, there = _inside(plane, rows, cols)
    plane[there] += values[here]
