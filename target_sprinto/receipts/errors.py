"""What goes wrong with receipts: leaves of the tree in `push/errors.py`.

SprintoError
├── ReceiptNotWritten              `report_path` cannot be written to
├── ReceiptUnusable                a receipt that is not whole, or not the one that is asked for
├── ReceiptFromNewerVersion        a receipt whose format this version does not read
├── ReceiptKeyUnusable             a key that cannot sign receipts, or check their signatures
├── ReceiptUnsigned                a receipt without an envelope
├── SignatureInvalid               an envelope that is not signed by the key
├── EnvelopeOfAnother              an envelope of another receipt
├── ReceiptForged                  a receipt that was changed after it was signed
│   ├── TimesForged                its times are not those that were signed, or contradict each other
│   ├── CountsForged               its counts are not those that were signed, or do not add up
│   └── OutcomeForged              its outcome or exit code is not the signed one, or they contradict
├── ChainBroken                    receipts that are missing, or do not follow each other
├── EvidenceMissing                something was not applied for too long
└── ReceiptDiffers                 an input that does not make what a receipt says
"""

from __future__ import annotations

from target_sprinto.push.errors import SprintoError
from target_sprinto.push.text import pluralize


class ReceiptNotWritten(SprintoError):
    """The run's receipt cannot be kept."""

    code = "receipt-not-written"


class ReceiptUnusable(SprintoError):
    """A receipt that is not whole, or not the one that is asked for."""

    code = "receipt"


class ReceiptFromNewerVersion(SprintoError):
    """A receipt whose format this version does not read."""

    code = "receipt-format"


class ReceiptKeyUnusable(SprintoError):
    """A key that cannot sign receipts, or check their signatures."""

    code = "receipt-key"


class ReceiptUnsigned(SprintoError):
    """A receipt that has no envelope beside it, where its signature is to be checked."""

    code = "receipt-unsigned"


class SignatureInvalid(SprintoError):
    """An envelope that is not signed by the key, or that is not one."""

    code = "receipt-signature"


class EnvelopeOfAnother(SprintoError):
    """An envelope that is signed by the key and is about another receipt."""

    code = "receipt-envelope"


class ReceiptForged(SprintoError):
    """A receipt that was changed after it was signed."""

    code = "receipt-forged"


class TimesForged(ReceiptForged):
    """A receipt whose times are not those that were signed, or that contradict each other."""

    code = "receipt-times"


class CountsForged(ReceiptForged):
    """A receipt whose counts are not those that were signed, or that do not add up."""

    code = "receipt-counts"


class OutcomeForged(ReceiptForged):
    """A receipt whose outcome or exit code is not the one that was signed, or that contradict each other."""

    code = "receipt-outcome"


class ChainBroken(SprintoError):
    """Receipts in a folder that are not as their runs wrote them, or do not follow each other."""

    code = "receipt-chain"


class EvidenceMissing(SprintoError):
    """`sprintoctl history`: something was not applied for too long."""

    code = "evidence-missing"

    def __init__(self, count: int) -> None:
        super().__init__(
            f"Evidence is missing: {pluralize(count, 'line')} above.",
            "Look at the pipeline's log; run it again once it works.",
        )


class ReceiptDiffers(SprintoError):
    """An input from which other pages are made than a receipt says."""

    code = "receipt-differs"
