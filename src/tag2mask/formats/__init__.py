"""Files of other programs, one module or package per format: files to plain values, and back.

Readers yield `annotations.AnnotatedPhoto`, writers take `annotations.MaskedPhoto`. Nothing here
knows what a data folder is; `data.layouts`, `data.table_import` and `steps.mask_exchange` give the
values a meaning.
"""
