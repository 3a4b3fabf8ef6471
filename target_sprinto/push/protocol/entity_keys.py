"""Entity keys by value: two keys are equal exactly if their JSON values are. Pure.

In Python `True` equals 1, lists cannot be hashed, and a decimal and a float that are sent as the same bytes
may not be equal.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import MAX_EMAX, MAX_PREC, MIN_EMIN, Context, Decimal
from hashlib import blake2b

_EXACT = Context(prec=MAX_PREC, Emin=MIN_EMIN, Emax=MAX_EMAX)
_LARGEST_INT = 10**40
_LONG = 100
"""Characters."""


def entity_key(values: Sequence[object]) -> tuple[object, ...] | None:
    """The key with these JSON values; None if all of them are null, which identifies nothing."""
    if not [value for value in values if value is not None]:
        return None
    return tuple(
        [
            value if type(value) is str and len(value) <= _LONG else in_few_bytes(comparable(value))
            for value in values
        ]
    )


def comparable(value: object) -> object:
    """A hashable value that is the same, including its `repr`, for equal JSON values."""
    if type(value) is int and -_LARGEST_INT < value < _LARGEST_INT:
        return value
    if isinstance(value, bool) or value is None:
        return (bool, value)
    if isinstance(value, float):
        value = Decimal(repr(value))
    if isinstance(value, int | Decimal):
        return _number(value)
    if isinstance(value, Mapping):
        names = sorted(value)
        # One tuple for each level, as for a list: it may be nested as deeply as can be decoded.
        return (dict, *names, *map(comparable, map(value.__getitem__, names)))
    if isinstance(value, list | tuple):
        return (list, *map(comparable, value))
    return value


def in_few_bytes(form: object) -> object:
    """A key or a part of one, or its digest if it is long: keys are in memory until their page is accepted.

    A list of numbers takes many times the memory of its JSON.
    """
    text = repr(form)
    if len(text) > _LONG:
        return blake2b(text.encode(errors="surrogatepass"), digest_size=16).digest()
    return form


def _number(value: int | Decimal) -> int | Decimal:
    """A number in one form only: an int, or a normalized Decimal if it has a fraction or is large."""
    exact = Decimal(value).normalize(_EXACT)
    is_int = exact.adjusted() < len(str(_LARGEST_INT)) - 1 and exact == exact.to_integral_value()
    return int(exact) if is_int else exact
