"""Devices, processes, threads, precision and progress: where and how the steps compute.

``session`` and ``processes`` are the only modules that import Lightning Fabric. ``launcher``,
``peers``, ``ranks``, ``threads``, ``progress`` and ``durations`` need no torch; ``meeting`` imports
it only where several processes are.
"""
