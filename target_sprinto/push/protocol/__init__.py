"""Bytes and numbers in, decisions out: no I/O, no clock, no threads."""
