"""Files of other programs, one module per format: a file in, plain values out.

Nothing here knows what a data folder is; `data.layouts` and `data.table_import` give the
values a meaning.
"""
