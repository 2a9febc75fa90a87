"""Photos in storages: addresses, listings and downloads through fsspec."""
