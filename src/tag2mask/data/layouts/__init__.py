"""Readers of the supported data layouts; each turns a folder into an `Inventory`.

========== ================================================= ==================================
Layout     Recognized by                                     Modules
========== ================================================= ==================================
voc        ``JPEGImages/`` and ``ImageSets/``                `voc`
coco       COCO JSON in ``annotations/`` or next to photos   `coco`
others     files of annotation tools                         `tools`, `addresses`
csv        ``tags.csv``, or any ``.csv``                     `csv_table`, `tables`
folders    one folder of photos per class                    `class_folders`
========== ================================================= ==================================

`detect` tries them in this order, and names `exports` of tools that are not read. `listing`,
`photo_lookup`, `folder_names`, `ids`, `names` and `splits` are shared by all.
"""
