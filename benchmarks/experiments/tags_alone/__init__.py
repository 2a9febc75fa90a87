"""Masks and networks from tags alone: `row_list` has the experiments, `run_rows` runs them."""
