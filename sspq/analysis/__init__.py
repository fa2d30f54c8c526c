"""What is read off a model's graph: layers, bytes, work; and what computes it here."""
