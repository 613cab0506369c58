"""What others wrote cannot command the terminal."""

import io

import pytest
from rich.table import Table
from rich.text import Text

from vlmalign.cli.console import SafeConsole

COMMANDS = ("\x1b]0;renamed\x07", "\x1b[2K", "\x9b31m", "\x1b]52;c;Y3VybA==\x07", "\u202eevil", "\x00", "\x7f")


def printed(what, **options):
    file = io.StringIO()
    SafeConsole(file=file, force_terminal=True, color_system=None, width=200).print(what, **options)
    return file.getvalue()


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("form", ["text", "styled", "cell", "title"])
def test_a_text_that_commands_the_terminal_is_shown_as_escapes(command, form):
    table = Table("answer", title=command if form == "title" else None)
    table.add_row(command)
    what = {"text": command, "styled": Text(command, style="bold"), "cell": table, "title": table}[form]
    out = printed(what, markup=False)
    assert not set(out) & set("\x1b\x9b\u202e\x00\x7f\x07")
    assert command[0].encode("unicode_escape").decode() in out


def test_colours_of_our_own_and_every_script_are_let_through():
    file = io.StringIO()
    SafeConsole(file=file, force_terminal=True, color_system="standard").print("[red]Erguß[/]\tתקין\n正常")
    assert file.getvalue() == "\x1b[31mErguß\x1b[0m   תקין\n正常\n"


def test_a_file_name_in_an_error_commands_nothing(vlmalign, tmp_path):
    result = vlmalign("data", "validate", tmp_path / "a\x1b[2Jb")
    assert result.code == 1 and "a\\x1b[2Jb: no such folder" in result.err and "\x1b" not in result.err
