from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from target_sprinto.singer.rejects.rejected_records import Rejected, RejectedRecords, Source
from target_sprinto.singer.rejects.rejects_file import Original

if TYPE_CHECKING:
    from pathlib import Path


def test_the_file_of_an_unapplied_run_says_so_even_if_its_folder_was_removed(tmp_path: Path) -> None:
    rejects = RejectedRecords(tmp_path / "rejects" / "run.singer", 100)
    source = Source("people", 1, number=1, original=Original(b"{}", b"{}", []))
    rejects.add(Rejected(source, "User", None, "invalid-record"))
    shutil.rmtree(tmp_path / "rejects")
    assert "run.singer.not-applied" in rejects.finish_unapplied()
    assert [path.name for path in (tmp_path / "rejects").iterdir()] == ["run.singer.not-applied"]
