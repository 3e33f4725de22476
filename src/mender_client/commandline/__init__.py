"""Declares and parses the command lines of the programs."""

from __future__ import annotations

from collections.abc import Sequence

from mender_client import TYPE_CHECKING

from .declaration import Argument, Command, OneOf, Options, Part, Program
from .plain import parse_plain

if TYPE_CHECKING:
    import argparse

__all__ = ["Argument", "Command", "OneOf", "Options", "Part", "Program", "build_parser", "parse"]


def parse(program: Program, words: Sequence[str]) -> Options:
    """Parse the arguments of a program. Prints help and error messages, and then exits."""
    options = parse_plain(program, words)
    return build_parser(program, words).parse_args(words, Options()) if options is None else options


def build_parser(program: Program, words: Sequence[str] | None = None) -> argparse.ArgumentParser:
    """The parser of a program; see ``parser.build_parser``."""
    from .parser import build_parser  # imported only where needed, to save time and memory

    return build_parser(program, words)
