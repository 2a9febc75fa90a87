"""Recipes: all settings of a run in one YAML file, with one section per step.

- `tag2mask.recipe.schema`: `Recipe`, and the checks across sections
- `tag2mask.recipe.sections`, `tag2mask.recipe.training`, `tag2mask.recipe.train_segmenter`: the
  sections, with every setting, its range and its default
- `tag2mask.recipe.loading`: recipes from files and ``--set``, with readable errors
- `tag2mask.recipe.renamed`: former and common names of settings, which errors explain
- `tag2mask.recipe.fields`: types of the values
- ``recipes/*.yaml``: the recipes in the package
"""
