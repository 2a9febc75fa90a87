"""Overlays, plots, HTML pages and model cards.

`page` has the blocks of an HTML page and renders them, `plots` draws line and dot plots, `overlays`
draws heat maps and masks over photos. `sections` turns the scores and files of a run folder
(`run_folder`) into sections of the page; `model_card` describes an exported network. Nothing here
imports a step: the steps ``report``, ``evaluate`` and ``export`` write the files.
"""
