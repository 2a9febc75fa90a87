"""Data in: photos, image-level tags, splits and masks, read from a folder in any supported layout.

`layouts` turns a data folder into an `Inventory`: entries, splits and problems, no photo opened.
`checks` finds everything that is wrong with it, `prepare` compares it with what was prepared
before. The step ``prepare`` writes the result as an index (`index`), from which every later step
reads its `Sample`s. `corrections` has what a person said about photos, `table_import` makes a data
folder of a table of parts, `remote` and `decoding` read photos elsewhere and of other kinds.
`images`, `photos` and `masks` read and write single files; `photo_files` lists photos for
prediction; `demo` makes the demo's data.

A `Sample` has no mask, and masks are listed in a file of their own: nothing that trains on tags has
access to them.
"""
