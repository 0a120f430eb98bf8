"""What errors of other libraries mean."""

from __future__ import annotations

import errno
import re

_FULL_DISK = re.compile(
    r"No space left|Disk quota exceeded|\d+ requested and \d+ written|disk is full|PytorchStreamWriter failed|"
    r"inline_container.*unexpected pos|write to .* failed",
    re.IGNORECASE,
)


def is_full_disk(error: BaseException) -> bool:
    """Whether an error says that a disk is full, in the words of one of the libraries that write files."""
    numbers = (errno.ENOSPC, errno.EDQUOT)
    return (isinstance(error, OSError) and error.errno in numbers) or _FULL_DISK.search(str(error)) is not None
