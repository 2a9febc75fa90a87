"""What the program costs, each figure beside what it is to be compared with.

`python -m benchmarks` measures; docs/benchmarks.md says what each row means.
"""
