"""What steps that process photos one by one share: outputs, CRF masks, empty results, watching."""
