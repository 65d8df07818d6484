"""Ingest: sources that read survey files."""
