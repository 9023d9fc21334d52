"""A page that is out of date is told by --check, and put right without."""

from pathlib import Path

import page
import pytest


def test_a_page_is_looked_at_or_written(tmp_path: Path) -> None:
    file, drawn = tmp_path / "page.md", []
    file.write_text("old", encoding="utf-8")

    def keep(*argv: str) -> int:
        return page.keep(file, lambda text: text.replace("old", "neu: ü"), argv, "", lambda: drawn.append("picture"))

    assert (keep("--check"), file.read_text(encoding="utf-8"), drawn) == (1, "old", [])
    assert (keep(), file.read_text(encoding="utf-8"), drawn) == (0, "neu: ü", ["picture"])
    assert keep("--check") == 0
    with pytest.raises(SystemExit):
        keep("--chekc")
