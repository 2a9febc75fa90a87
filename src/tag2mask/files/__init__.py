"""Files and folders, whoever made them: written atomically, locked, walked and read within limits.

Nothing here knows steps or manifests; those are in ``artifacts``.
"""
