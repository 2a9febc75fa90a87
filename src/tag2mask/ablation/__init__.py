"""Ablations: a table of recipes, run with several seeds and compared row by row.

Steps that rows have in common run once.

- `tag2mask.ablation.table`: tables of rows, in YAML; ``tables/`` has those of the package
- `tag2mask.ablation.trials`: the trials (a row with a seed), their step folders, order and cost
- `tag2mask.ablation.run`: run the trials and write the results
- `tag2mask.ablation.records`: the dataclasses that ``ablation.json`` consists of
- `tag2mask.ablation.scores`: these records from evaluations: measures, means and differences
- `tag2mask.ablation.rows`: the rows of a table, and which others each is compared with
- `tag2mask.ablation.resampled`: resampled scores of a trial, for the intervals of differences
- `tag2mask.ablation.text_tables`, `tag2mask.ablation.latex_table`: the results as Markdown, LaTeX
- `tag2mask.ablation.page`, `tag2mask.ablation.plot`: the results as an HTML page and a PNG
"""
