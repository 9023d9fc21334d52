"""Every command line is either understood or refused in one helpful line."""

import os
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from instrec_live.models.errors import UsageError
from instrec_live.models.instruments import INSTRUMENTS
from instrec_live.realtime.config.settings import Settings, parse, parser


def test_defaults() -> None:
    plain = parse([])
    assert (plain.hop, plain.pace, plain.engine, plain.gate, plain.models) == (0.5, "realtime", "auto", -60.0, None)
    assert (plain.weights, plain.smoothing) == (None, 1.0)
    assert plain.file is plain.device is plain.thresholds is None


def test_weights_and_smoothing() -> None:
    asked = parse(["--models", "a,b", "--weights", "2, 0.5", "--smoothing", "0"])
    assert (asked.weights, asked.smoothing) == ((2.0, 0.5), 0.0)
    assert parse(["--weights", "0,0,1"]).weights == (0.0, 0.0, 1.0)


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--hpo", "1"], "did you mean --hop?"),
        (["--hop", "0"], "must be a number from 0.1 to 60, not '0'"),
        (["--hop", "nan"], "not 'nan'"),
        (["--hop"], "expected one argument"),
        (["--threads", "1.5"], "whole number"),
        (["--threads", "٣"], "whole number"),
        (["--pace", "fast"], "invalid choice"),
        (["--file", "a.wav", "--device", "0"], "not allowed with"),
        (["--pace", "max"], "cannot run faster than real time"),
        (["--rate", "48000"], "--stdin"),
        (["--file", "a.wav", "--channels", "2"], "a file has its own"),
        (["--start", "3"], "needs a file"),
        (["--models", "passt,,x"], "has an empty name"),
        (["--weights", "1,2"], "2 weights for 3 models"),
        (["--models", "a", "--weights", "1,2"], "2 weights for 1 model"),
        (["--weights", "1,,2"], "'1,,2' is not a list of numbers"),
        (["--weights", "1,-2,1"], "--weights: a weight must be a finite number of at least 0, not -2"),
        (["--weights", "1,nan,1"], "not nan"),
        (["--weights", "1,inf,1"], "not inf"),
        (["--weights", "0,0,0"], "all weights are 0"),
        (["--smoothing", "10.5"], "must be a number from 0 to 10, not '10.5'"),
        (["--smoothing", "-1"], "must be a number from 0 to 10"),
        (["--output", "a.xlsx"], ".jsonl, .csv, .txt"),
        (["--record", "a.mp3"], ".wav"),
        (["-o", "a.csv", "-o", "./a.csv"], "same name"),
        (["--file", "a.wav", "--record", "a.wav", "--force"], "at the same time"),
        (["--thresholds", "nowhere.json"], "No such file"),
        (["--file", ""], "-f/--file: must not be empty"),
        (["--output", ""], "-o/--output: must not be empty"),
        (["stray"], "is not an option"),
        (["serve"], "did you mean --serve"),
        (["--serve", "8123"], "did you mean --serve --port 8123?"),
        (["--serve", "0.0.0.0:8123"], "did you mean --serve --host 0.0.0.0 --port 8123?"),
        (["8123", "--serve"], "is not an option"),
        (["-v", "-q"], "not allowed with"),
    ],
)
def test_mistakes_are_reported_in_one_line(argv: list[str], words: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse(argv)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_lone_file_name_is_understood_as_a_mistake(tmp_path: Path) -> None:
    (tmp_path / "a.wav").touch()
    with pytest.raises(UsageError, match="did you mean --file"):
        parse([str(tmp_path / "a.wav")])


def test_another_name_of_the_input_is_not_written(tmp_path: Path) -> None:
    for name in ("a.wav", "run.jsonl"):
        (tmp_path / name).write_bytes(b"x")
        os.link(tmp_path / name, tmp_path / f"again-{name}")
    for file, output in (("a.wav", "--record"), ("run.jsonl", "-o")):
        with pytest.raises(UsageError, match="cannot be read and written at the same time"):
            parse(["--file", str(tmp_path / file), output, str(tmp_path / f"again-{file}"), "--force"])
    with pytest.raises(UsageError, match="same name"):
        parse(["-o", str(tmp_path / "run.jsonl"), "-o", str(tmp_path / "again-run.jsonl"), "--force"])


def test_thresholds_from_files(tmp_path: Path) -> None:
    (tmp_path / "t.json").write_text('{"Mallet Percussion": 0.25}')
    (tmp_path / "t.toml").write_text("piano = 0.75\n")
    assert parse(["--thresholds", str(tmp_path / "t.json")]).thresholds == {"mallet_percussion": 0.25}
    both = parse(["--threshold", "0.4", "--thresholds", str(tmp_path / "t.toml")]).thresholds
    assert both == {**dict.fromkeys(INSTRUMENTS, 0.4), "piano": 0.75}


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("t.json", '{"pinao": 0.5}', "did you mean piano?"),
        ("t.json", '{"piano": 1.5}', "between 0 and 1"),
        ("t.json", '{"piano": true}', "between 0 and 1"),
        ("t.json", '{"piano": NaN}', "between 0 and 1"),
        ("t.json", '{"piano": 0.5, "piano": 0.6}', "'piano' is given twice"),
        ("t.json", "[1]", "names and values"),
        ("t.json", "{", "not valid JSON"),
        ("t.toml", "piano", "not valid TOML"),
        ("t.json", "\udcff", "not valid JSON"),
    ],
)
def test_bad_threshold_files(tmp_path: Path, name: str, text: str, words: str) -> None:
    (tmp_path / name).write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(UsageError) as caught:
        parse(["--thresholds", str(tmp_path / name)])
    assert words in str(caught.value)


@settings(max_examples=200, deadline=None)
@given(
    argv=st.lists(
        st.one_of(
            st.sampled_from(
                [n for a in parser()._actions for n in a.option_strings if n not in ("-h", "--help", "--version")]
            ),
            st.text(max_size=8),
            st.floats().map(str),
        ),
        max_size=6,
    )
)
def test_any_command_line_is_understood_or_refused(argv: list[str]) -> None:
    with suppress(UsageError):
        assert isinstance(parse(argv), Settings)
