"""`make gui`: the module in the host's window, on a screen, with the sample pair loaded."""

from __future__ import annotations

import sys

from host.host import startHost
from host.requirements import missing


def main() -> int:
    """Open the window and stay until it is closed."""
    if reason := missing():
        print(f"The window cannot be opened: {reason}", file=sys.stderr)
        return 1
    host = startHost(testing=False, screen=True)
    from host.sample_scene import open_pair

    open_pair(host)
    host.app.exec()
    host.closeApplication()
    host.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
