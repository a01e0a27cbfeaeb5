"""`python -m pddnet` runs the `pddnet` command."""

import os
import sys
from contextlib import suppress
from typing import NoReturn

from .cli.exit_codes import BAD_INPUT
from .cli.main import main, say
from .cli.standard_output import refusal
from .process import prepare


def command() -> NoReturn:
    """Run the command and end the process at once: nobody needs to wait until torch is taken apart."""
    prepare()
    code = main()
    if reason := refusal():
        say(f"standard output cannot be written ({reason}); send it where there is space")
        code = code or BAD_INPUT
    with suppress(OSError):  # nobody reads any more
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()
    os._exit(code)


if __name__ == "__main__":
    command()
