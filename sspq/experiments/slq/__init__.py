"""The parts of examples/slq.py."""
