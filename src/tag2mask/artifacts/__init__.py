"""Step folders: one folder per step, one manifest per folder.

``step_folder`` opens a folder for work, ``handles`` has a type for each complete folder and the
table of the steps, ``identity`` decides whether a folder matches what it would be made from now.
"""
