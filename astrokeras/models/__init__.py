"""Saved models: the card, the safe loader, the border between a chunk and a graph, and the predictor."""
