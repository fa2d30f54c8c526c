"""Model descriptions, learning rates, the S1 to S2 hand-over, and runs that survive a kill."""
