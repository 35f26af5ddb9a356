"""Evaluations, one file each. Importing this package loads no torch."""
