"""The settings: definitions, sources, checks."""
