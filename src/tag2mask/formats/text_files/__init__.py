"""Text, JSON and XML files that are read with limits, or item by item."""
