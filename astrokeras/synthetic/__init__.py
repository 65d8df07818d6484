"""Synthetic sky: spectral energy distributions, populations and catalogs with known truth."""
