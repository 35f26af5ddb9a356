"""From a curated set to a fine-tuned model: formats, encoding, the record of a training; TRL does the rest.

Importing this package loads neither torch nor transformers; the modules and functions that need them do.
"""
