"""Numerics without networks: geometry, metrics, thresholds."""
