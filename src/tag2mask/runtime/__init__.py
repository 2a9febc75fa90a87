"""Devices, processes, threads, precision and progress: where and how the steps compute.

``session`` is the only module that imports Lightning Fabric; ``ranks``, ``threads``, ``progress``
and ``durations`` need no torch.
"""
