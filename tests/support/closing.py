"""Something that happens while the response to the close is outstanding: everything is applied by then."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.support.front_door import end_of_input
from tests.support.sandbox import Fault, Hang

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.front_door import Finished, FrontDoor


def run_with(
    door: FrontDoor,
    messages: list[Any],
    during: Callable[[], object],
    **settings: Any,  # noqa: ANN401 - settings
) -> Finished:
    """Run on `messages`, and call `during` while the close hangs."""
    hang = Fault("close", integration_id=door.integration_id, effect=Hang(), moment="after")
    door.sandbox.inject(hang)
    process = door.fed(messages, **settings)
    end_of_input(process)
    door.wait_for_operation("close")
    during()
    door.sandbox.release(hang)
    return door.finish(process, None)
