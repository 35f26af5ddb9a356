"""TACOS and its parts: clusters, comparisons, selection."""
