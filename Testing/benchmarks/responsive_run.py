"""Run the module in the host with large volumes and measure how long its handlers block the window.

Prints one line of JSON. Section d of the benchmark runs it in its own process, because it becomes a Qt application.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from helpers.paths import LIBRARY, MODULE

if TYPE_CHECKING:
    from host.host import Host

SIZE = (512, 512, 300)  # voxels along i, j, k: as many as a CT of chest and abdomen has
SECONDS = 900.0  # for the whole run
Spans = list[tuple[float, float]]  # begin and end, seconds


def main() -> None:
    from host.host import startHost

    host = startHost()
    try:
        print(json.dumps(host.runInEventLoop(lambda: measured(host))))
    finally:
        host.closeApplication()
        host.close()


def measured(host: Host) -> dict[str, Any]:
    """Return seconds: nodes to request, answer to nodes, the longest of all other handlers, and the whole run."""
    widget: Any = host.loadModule(MODULE)
    from PDDRegistrationLib.registration import job
    from PDDRegistrationLib.ui import registration_panel
    from PDDRegistrationLib.worker import client

    conversions: dict[str, Spans] = {"nodes to request": [], "answer to nodes": []}
    handlers: dict[str, Spans] = {}
    watch(job.RegistrationJob, "__init__", conversions["nodes to request"])
    watch(client, "unpack", conversions["answer to nodes"])
    watch(job.RegistrationJob, "_apply", conversions["answer to nodes"])
    for owner in (registration_panel.RegistrationPanel, client.Worker):
        for name in [name for name in vars(owner) if name.startswith("_on") or name in ("_readOutput", "_readErrors")]:
            watch(owner, name, handlers.setdefault(f"{owner.__name__}.{name}", []))
    for side, node in volumes().items():
        getattr(widget.ui, f"{side}VolumeSelector").setCurrentNode(node)
    widget.ui.outputVolumeSelector.addNode()
    host.processEvents(1.0)
    start = time.perf_counter()
    widget._panel._onApplyClicked()  # as the button calls it: its own connection was made before the watch
    if not host.waitUntil(lambda: bool(widget.ui.verdictLabel.text), SECONDS):
        raise SystemExit(f"no verdict: {widget.ui.statusLabel.text}")
    whole = time.perf_counter() - start
    excepted = [span for spans in conversions.values() for span in spans]
    longest = {name: max(apart(span, excepted) for span in spans) for name, spans in handlers.items() if spans}
    worst = max(longest, key=lambda name: longest[name])
    seconds = {name: sum(end - begin for begin, end in spans) for name, spans in conversions.items()}
    return seconds | {"longest handler besides": longest[worst], "which": worst, "whole run": whole}


def apart(span: tuple[float, float], excepted: Spans) -> float:
    """Return the seconds of a span outside the excepted ones, which do not overlap each other."""
    first, last = span
    return last - first - sum(max(0.0, min(last, end) - max(first, begin)) for begin, end in excepted)


def volumes() -> dict[str, Any]:
    """Load the sample pair with SIZE voxels each; the nodes by side."""
    import SimpleITK as sitk
    import slicer

    result = {}
    for side in ("fixed", "moving"):
        image = sitk.ReadImage(str(LIBRARY / "Resources" / "SampleData" / f"{side}.nii.gz"))
        spacing = [n * s / m for n, s, m in zip(image.GetSize(), image.GetSpacing(), SIZE, strict=True)]
        large = sitk.Resample(
            image, SIZE, sitk.Transform(), sitk.sitkLinear, image.GetOrigin(), spacing, image.GetDirection(), -1024
        )
        path = Path(slicer.app.temporaryPath) / f"{side}.nrrd"
        sitk.WriteImage(large, str(path), False)
        result[side] = slicer.util.loadVolume(str(path), {"name": side, "show": side == "fixed"})
    return result


def watch(owner: object, name: str, spans: Spans) -> None:
    """Note begin and end of every call of a method or function."""
    function = getattr(owner, name)

    def wrapper(*args: Any, **kwargs: Any) -> Any:
        begin = time.perf_counter()
        try:
            return function(*args, **kwargs)
        finally:
            spans.append((begin, time.perf_counter()))

    setattr(owner, name, wrapper)


if __name__ == "__main__":
    main()
