"""Sentences about bytes from outside."""

import errno

import pytest

from src.errors import UserError, printable, reading


def message_of(error: BaseException) -> str:
    with pytest.raises(UserError) as raised:
        with reading("a.h5", "extract again"):
            raise error
    return str(raised.value)


def test_any_failure_of_reading_is_one_sentence():
    assert message_of(ValueError("bad\n  shape")) == "a.h5: damaged (bad shape); extract again"
    assert message_of(KeyError("scores")) == "a.h5: damaged (no scores in it); extract again"
    assert message_of(MemoryError()) == "a.h5: damaged (MemoryError); extract again"
    assert message_of(OSError("truncated")) == "a.h5: damaged (truncated); extract again"
    assert len(message_of(ValueError("x" * 10000))) < 300


def test_what_the_system_refuses_is_no_damage():
    assert message_of(PermissionError(errno.EACCES, "Permission denied")) == "a.h5: Permission denied"
    assert message_of(BlockingIOError(errno.EAGAIN, "locked")) == "a.h5: Resource temporarily unavailable"


def test_a_sentence_passes_as_it_is():
    assert message_of(UserError("b: the fact")) == "b: the fact"


def test_printable():
    assert printable("a\x1b[2Jb\nc é 寺") == "a\\x1b[2Jb\\nc é 寺"
    assert printable("\udce9") == "\\udce9" and printable("\u202egpj") == "\\u202egpj"
