"""The commands of python -m sspq, one module each, which imports what it needs when it runs."""
