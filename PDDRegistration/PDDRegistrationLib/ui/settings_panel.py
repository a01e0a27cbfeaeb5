"""Handle the widgets of transform type, preset, intensity, device and advanced settings, and show the time of the last
run and the GPU (`SettingsPanel`)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from slicer.i18n import tr as _

from pddnet.core.intensity import INTENSITIES
from pddnet.core.linear import DEFORMABLE, TRANSFORM_TYPES
from pddnet.core.preset_overrides import LIMITS
from pddnet.core.presets import DEVICES, PRESETS, Preset

from ..base.qt_text import showText
from ..registration.parameters import RegistrationParameters
from ..registration.run_times import lastRun
from ..scene.volumes import isSingleSlice
from ..worker.failure import Failure
from .starts import sayingWhyNot

DEVICE_NAMES = {"auto": _("automatic"), "cpu": _("CPU"), "cuda": _("GPU (CUDA)")}
TRANSFORM_NAMES = {
    "deformable": _("deformable"),
    "rigid": _("rigid: shift and turn"),
    "similarity": _("similarity: shift, turn and scale"),
    "affine": _("affine: also scale per axis and shear"),
}
INTENSITY_NAMES = {
    "auto": _("automatic"),
    "hu": _("in HU already"),
    "offset-1024": _("1024 too high"),
}
WAYS = {"": None, "both": True, "one": False}
NUMBERS = {  # parameter: widget, keyword of `pddnet.core.preset_overrides.adjusted`, value that leaves it to the preset
    "captureRange": ("captureRangeSpinBox", "capture_range", 0.0),
    "controlSpacing": ("controlSpacingSpinBox", "control_spacing", 0.0),
    "smoothness": ("smoothnessSpinBox", "smoothness", 0.0),
    "optimisationSteps": ("optimisationStepsSpinBox", "iterations", -1),
}
GIGABYTE = 1e9


def adjustOf(parameters: RegistrationParameters) -> dict[str, Any]:
    """Return the settings of a parameter node that replace the preset's, for
    `pddnet.core.preset_overrides.adjusted`."""
    values = {keyword: getattr(parameters, name) for name, (_widget, keyword, _unset) in NUMBERS.items()}
    unset = {keyword: unset for _widget, keyword, unset in NUMBERS.values()}
    chosen = {keyword: value for keyword, value in values.items() if value != unset[keyword]}
    ways = WAYS.get(parameters.inverseConsistency)
    return chosen | ({} if ways is None else {"both_ways": ways})


class SettingsPanel:
    """Connect these widgets and a parameter node by hand: a scene may name a preset or device that does not exist."""

    def __init__(self, ui: Any, worker: Callable[[], Any]) -> None:
        """Connect the widgets `ui`, by name; worker: returns the client of the registration process."""
        self.ui, self._worker = ui, worker
        self._parameters: RegistrationParameters | None = None
        for name in PRESETS:
            ui.presetComboBox.addItem(name, name)
        for name in TRANSFORM_TYPES:
            ui.transformTypeComboBox.addItem(TRANSFORM_NAMES[name], name)
        for name in INTENSITIES:
            ui.intensityComboBox.addItem(INTENSITY_NAMES[name], name)
        for name in DEVICES:
            ui.deviceComboBox.addItem(DEVICE_NAMES[name], name)
        for way in WAYS:
            ui.inverseConsistencyComboBox.addItem("", way)
        for name, (widget, keyword, unset) in NUMBERS.items():
            box = getattr(ui, widget)
            box.minimum, box.maximum = unset, LIMITS[keyword][1]
            signal = "valueChanged(int)" if name == "optimisationSteps" else "valueChanged(double)"
            box.connect(signal, lambda value, name=name: self._set(name, value))
        combos = {"preset": ui.presetComboBox, "device": ui.deviceComboBox}
        combos["transformType"] = ui.transformTypeComboBox
        combos["intensity"] = ui.intensityComboBox
        combos["inverseConsistency"] = ui.inverseConsistencyComboBox
        for name, box in combos.items():
            box.connect(
                "currentIndexChanged(int)", lambda index, name=name, box=box: self._set(name, box.itemData(index))
            )
        self._combos = combos
        ui.deviceCheckButton.connect("clicked(bool)", self._onCheckClicked)

    def show(self, parameters: RegistrationParameters | None) -> None:
        """Follow a parameter node, or none; `refresh` is to be called whenever the node changes."""
        self._parameters = None
        if parameters is not None:
            self._fill(parameters)
        self._parameters = parameters

    def refresh(self) -> None:
        """Show the values of the parameter node."""
        parameters, self._parameters = self._parameters, None  # signals of the widgets are ignored meanwhile
        if parameters is not None:
            self._fill(parameters)
        self._parameters = parameters

    def mend(self, parameters: RegistrationParameters) -> str:
        """Replace values that do not exist in this version or machine by defaults; return a sentence on it, or ''."""
        known = {"preset": tuple(PRESETS), "device": DEVICES, "transformType": TRANSFORM_TYPES}
        known |= {"intensity": INTENSITIES, "inverseConsistency": tuple(WAYS)}
        values = {name: getattr(parameters, name) for name in known}
        unknown = {name: value for name, value in values.items() if value not in known[name]}
        text = _("The scene asks for the {kind} '{value}', which does not exist here; '{usual}' is used instead.")
        for name in unknown:
            setattr(parameters, name, known[name][0])
        texts = [text.format(kind=_(name), value=value, usual=known[name][0]) for name, value in unknown.items()]
        return " ".join(texts)

    def showGpu(self, gpu: dict[str, Any] | None) -> None:
        """Show the name of the GPU and how much of its memory is free; gpu: from the worker's answer to `warm`."""
        text = _("GPU (CUDA): none found")
        if gpu is not None:
            free, total = (gpu[f"memory_{which}"] / GIGABYTE for which in ("free", "total"))
            text = _("GPU (CUDA): {name}, {free} of {total} GB free")
            text = text.format(name=gpu["name"], free=f"{free:.1f}", total=f"{total:.1f}")
        self.ui.deviceComboBox.setItemText(DEVICES.index("cuda"), text)

    def _set(self, name: str, value: Any) -> None:
        if self._parameters is not None:
            setattr(self._parameters, name, value)

    def _fill(self, parameters: RegistrationParameters) -> None:
        for name, box in self._combos.items():
            box.setCurrentIndex(max(box.findData(getattr(parameters, name)), 0))
        self.ui.advancedCollapsibleButton.enabled = parameters.transformType == DEFORMABLE
        preset = PRESETS[parameters.preset]
        self.ui.presetNote.text, self.ui.presetNote.toolTip = presetTexts(preset)
        if parameters.fixedVolume is not None and isSingleSlice(parameters.fixedVolume):
            self.ui.presetNote.text = _("Single slices are registered in 2-D; the preset has no effect")
        texts = _presetValues(preset)
        usual = _("as the preset says ({value})")
        for name, (widget, _keyword, _unset) in NUMBERS.items():
            box = getattr(self.ui, widget)
            box.specialValueText = usual.format(value=texts[name])
            if box.value != getattr(parameters, name):
                box.value = getattr(parameters, name)
        ways = (usual.format(value=texts["inverseConsistency"]), _("both ways"), _("one way"))
        for index, text in enumerate(ways):
            self.ui.inverseConsistencyComboBox.setItemText(index, text)

    def _onCheckClicked(self, checked: bool = False) -> None:
        """Ask the registration process for the GPU; it loads PyTorch for that."""
        self.ui.deviceCheckButton.enabled = False
        with sayingWhyNot(self._endCheck, _("The GPU could not be looked for; the Python console says why.")):
            self._worker().submit({"do": "warm"}, None, self._onWarm, self._onCheckFailed)

    def _onWarm(self, answer: dict[str, Any]) -> None:
        self.ui.deviceCheckButton.enabled = True
        self.showGpu(answer["cuda"])

    def _onCheckFailed(self, failure: Failure) -> None:
        self._endCheck(failure.message)

    def _endCheck(self, text: str) -> None:
        self.ui.deviceCheckButton.enabled = True
        showText(self.ui.statusLabel, text)


def presetTexts(preset: Preset) -> tuple[str, str]:
    """Describe the preset: its purpose and the time of its last run on this machine, and a tool tip on that time."""
    last = lastRun(preset.name)
    if last is None:
        return preset.purpose, ""
    text, seconds = _("{purpose}; last run here: {seconds}"), f"{last.seconds:.0f}\N{NO-BREAK SPACE}s"
    tip = _("Measured on this computer with the device {device}; larger scans take longer.")
    return text.format(purpose=preset.purpose, seconds=seconds), tip.format(device=last.device)


def _presetValues(preset: Preset) -> dict[str, str]:
    """Return the preset's values, in the words of the widgets."""
    stages = preset.usual_stages
    first, last = stages[0], stages[-1]
    points = _("{count} points per axis").format(count=last.control_points_per_axis)
    steps = sorted({stage.iterations for stage in stages})
    return {
        "captureRange": f"{first.capture_range_mm:g} mm",
        "controlSpacing": f"{last.control_spacing_mm:g} mm" if last.control_points_per_axis is None else points,
        "smoothness": "1 x",
        "optimisationSteps": " / ".join(map(str, steps)),
        "inverseConsistency": _("both ways") if first.both_ways else _("one way"),
    }
