"""Rejected records: their file, and how they are grouped."""
