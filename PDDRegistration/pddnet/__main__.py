"""`python -m pddnet` is the `pddnet` command."""

import os
import sys
from typing import NoReturn

from .cli.main import main


def command() -> NoReturn:
    """The command, and the process with it: nobody needs to wait until torch is taken apart."""
    code = main()
    try:
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()
    except OSError:  # nobody reads any more
        sys.exit(code)
    os._exit(code)


if __name__ == "__main__":
    command()
