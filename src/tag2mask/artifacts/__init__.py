"""Step folders: one folder per step, one manifest per folder.

``step_folder`` opens a folder for work, ``handles`` has a type for each complete folder,
``run_steps`` is the table of a run's steps, ``identity`` decides whether a folder matches what it
would be made from now.
"""
