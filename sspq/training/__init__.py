"""Training that survives a kill: runs, learning rates, callbacks, validation, several processes."""
