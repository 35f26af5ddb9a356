"""Final answers of mathematical responses: which one is meant, and whether two are the same."""
