"""Images: sources, splits, prepared arrays, and files that are never half written."""
