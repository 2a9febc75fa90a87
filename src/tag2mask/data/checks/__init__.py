"""Checks of the data before anything is trained: photos, tags, classes and masks.

`inventory` checks what was listed and opens no photo; `masks` and `photo_doubts` check files;
`data_folder` runs all of them and is the command ``data check``. `understood` says in five lines
what was understood of the data.
"""
