"""`sprintoctl`: operator commands."""
