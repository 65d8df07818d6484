"""Features: columns computed from photometry and stamps."""
