"""What goes wrong with receipts: leaves of the tree in `push/errors.py`."""

from __future__ import annotations

from target_sprinto.push.errors import SprintoError


class ReceiptNotWritten(SprintoError, code="receipt-not-written"):
    """The run's receipt cannot be kept."""


class ReceiptUnusable(SprintoError, code="receipt"):
    """A receipt that is not whole, or not the one that is asked for."""


class ReceiptFromNewerVersion(SprintoError, code="receipt-format"):
    """A receipt whose format this version does not read."""


class ReceiptKeyUnusable(SprintoError, code="receipt-key"):
    """A key that cannot sign receipts, or check their signatures."""


class ReceiptUnsigned(SprintoError, code="receipt-unsigned"):
    """A receipt without an envelope, although its signature is to be checked."""


class SignatureInvalid(SprintoError, code="receipt-signature"):
    """An envelope that is not signed by the key, or that is not one."""


class EnvelopeOfAnother(SprintoError, code="receipt-envelope"):
    """An envelope that is signed by the key and is about another receipt."""


class ReceiptForged(SprintoError, code="receipt-forged"):
    """A receipt that was changed after it was signed."""


class TimesForged(ReceiptForged, code="receipt-times"):
    """A receipt whose times are not those that were signed, or that contradict each other."""


class CountsForged(ReceiptForged, code="receipt-counts"):
    """A receipt whose counts are not those that were signed, or that do not add up."""


class OutcomeForged(ReceiptForged, code="receipt-outcome"):
    """A receipt whose outcome or exit code is not the one that was signed, or that contradict each other."""


class ChainBroken(SprintoError, code="receipt-chain"):
    """Receipts in a folder that are not as their runs wrote them, or do not follow each other."""


class EvidenceMissing(SprintoError, code="evidence-missing"):
    """`sprintoctl history`: something was not applied for too long."""


class ReceiptDiffers(SprintoError, code="receipt-differs"):
    """An input that does not produce the pages that the receipt lists."""
