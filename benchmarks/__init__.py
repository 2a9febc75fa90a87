"""Benchmarks of time, memory and disk, each with a reference to compare with.

Run them by ``python -m benchmarks``; docs/reference/benchmarks.md explains each row.
"""
