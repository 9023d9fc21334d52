"""Runs a program only up to its command line."""

import argparse
from collections.abc import Callable

import pytest


class ParsedError(Exception):
    """The command line has been parsed without an error."""


def assert_parses(main: Callable[[], object], monkeypatch: pytest.MonkeyPatch) -> None:
    """`main` parses its command line (sys.argv) without an error; nothing after that is run."""
    parse = argparse.ArgumentParser.parse_args

    def parse_and_stop(self, args=None, namespace=None):  # type: ignore[no-untyped-def]
        parse(self, args, namespace)
        raise ParsedError

    with monkeypatch.context() as patch:
        patch.setattr(argparse.ArgumentParser, "parse_args", parse_and_stop)
        with pytest.raises(ParsedError):
            main()
