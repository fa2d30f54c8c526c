"""Images of an ILSVRC folder, which do not fit into memory."""
