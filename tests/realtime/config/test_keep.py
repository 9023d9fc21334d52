"""Thresholds moved on the screen go into the settings file, and all else in it stays."""

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from instrec_live.models.errors import UsageError
from instrec_live.models.instruments import INSTRUMENTS
from instrec_live.realtime.config.keep import ThresholdKeeper, with_thresholds
from instrec_live.realtime.config.settings import parse

FILE = """# mine
hop = 0.25  # faster

[thresholds]
piano = 0.6  # the old one
"mallet percussion" = 0.4
# a remark
"""


def test_a_file_is_made_where_there_is_none(tmp_path):
    path = tmp_path / "new" / "config.toml"
    ThresholdKeeper(path).write({"piano": 0.55})
    assert path.read_text() == "[thresholds]\npiano = 0.55\n"
    assert parse(["--config", str(path)]).thresholds == {"piano": 0.55}


def test_other_lines_stay_as_they_are(tmp_path):
    path = tmp_path / "config.toml"
    path.write_text(FILE)
    ThresholdKeeper(path).write({"piano": 0.55, "mallet_percussion": 0.5, "voice": 0.45})
    assert (
        path.read_text()
        == FILE.replace("piano = 0.6  # the old one", "piano = 0.55").replace(
            '"mallet percussion" = 0.4', "mallet_percussion = 0.5"
        )
        + "voice = 0.45\n"
    )


@pytest.mark.parametrize(
    "text",
    ['thresholds = "mine.json"\n', "thresholds = { piano = 0.6 }\n", "thresholds.piano = 0.6\n", "hop = = 3\n",
     'x = """\n[thresholds]\n"""\n'],
)  # fmt: skip
def test_a_file_that_holds_them_in_another_way_is_left_alone(tmp_path, text):
    path = tmp_path / "config.toml"
    path.write_text(text)
    with pytest.raises(UsageError, match="not in a table"):
        ThresholdKeeper(path).write({"piano": 0.55})
    assert path.read_text() == text


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match=r"cannot write|settings file"):
        ThresholdKeeper(tmp_path / "file" / "config.toml").write({"piano": 0.55})


thresholds = st.dictionaries(st.sampled_from(INSTRUMENTS), st.integers(1, 19).map(lambda n: n / 20), min_size=1)


@given(thresholds, thresholds, st.booleans())
def test_what_was_written_is_read_back(before, after, followed):
    text = "hop = 0.5\n\n[thresholds]\n" + "".join(f"{name} = {each}\n" for name, each in before.items())
    changed = with_thresholds(text + ("\n[other]\nx = 1\n" if followed else ""), after)
    content = tomllib.loads(changed)
    assert content["thresholds"] == before | after
    assert content["hop"] == 0.5
    assert ("other" in content) == followed
