"""Networks, their weights and their losses: torch modules and pure functions on plain values.

Nothing here knows recipes, files of photos or run folders; any part works in a user's own code.
"""
