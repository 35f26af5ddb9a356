"""Tags: taggers, the pool, normalisation, embedding."""
