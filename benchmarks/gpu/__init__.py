"""Times of the steps of a run on a GPU; docs/reference/benchmarks.md explains each row."""
