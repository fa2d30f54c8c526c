"""Network graphs: each block once, as a function of the bit widths."""
