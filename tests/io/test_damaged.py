"""Tests truncated files; tests/benchmarks/test_fuzz.py tests damaged ones."""

import pytest

from portrait.errors import UserError
from portrait.io.video_reader import open_video


@pytest.mark.parametrize("head", [b"\x1aE\xdf\xa3", b"OggS", b"\0\0\0\x18ftypisom", b"RIFF", b""])
def test_nothing_but_a_head(tmp_path, head):
    """For these, FFmpeg reports the end of the file."""
    (tmp_path / "a.mkv").write_bytes(head)
    with pytest.raises(UserError, match=r"a\.mkv"):
        open_video(tmp_path / "a.mkv")
