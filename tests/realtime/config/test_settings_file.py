"""The settings file: every option of the command line, checked as there, and overruled by what is typed."""

import argparse
import os
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from fakes import music
from hypothesis import given, settings
from hypothesis import strategies as st

from instrec_live.models.errors import UsageError
from instrec_live.realtime.config.file import asked, default_path, keys, written
from instrec_live.realtime.config.settings import parse, parser

RUN = [sys.executable, "-m", "instrec_live.realtime"]
GRAMMAR = parser()


@pytest.fixture
def config(tmp_path: Path) -> Iterator[Path]:
    """The settings file that is found by itself."""
    with pytest.MonkeyPatch.context() as environment:
        for name in ("XDG_CONFIG_HOME", "LOCALAPPDATA", "HOME"):
            environment.setenv(name, str(tmp_path))
        path = default_path()
        path.parent.mkdir(parents=True)
        yield path


def test_a_file_is_found_and_the_command_line_overrides_it(config: Path) -> None:
    assert parse([]).hop == 0.5
    config.write_text(
        'hop = 0.25\nmodels = ["passt", "cbam_cnn"]\nweights = [2, 1]\nno-ui = true\n[thresholds]\npiano = 0.6\n'
    )
    found = parse([])
    assert (found.hop, found.models, found.weights, found.no_ui) == (0.25, ("passt", "cbam_cnn"), (2.0, 1.0), True)
    assert found.thresholds == {"piano": 0.6}
    assert parse(["--hop", "1"]).hop == 1.0
    assert parse(["--hop", "0.5"]).hop == 0.5  # the default, but typed
    assert parse(["--no-config"]).hop == 0.5
    assert "piano" in (parse(["--threshold", "0.3"]).thresholds or {})
    assert (parse(["--threshold", "0.3"]).thresholds or {})["piano"] == 0.3


def test_another_file_by_name(config: Path, tmp_path: Path) -> None:
    config.write_text("hop = 0.25\n")
    other = tmp_path / "stage.toml"
    other.write_bytes(b"\xef\xbb\xbfgate = -40\r\n")  # as Windows' editor writes it
    found = parse(["--config", str(other)])
    assert (found.hop, found.gate) == (0.5, -40.0)
    with pytest.raises(UsageError, match=r"nowhere\.toml: No such file"):
        parse(["--config", "nowhere.toml"])
    with pytest.raises(UsageError, match="not allowed with"):
        parse(["--config", str(other), "--no-config"])


def test_a_typed_source_replaces_the_one_in_the_file(config: Path) -> None:
    config.write_text('file = "a.wav"\nstart = 3\npace = "max"\n')
    assert (parse([]).file, parse([]).start) == (Path("a.wav"), 3.0)
    microphone = parse(["--device", "2"])
    assert (microphone.file, microphone.device, microphone.start, microphone.pace) == (None, "2", 0.0, "realtime")
    demo = parse(["--demo"])
    assert (demo.file, demo.demo, demo.pace) == (None, True, "max")
    config.write_text("rate = 48000\nchannels = 4\nverbose = 2\ndevice = 3\n")
    assert (parse([]).device, parse([]).channels, parse([]).verbosity) == ("3", 4, 2)
    assert (parse(["-q"]).verbosity, parse(["-v"]).verbosity) == (-1, 1)
    assert parse(["--stdin"]).rate == 48_000
    assert parse(["--file", "b.wav"]).rate is None
    with pytest.raises(UsageError, match="describes raw sound"):
        parse(["--format", "s16le"])  # typed, so a mistake


def test_a_typed_pace_replaces_playing_in_the_file_and_the_reverse(config: Path) -> None:
    config.write_text("play = true\nspeed = 1.5\n")
    offline = parse(["--demo", "--pace", "max"])
    assert (offline.pace, offline.play, offline.speed) == ("max", False, 1.0)
    config.write_text('pace = "max"\n')
    for typed in (["--play"], ["--speed", "2"]):
        assert parse(["--demo", *typed]).pace == "realtime"
    assert parse(["--demo", "--speed", "1"]).pace == "max"
    with pytest.raises(UsageError, match="exclude each other"):
        parse(["--demo", "--pace", "max", "--play"])  # typed both, so a mistake


def test_typed_outputs_replace_those_in_the_file(config: Path) -> None:
    config.write_text('output = ["a.csv", "b.txt"]\nrecord = "~/take.wav"\n')
    assert parse([]).outputs == (Path("a.csv"), Path("b.txt"))
    assert parse(["-o", "c.csv", "-o", "d.txt"]).outputs == (Path("c.csv"), Path("d.txt"))
    assert parse([]).record == Path.home() / "take.wav"


BAD = [
    ("hpo = 1", "there is no setting 'hpo' — did you mean hop?"),
    ("qqq = 1", "--print-config shows all"),
    ("hop = 0", "hop: must be a number from 0.1 to 60, not '0'"),
    ("hop = true", "hop must be a text or a number, not true or false"),
    ("hop = [1]", "not a list"),
    ("hop = nan", "not 'nan'"),
    ("hop = 07:30:00", "not a date or time"),
    ("threads = 1.5", "whole number"),
    ('pace = "fast"', "pace: invalid choice"),
    ('strict = "yes"', "strict must be true or false, not a text"),
    ("verbose = true", "verbose must be a whole number"),
    ("file = 3", "file must be a file's name in quotes, not a number"),
    ('file = "a\\u0000b"', "NUL"),
    ('models = ["a,b"]', "models: a name in the list has a comma"),
    ("models = {a = 1}", "models must be a list, not a table"),
    ("help = true", "type --help"),
    ("doctor = true", "type --doctor"),
    ('config = "x"', "type --config"),
    ('file = "a"\ndevice = "b"', "device and file exclude each other"),
    ("no-ui = true\nno_ui = true", "given twice"),
    ("verbose = -1", "verbose must be a whole number from 0 to 9, not -1"),
    ('only = "flute"\nnot = "piano"', "only and not exclude each other"),
    ("[thresholds]\npinao = 0.5", "there is no instrument 'pinao' — did you mean piano?"),
    ("[thresholds]\npiano = 5", "between 0 and 1"),
    ("[thresholds]\npiano = 0.5\nPiano = 0.6", "piano has two thresholds"),
    ("weights = [1, 2]", "some settings come from"),
    ('output = "a.xlsx"', "the suffix gives"),
    ("hop = 1\nhop = 2", "not valid TOML"),
    ("hop", "not valid TOML"),
    ("a = " + "[" * 5000, "not valid TOML"),
]


@pytest.mark.parametrize(("text", "words"), BAD, ids=[text[:30] for text, _ in BAD])
def test_mistakes_in_it_are_one_line_that_names_the_file(config: Path, text: str, words: str) -> None:
    config.write_text(text)
    with pytest.raises(UsageError) as caught:
        parse([])
    assert words in str(caught.value)
    assert str(config) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_cannot_be_read_is_one_line_and_code_2(config: Path, tmp_path: Path) -> None:
    (tmp_path / "huge.toml").write_bytes(b"#" * 2_000_000)
    (tmp_path / "latin.toml").write_bytes("theme = 'größer'".encode("latin-1"))
    config.mkdir()
    cases = [
        ([], "Is a directory"),
        (["--config", "huge.toml"], "1 MB"),
        (["--config", "latin.toml"], "not text in UTF-8"),
    ]
    if os.path.exists("/dev/zero"):
        cases.append((["--config", "/dev/zero"], "not a regular file"))
    if os.geteuid() != 0:
        (tmp_path / "mine.toml").touch(0o000)
        cases.append((["--config", "mine.toml"], "Permission denied"))
    for argv, words in cases:
        done = subprocess.run([*RUN, *argv], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
        assert (done.returncode, done.stdout) == (2, ""), done
        assert len(done.stderr.splitlines()) == 1
        assert words in done.stderr


def test_help_does_not_look_at_it(config: Path) -> None:
    config.write_text("broken")
    done = subprocess.run([*RUN, "--help"], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "--print-config" in done.stdout


def test_a_run_obeys_it(config: Path, tmp_path: Path) -> None:
    import soundfile
    from tiny_bundle import write_tiny

    write_tiny(tmp_path / "one", "one")
    soundfile.write(tmp_path / "good.wav", music(3), 32_000)
    config.write_text('file = "good.wav"\nmodels = "./one"\npace = "max"\nno_ui = true\noutput = "out.csv"\nhop = 1\n')
    done = subprocess.run(RUN, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert "every 1 s with one" in done.stderr
    assert len((tmp_path / "out.csv").read_text().splitlines()) == 1 + 3 * 20


def example(action: argparse.Action) -> list[str]:
    """What one may type for an option."""
    name = action.option_strings[-1]
    if action.nargs == 0:
        return [name]
    if action.choices:
        return [f"{name}={next(iter(action.choices))}"]
    for text in ("2", "0.5", "-30", "2000", "127.0.0.1:9000", "a b.wav"):
        try:
            if action.type is None or callable(action.type):
                action.type(text) if callable(action.type) else text
                return [f"{name}={text}"]
        except (argparse.ArgumentTypeError, ValueError):
            continue
    raise AssertionError(f"no example for {name}")


@pytest.mark.parametrize("key", keys(GRAMMAR))
def test_every_option_can_be_printed_and_read_back(key: str, tmp_path: Path) -> None:
    argv = ["--no-config", *example(keys(GRAMMAR)[key])]
    dest = keys(GRAMMAR)[key].dest
    (tmp_path / "c.toml").write_text("\n".join(written(argv, parser())), encoding="utf-8")
    # Some count only for some sounds, in the browser, or for a server.
    reads = [
        asked(["--config", str(tmp_path / "c.toml"), *more], parser())
        for more in ([], ["--demo"], ["--stdin"], ["--serve"], ["--engine", "triton"])
    ]
    read = next(read for read in reads if dest in read.given - read.typed)
    assert getattr(read.values, dest) == getattr(asked(argv, parser()).values, dest)


def test_every_option_is_a_setting_or_is_refused_with_a_reason(tmp_path: Path) -> None:
    for action in GRAMMAR._actions:
        key = action.option_strings[-1].removeprefix("--").replace("-", "_")
        if key not in keys(GRAMMAR):
            (tmp_path / "c.toml").write_text(f"{key} = true")
            with pytest.raises(UsageError, match="is a command-line action"):
                parse(["--config", str(tmp_path / "c.toml")])


def test_what_is_printed_is_toml_with_all_defaults_commented_out() -> None:
    lines = written(["--no-config"], parser())
    assert tomllib.loads("\n".join(lines)) == {}
    uncommented = [line[1:] for line in lines if line.startswith("#") and not line.startswith(("# ", "##"))]
    offered = tomllib.loads("\n".join(uncommented))
    assert list(offered) == list(keys(GRAMMAR))
    assert (offered["hop"], offered["pace"], offered["strict"], offered["verbose"]) == (0.5, "realtime", False, 0)


NAMES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=12)
PATHS = NAMES.map(lambda name: Path(name.replace("/", "_")))


def option(name: str, values: st.SearchStrategy[object]) -> st.SearchStrategy[list[str]]:
    return st.one_of(st.just([]), values.map(lambda value: [f"--{name}={value}"]))


THREE = {"min_size": 3, "max_size": 3}
COMMAND_LINES = st.tuples(
    st.one_of(
        st.just([]),
        st.just(["--demo"]),
        NAMES.map(lambda name: [f"--device={name}"]),
        PATHS.map(lambda path: [f"--file={path}", "--start=1.5"]),
        st.just(["--stdin", "--rate=8000", "--channels=3", "--format=f32le"]),
    ),
    option("hop", st.floats(0.1, 60)),
    option("gate", st.floats(-120, 0)),
    option("threads", st.integers(1, 256)),
    option("threshold", st.floats(0.001, 0.999)),
    option("models", st.lists(NAMES.filter(lambda name: "," not in name and name.strip()), **THREE).map(",".join)),
    option("weights", st.lists(st.integers(1, 9) | st.floats(0.01, 9), **THREE).map(lambda w: ",".join(map(str, w)))),
    option("theme", NAMES),
    option("record", PATHS.map(lambda path: f"{path}.wav")),
    option("output", PATHS.map(lambda path: f"{path}.csv")),
    option("output", PATHS.map(lambda path: f"{path}.txt")),
    st.sampled_from([[], ["-v"], ["-vv"], ["-q"]]),
    st.sampled_from([[], ["--strict", "--force", "--json"]]),
).map(lambda parts: [word for part in parts for word in part])


@settings(max_examples=100, deadline=None)
@given(COMMAND_LINES)
def test_what_is_printed_reads_back_to_the_same_settings(
    tmp_path_factory: pytest.TempPathFactory, argv: list[str]
) -> None:
    path = tmp_path_factory.getbasetemp() / "round.toml"
    path.write_bytes("\n".join(written(["--no-config", *argv], parser())).encode())
    assert replace(parse(["--config", str(path)]), config=None) == parse(["--no-config", *argv])
    again = written(["--config", str(path)], parser())
    assert [line for line in again if not line.startswith("# In force")] == written(["--no-config", *argv], parser())


def test_a_table_of_thresholds_is_printed_as_one(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text('threshold = 0.4\n[thresholds]\npiano = 0.6\n"Mallet Percussion" = 0.2\n')
    (tmp_path / "b.toml").write_text("\n".join(written(["--config", str(tmp_path / "a.toml")], parser())))
    one, other = (parse(["--config", str(tmp_path / name)]) for name in ("a.toml", "b.toml"))
    assert one == replace(other, config=one.config)


def test_print_config_is_a_command(config: Path) -> None:
    config.write_text("hop = 0.25\n")
    done = subprocess.run([*RUN, "--print-config", "--theme", "light"], capture_output=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert tomllib.loads(done.stdout.decode()) == {"hop": 0.25, "theme": "light"}
    with pytest.raises(UsageError, match="not Unicode"):
        written(["--file", "\udcff.wav"], parser())


def test_the_example_in_the_docs_is_a_settings_file(tmp_path: Path) -> None:
    page = (Path(__file__).parents[3] / "docs" / "settings.md").read_text(encoding="utf-8")
    (tmp_path / "c.toml").write_text(page.partition("```toml\n")[2].partition("```")[0], encoding="utf-8")
    found = parse(["--config", str(tmp_path / "c.toml")])
    assert (found.device, found.hop, found.models, found.theme) == ("Scarlett", 0.25, ("passt", "cbam_cnn"), "light")
    assert found.thresholds == {"piano": 0.6, "voice": 0.45}
