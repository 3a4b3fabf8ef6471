"""Sockets, total timeouts, background calls."""
