"""Sizes, reports and figures of runs."""
