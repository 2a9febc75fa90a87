"""Experiments whose rows are in docs/results: one page each, nothing that the package needs."""
