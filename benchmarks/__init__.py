"""What the program costs, each figure beside what it is to be compared with.

`python -m benchmarks` measures; docs/reference/benchmarks.md says what each row means.
"""
