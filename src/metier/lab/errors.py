"""What can go wrong while a lab is built, run or taken down."""

from metier.domain.errors import MetierError


class LabError(MetierError):
    """The lab cannot do what was asked on this machine; the message says what was tried and why not."""

    code = "lab-failed"
