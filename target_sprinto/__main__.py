"""The command `target-sprinto`, also as `python -m target_sprinto`."""

import gc

from target_sprinto.signals import process_signals


def main() -> None:
    """Run the target. A signal ends it with one line and the exit code of the contract, from here to the end.

    The handlers stay in place: a signal that comes once all is done must not change how it ended.
    """
    process_signals.install()
    # Nothing that the imports make is ever garbage: looking for some takes a sixth of their time.
    gc.disable()
    from target_sprinto.target import SprintoTarget  # noqa: PLC0415 - takes long: a signal may come meanwhile

    gc.freeze()
    gc.enable()
    SprintoTarget.cli()


if __name__ == "__main__":
    main()
