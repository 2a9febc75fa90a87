"""What the step ``prepare`` would write; nothing is written here, so that a dry run can call it.

`listing` lists the data, `measure` reads sizes and checks masks where they are new, `index_changes`
compares with an earlier index, and `plan` puts these together.
"""
