"""Exposures: stages on tables whose rows are images."""
