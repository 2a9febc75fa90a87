"""The command line ``tag2mask``: options are parsed, one function is called, results are printed.

``app`` groups the commands; the other modules hold the commands themselves and what they print.
"""
