"""Layout ``folders``: one folder of photos per class."""
