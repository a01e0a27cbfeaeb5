"""A program that stands in for the process that registers: quick, and as faulty as the moving scan tells it to be.

It speaks the protocol of `pddnet.worker.server`. A scan is a text file with JSON; what the moving one may hold:

- verdict, risk, error: of the result; seconds: how long it takes
- fail: a sentence, the reason why it cannot be registered
- die: the number of a signal that ends the process in the middle; grow: MB that it takes
- full: it writes as if the disk were full in the middle of the second file
- once: a file; fail, die and seconds hold only until it is there, and the first time makes it
"""

from __future__ import annotations

import errno
import json
import os
import queue
import sys
import threading
import time
from pathlib import Path
from typing import Any

from pddnet import __version__
from pddnet.batch.pairs import FILES
from pddnet.io.file_identity import identity

_HELD: list[bytes] = []


def main() -> None:
    """Serve until standard input closes."""
    print(json.dumps({"hello": {"pid": os.getpid()}}), flush=True)
    requests: queue.Queue[str] = queue.Queue()
    threading.Thread(target=listen, args=(requests,), daemon=True).start()
    while True:
        request = json.loads(requests.get())
        try:
            answer = {"done": register(request["arguments"])}
        except (OSError, ValueError) as error:
            answer = {"failed": {"kind": "input", "message": str(error)}}
        print(json.dumps({"id": request["id"], **answer}), flush=True)


def listen(requests: queue.Queue[str]) -> None:
    """Take requests, and end at once when standard input closes, as our own worker does."""
    for line in sys.stdin:
        requests.put(line)
    os._exit(0)


def register(arguments: list[str]) -> dict[str, Any]:
    """Do as the moving scan says, and write all outputs."""
    given = dict(argument[2:].partition("=")[::2] for argument in arguments)
    told = json.loads(Path(given["moving"]).read_text("utf-8"))
    act(told)
    report = make_report(told)
    files = {name: identity(given[option]) for name in FILES if (option := name.replace("_", "-")) in given}
    made = json.loads(given["made"]) if "made" in given else made_by_the_command(arguments)
    outputs = {
        "output-transform": json.dumps(told),
        "output-preview": "preview",
        "sidecar": json.dumps({**made, **verdict_of(report), "files": files}),
        "report": json.dumps(report),
    }
    for number, (name, text) in enumerate(outputs.items()):
        if told.get("full") and number == 1:
            raise OSError(errno.ENOSPC, "No space left on device", given[name])
        write(Path(given[name]), text)
    return report


def verdict_of(report: dict[str, Any]) -> dict[str, Any]:
    """Return what a sidecar holds of the verdict."""
    return {name: report["verdict"][name] for name in ("status", "risk", "reasons")}


def act(told: dict[str, Any]) -> None:
    """Take time and memory, fail or die."""
    marker = Path(told["once"]) if "once" in told else None
    if marker is not None:
        if marker.exists():
            return
        marker.write_text(str(os.getpid()), "utf-8")
    _HELD.append(b"x" * (told.get("grow", 0) << 20))
    time.sleep(told.get("seconds", 0))
    if "die" in told:
        print("about to die", file=sys.stderr, flush=True)
        os.kill(os.getpid(), told["die"])
    if "fail" in told:
        raise ValueError(told["fail"])


def make_report(told: dict[str, Any]) -> dict[str, Any]:
    """Make what a batch reads of a report."""
    measures = {"expected_error_mm": told.get("error", 2.0)}
    verdict = {"status": told.get("verdict", "ok"), "risk": told.get("risk", 0.1), "reasons": [], "measures": measures}
    return {"verdict": verdict, "labels": None, "seconds": {"total": 1.0}, "warnings": []}


def made_by_the_command(arguments: list[str]) -> dict[str, Any]:
    """Return what the command itself would keep."""
    from pddnet.cli.main import build_parser
    from pddnet.cli.register_arguments import options
    from pddnet.core.presets import find_preset
    from pddnet.run.provenance import weights_used

    args = build_parser("register").parse_args(["register", *arguments])
    weights = weights_used(find_preset(args.preset), None)
    return {"version": __version__, "options": options(args), "weights": weights}


def write(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(text, "utf-8")
    temporary.replace(path)


if __name__ == "__main__":
    main()
