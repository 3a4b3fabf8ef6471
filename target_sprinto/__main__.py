"""Both commands: `target-sprinto`, also as `python -m target_sprinto`, and `sprintoctl`."""

import gc
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from target_sprinto import process


def main() -> None:
    """Run the target. A signal ends it with one line and the documented exit code."""
    process.run(_run_target)


def sprintoctl() -> None:
    """Run `sprintoctl`. A signal ends it with one line, even during its imports."""
    process.run(_run_sprintoctl)


@contextmanager
def _imports() -> Iterator[None]:
    # A package of another version may lack a name, or take other arguments.
    try:
        yield
    except (AttributeError, TypeError) as broken:
        raise ImportError(broken) from broken


def _run_sprintoctl() -> None:
    with _imports():
        from target_sprinto.cli.app import main as command  # noqa: PLC0415 - slow to import

    command()


def _run_target() -> None:
    # The imports produce no garbage, and looking for it takes a sixth of their time.
    gc.disable()
    # These are slow, and a signal may arrive meanwhile.
    with _imports():
        from target_sprinto.errors import SettingsError  # noqa: PLC0415
        from target_sprinto.push.text import shown  # noqa: PLC0415
        from target_sprinto.singer.settings import settings_checks  # noqa: PLC0415
        from target_sprinto.singer.target import SprintoTarget  # noqa: PLC0415

    gc.freeze()
    gc.enable()

    if not os.environ.get("SINGER_SDK_LOG_CONFIG"):
        # Empty means unset: the SDK would open the working folder, and fail without a message.
        os.environ.pop("SINGER_SDK_LOG_CONFIG", None)
    try:
        settings_checks.require_log_level()
        # This sets up the log.
        command = SprintoTarget.cli
    except SettingsError as problem:
        sys.exit(str(problem))
    except Exception as failure:
        if "SINGER_SDK_LOG_CONFIG" not in os.environ or isinstance(failure, ImportError):
            raise
        # logging's own error names only the handler.
        cause = shown(" ".join(str(failure.__cause__ or failure).split()))
        unusable = f"the file that SINGER_SDK_LOG_CONFIG names cannot be used ({cause})"
        hint = (
            "Correct it: it must be a `version: 1` configuration of Python's logging, in YAML. Or unset the"
            " variable."
        )
        sys.exit(str(SettingsError(unusable, hint=hint)))
    command()


if __name__ == "__main__":
    main()
