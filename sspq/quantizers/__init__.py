"""Quantizers and the choice of variables they apply to."""
