"""Recipes: all settings of a run in one YAML file, with one section per step.

- `tag2mask.recipe.schema`: `Recipe`, and the checks across sections
- `tag2mask.recipe.training`: the sections ``train_cam`` and ``train_affinity``, with every setting,
  its range and its default, as the other sections have them
- `tag2mask.recipe.maps_to_masks`: ``affinity_labels``, ``walk``, ``tune`` and ``pseudo_masks``
- `tag2mask.recipe.train_segmenter`: ``train_segmenter``
- `tag2mask.recipe.crf`: the sections of the dense CRF inside of others
- `tag2mask.recipe.sections`: all other sections
- `tag2mask.recipe.loading`: recipes from files and ``--set``, with readable errors
- `tag2mask.recipe.renamed`: former and common names of settings, which errors explain
- `tag2mask.recipe.effects`: settings that have no effect because of another setting
- `tag2mask.recipe.fields`: types of the values
- `tag2mask.recipe.data_layouts`: names of the layouts of data folders
- `tag2mask.recipe.modules`: classes of the user's own, and the consent to import them
- `tag2mask.recipe.settings_files`: YAML files of the package and of the user
- ``recipes/*.yaml``: the recipes in the package
"""
