"""What the steps that process photos one by one share: outputs, empty results, watched folders."""
