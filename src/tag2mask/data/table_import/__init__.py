"""Import of a table of parts and a folder of photos into a data folder (``tag2mask data import``).

`columns` finds what the table's columns hold, `parts` reads its rows, `join` finds the photos of
each part, `plan` puts these together and compares with an earlier import, `write` writes the data
folder, and `summary` has the lines that are printed.
"""
