"""A program that ends in the middle of a run: `closing_host.py way`; prints the worker's pid and the stage.

way: "closed" as by File, Exit; anything else leaves the modules as they are.
"""

from __future__ import annotations

import sys


def main(way: str) -> None:
    from host.host import startHost

    host = startHost()
    from helpers import runs

    bench = runs.Bench(host)
    bench.choose(preset="default")

    def body() -> None:
        bench.begin()
        assert host.waitUntil(lambda: "align" in bench.stages, 60)
        print(bench.worker.hello["pid"], bench.stages[-1], flush=True)

    host.runInEventLoop(body)
    assert "torch" not in sys.modules
    if way == "closed":
        host.closeApplication()
        host.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
