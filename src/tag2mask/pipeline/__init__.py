"""Runs of the complete method: the order of the steps, their state, plans and cost estimates.

``method.run_steps`` reads as the paper's method section does; ``run`` calls it in a run folder,
``dry_run`` says what that would do, and ``status`` says what has been done. Importing this package
needs no torch: steps are imported when they run.
"""
