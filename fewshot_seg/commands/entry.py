"""What the project's three commands share: their manner of starting, failing and telling their version."""

from __future__ import annotations

import os
import signal
import sys
import threading
import warnings
from contextlib import suppress
from typing import Any, Final

import typer
from typer.core import TyperGroup

from fewshot_seg.commands.console import complain
from fewshot_seg.errors import FewShotError, OutputError, describe

_NO_MEMORY: Final = ("not enough memory", "can't allocate memory", "out of memory", "Insufficient memory", "bad_alloc")
_LESS: Final = "give fewer or smaller images at a time (a smaller --size, fewer --workers), or another --device"


class OneLineErrors(TyperGroup):
    """Errors as one line on stderr and an exit status: 1 anything of ours, 2 wrong usage, 130 Ctrl-C."""

    def main(self, *args: Any, **options: Any) -> Any:
        """Run the command line and leave with its status."""
        name = str(self.name)
        if threading.current_thread() is threading.main_thread():  # the only one that may
            # A batch system's or `timeout`'s way of saying Ctrl-C: what is finished is to be listed then, too.
            signal.signal(signal.SIGTERM, signal.default_int_handler)
        for stream in (sys.stdout, sys.stderr):
            # A file name that the terminal cannot show must not end the run.
            if hasattr(stream, "reconfigure"):
                stream.reconfigure(errors="backslashreplace")
        try:
            with warnings.catch_warnings():
                if not sys.warnoptions:  # a library's remarks on a damaged file would drown our line about it
                    warnings.simplefilter("ignore")
                status = super().main(*args, **{**options, "prog_name": name, "standalone_mode": False})
            _flush_output()
        except FewShotError as error:
            complain(str(error), command=name)
            status = 1
        except typer.Abort:
            status = 130
        except Exception as error:
            # Typer has moved click's exceptions about; this is what every version of them has in common.
            if hasattr(error, "format_message"):
                complain(f"{error.format_message()} (see {name} --help)", command=name)
                status = 2
            elif line := _of_the_machine(error):
                complain(line, command=name)
                status = 1
            else:
                raise
        with suppress(OutputError):
            _flush_output()
        sys.exit(status if isinstance(status, int) else 0)


def _of_the_machine(error: Exception) -> str | None:
    """What to say where the machine has no room: on a disk or device, or in memory; None for another error."""
    if isinstance(error, OSError):
        where = f"{describe(error.filename)}: " if error.filename else ""
        return f"{where}{error.strerror or error}; check the space left and the rights"
    if isinstance(error, MemoryError) or any(words in str(error) for words in _NO_MEMORY):
        return f"not enough memory ({str(error).strip().partition(chr(10))[0] or 'for Python'}); {_LESS}"
    return None


def _flush_output() -> None:
    """Write out what waits for standard output now: at exit nobody could say that it fails."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError as error:
        with suppress(OSError, ValueError):  # whatever is left goes nowhere, instead of failing again at exit
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise OutputError(f"standard output: {error.strerror or error}; what was printed is not all there") from error


def examples(*lines: str) -> str:
    """The end of a command's help: what can be typed, and sentences on it."""
    return "".join(["\n[bold]Examples[/]\n", *(f"\n{line}\n" for line in lines)])


def make_app(name: str, purpose: str) -> typer.Typer:
    """An empty command line `name` with --version and --help; commands are added by `@app.command()`."""
    app = typer.Typer(
        name=name,
        cls=OneLineErrors,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode="rich",
        context_settings={"help_option_names": ["-h", "--help"]},
    )

    def show_version(asked: bool) -> None:
        if asked:
            from fewshot_seg import __version__

            typer.echo(f"{name} {__version__}")
            raise typer.Exit

    # Made out here, because typer reads annotations where a function's own names cannot be seen.
    show = typer.Option(False, "--version", callback=show_version, is_eager=True, help="Show the version.")

    def root(context: typer.Context, version: bool = show) -> None:
        if context.invoked_subcommand is None:
            typer.echo(context.get_help())

    app.callback(invoke_without_command=True, help=purpose)(root)
    return app
