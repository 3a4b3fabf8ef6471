from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from target_sprinto.push.protocol.field_paths import FieldProblem
from target_sprinto.push.protocol.pages import Item, Page
from target_sprinto.singer.rejects.problem_groups import grouped
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


def test_a_removed_file_of_superseded_records_does_not_hide_that_they_were_rejected(tmp_path: Path) -> None:
    rejects = RejectedRecords(tmp_path / "run.singer", 100)
    source = Source("people", 1, number=1, original=Original(b"{}", b"{}", []))
    rejects.add(Rejected(source, "User", (7,), "invalid-record"))
    rejects.accepted(Page(1, (Item("User", b"{}", Source("people", 2, number=2), (7,)),)))
    (tmp_path / "run.singer").unlink()
    assert rejects.finish(held=False) == (
        "1 record rejected (1 User, invalid-record)."
        " 1 of them is superseded: a later record of the same key was accepted."
    )


def test_the_most_frequent_reasons_are_named_and_all_others_counted() -> None:
    rejects = RejectedRecords(None, 100)
    for number, times in enumerate([1, 3, 2, 2, 1]):
        for _ in range(times):
            rejects.add(
                Rejected(Source("people", 1), "User", None, "invalid", FieldProblem(f"field_{number}", None))
            )
    assert rejects.finish(held=False) == (
        "9 records rejected (3 User, field 'field_1', invalid; 2 User, field 'field_2', invalid;"
        " 2 User, field 'field_3', invalid; 2 for other reasons)."
    )


def test_each_problem_of_a_record_has_a_line_of_its_own() -> None:
    problems = FieldProblem("a", "is missing"), FieldProblem("b", "must be string")
    whole = FieldProblem(None, "; ".join(map(str, problems)))
    source = Source("people", 3, "batch file 'x', line 2")
    rejected = Rejected(source, "User", None, "entity-schema", whole, problems=problems)
    place = "stream 'people', input line 3, batch file 'x', line 2, entity type 'User'"
    assert list(map(str, grouped([rejected]))) == [
        f"{place}: field 'a' is missing [entity-schema]",
        f"{place}: field 'b' must be string [entity-schema]",
    ]


def test_a_run_without_rejects_has_nothing_to_report(tmp_path: Path) -> None:
    for path in (None, tmp_path / "run.singer"):
        rejects = RejectedRecords(path, 100)
        assert (rejects.finish(held=False), rejects.finish_unapplied()) == ("", "")
