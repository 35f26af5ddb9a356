"""Engines: what answers the requests of a stage."""
