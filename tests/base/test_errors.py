from multiseg.base.errors import is_full_disk
from multiseg_core.errors import UserError


def test_a_full_disk_in_the_words_of_the_libraries() -> None:
    for error in (
        OSError(28, "No space left on device"),
        OSError("15840 requested and 13280 written"),  # numpy
        RuntimeError("[enforce fail at inline_container.cc:664] . unexpected pos 128 vs 22"),  # torch
        UserError("scenario.ipynb: cell 3 failed: OSError: [Errno 28] No space left on device"),
    ):
        assert is_full_disk(error)
    assert not is_full_disk(OSError(13, "Permission denied")) and not is_full_disk(ValueError("no space"))
