"""Step folders: one folder per step, one manifest per folder.

``step_folder`` opens a folder for work, ``handles`` has a type for each complete folder,
``step_table`` lists the steps of a run in order, ``identity`` decides whether a folder matches what
it would be made from now.
"""
