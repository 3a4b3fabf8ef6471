"""`python -m target_sprinto`: the same as the command `target-sprinto`."""

from target_sprinto.target import SprintoTarget

if __name__ == "__main__":
    SprintoTarget.cli()
