"""Benchmarks of astrokeras, for asv: ``cd benchmarks && asv run --python=same --quick``."""
