"""Errors about receipts: leaves of the tree in `push/errors.py`."""

from __future__ import annotations

from target_sprinto.push.errors import SprintoError


class ReceiptNotWritten(SprintoError, code="receipt-not-written"):
    """The run's receipt, its HTML report or a key for it cannot be written."""


class ReceiptUnusable(SprintoError, code="receipt"):
    """A receipt that is damaged, or not the one that is needed."""


class ReceiptFromNewerVersion(SprintoError, code="receipt-format"):
    """A receipt whose format this version does not read."""


class ReceiptKeyUnusable(SprintoError, code="receipt-key"):
    """A key that cannot sign receipts, or check their signatures."""


class ReceiptUnsigned(SprintoError, code="receipt-unsigned"):
    """A receipt that has no envelope, although its signature is to be checked."""


class SignatureInvalid(SprintoError, code="receipt-signature"):
    """An envelope that is invalid, or not signed by the key."""


class EnvelopeOfAnother(SprintoError, code="receipt-envelope"):
    """An envelope that is signed by the key, but belongs to another receipt."""


class ReceiptForged(SprintoError, code="receipt-forged"):
    """A receipt that was changed after it was signed."""


class TimesForged(ReceiptForged, code="receipt-times"):
    """A receipt whose times differ from the signed ones, or contradict each other."""


class CountsForged(ReceiptForged, code="receipt-counts"):
    """A receipt whose counts differ from the signed ones, or do not add up."""


class OutcomeForged(ReceiptForged, code="receipt-outcome"):
    """A receipt whose outcome or exit code differs from the signed one, or contradicts the rest."""


class ChainBroken(SprintoError, code="receipt-chain"):
    """Receipts in a folder that were changed, or do not form a complete chain."""


class EvidenceMissing(SprintoError, code="evidence-missing"):
    """`sprintoctl history`: an entity type was not applied for too long."""


class ReceiptDiffers(SprintoError, code="receipt-differs"):
    """An input that does not produce the pages that the receipt lists."""
