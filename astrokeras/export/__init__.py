"""Products: files that come out of a pipeline."""
