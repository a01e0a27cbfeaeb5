"""The module in the host with large volumes: how long its handlers block the window. Prints one line of JSON.

Run by bench.py in a process of its own, because it becomes a Qt application.
"""

from __future__ import annotations

import json
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SIZE = (512, 512, 300)
SECONDS = 900.0  # for the whole run


def main() -> None:
    from host.host import startHost

    host = startHost()
    try:
        print(json.dumps(host.runInEventLoop(lambda: measured(host))))
    finally:
        host.closeApplication()
        host.close()


def measured(host) -> dict[str, float]:
    """Seconds: nodes to request, answer to nodes, the longest of all handlers apart from these two, the whole run."""
    widget = host.loadModule(ROOT / "PDDRegistration" / "PDDRegistration.py")
    from PDDRegistrationLib.registration import job
    from PDDRegistrationLib.ui import panel
    from PDDRegistrationLib.worker import client as worker_process

    conversions = {"nodes to request": [], "answer to nodes": []}
    handlers: dict[str, list[tuple[float, float]]] = {}
    watch(job.RegistrationJob, "__init__", conversions["nodes to request"])
    watch(worker_process, "unpack", conversions["answer to nodes"])
    watch(job.RegistrationJob, "_apply", conversions["answer to nodes"])
    for owner in (panel.Panel, worker_process.Worker):
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
    worst = max(longest, key=longest.get)
    seconds = {name: sum(end - begin for begin, end in spans) for name, spans in conversions.items()}
    return seconds | {"longest handler besides": longest[worst], "which": worst, "whole run": whole}


def apart(span: tuple[float, float], excepted: list[tuple[float, float]]) -> float:
    """Seconds of a span that none of the others has; they do not overlap each other."""
    return span[1] - span[0] - sum(max(0.0, min(span[1], end) - max(span[0], begin)) for begin, end in excepted)


def volumes() -> dict[str, object]:
    """The sample pair with SIZE voxels each: as many as a chest and abdomen CT has."""
    import SimpleITK as sitk
    import slicer

    result = {}
    for side in ("fixed", "moving"):
        image = sitk.ReadImage(str(ROOT / "PDDRegistration" / "Resources" / "SampleData" / f"{side}.nii.gz"))
        spacing = [n * s / m for n, s, m in zip(image.GetSize(), image.GetSpacing(), SIZE, strict=True)]
        large = sitk.Resample(
            image, SIZE, sitk.Transform(), sitk.sitkLinear, image.GetOrigin(), spacing, image.GetDirection(), -1024
        )
        path = Path(slicer.app.temporaryPath) / f"{side}.nrrd"
        sitk.WriteImage(large, str(path), False)
        result[side] = slicer.util.loadVolume(str(path), {"name": side, "show": side == "fixed"})
    return result


def watch(owner: object, name: str, spans: list[tuple[float, float]]) -> None:
    """Note begin and end of every call of a method or function."""
    function = getattr(owner, name)

    def wrapper(*args, **kwargs):
        begin = time.perf_counter()
        try:
            return function(*args, **kwargs)
        finally:
            spans.append((begin, time.perf_counter()))

    setattr(owner, name, wrapper)


if __name__ == "__main__":
    main()
