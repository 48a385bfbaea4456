"""What several subcommands share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Final

from fewshot_seg.commands.console import complain, tracked

COMMAND: Final = "fewshot-eval"

track: Final = partial(tracked, command=COMMAND)
"""Shows progress in this command's name."""


@contextmanager
def goes_on(speaks: bool = True) -> Iterator[None]:
    """Ctrl-C ends the command, with a line that says how to go on; of several processes one speaks."""
    try:
        yield
    except KeyboardInterrupt:
        if speaks:
            complain("the same command goes on from here", kind="interrupted", command=COMMAND)
        raise
