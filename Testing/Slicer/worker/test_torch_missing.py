"""PyTorch is not there, or cannot be loaded: what is offered, what is done, and what works without it."""

from __future__ import annotations

import importlib.util
import os
import sys
import types
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from helpers import runs

if TYPE_CHECKING:
    from host.host import Host

BROKEN = "raise ImportError('half of it is missing')"

pytestmark = [pytest.mark.slow, pytest.mark.skipif(os.name != "posix", reason="the launcher is a script")]


@pytest.fixture
def bench(opened: runs.Bench) -> runs.Bench:
    """In a new scene. No registration process runs yet."""
    opened.widget.logic.stop()
    return opened.renew()


@pytest.fixture
def host(running_host: Host) -> Host:
    return running_host


class Offer:
    """The user's answers, the PyTorch extension, and what they were asked and told to do."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        import slicer

        self.accept, self.there = True, False
        self.asked: list[str] = []
        self.warned: list[str] = []
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.install: Any = self.appear
        find = importlib.util.find_spec
        monkeypatch.setattr(
            importlib.util,
            "find_spec",
            lambda name, *rest: find(name, *rest) if name != "torch" or self.there else None,
        )
        monkeypatch.setattr(slicer.util, "confirmOkCancelDisplay", self.confirm)
        monkeypatch.setattr(slicer.util, "warningDisplay", self.warned.append)
        monkeypatch.setattr(slicer.util, "errorDisplay", self.warned.append)
        extension = types.ModuleType("PyTorchUtils")
        extension.PyTorchUtilsLogic = lambda: self
        monkeypatch.setitem(sys.modules, "PyTorchUtils", extension)

    def find_spec(self, name: str, *rest: Any) -> Any:
        return None if name == "torch" and not self.there else self._find(name, *rest)

    def confirm(self, text: str, *_rest: Any) -> bool:
        self.asked.append(text)
        return self.accept

    def appear(self) -> None:
        self.there = True

    def installTorch(self, askConfirmation=False, forceComputationBackend=None, torchVersionRequirement=None) -> None:
        self.calls.append(("install", {"ask": askConfirmation, "requirement": torchVersionRequirement}))
        self.install()

    def uninstallTorch(self) -> None:
        self.calls.append(("uninstall", {}))


@pytest.fixture
def offer(bench: runs.Bench, monkeypatch: pytest.MonkeyPatch) -> Offer:
    return Offer(monkeypatch)


def press(bench: runs.Bench) -> None:
    """One click on Apply; the run that it starts, if any, goes on to its end."""

    def body() -> None:
        assert bench.ui.applyButton.enabled
        runs.click(bench.ui.applyButton)
        bench.end()

    bench.host.runInEventLoop(body)


def nothing_started(bench: runs.Bench) -> bool:
    return not bench.worker.isRunning and runs.leftovers(bench.host) == []


@pytest.fixture
def broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A torch that the registration process finds first and cannot load."""
    path = tmp_path / "broken" / "torch.py"
    path.parent.mkdir()
    path.write_text(BROKEN)
    monkeypatch.setenv("PYTHONPATH", str(path.parent))
    return path


def test_without_the_extension_there_is_a_message(
    bench: runs.Bench, offer: Offer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "PyTorchUtils", None)
    press(bench)
    assert bench.status == offer.warned[0]
    assert "install the PyTorch extension in the Extensions Manager" in bench.status
    assert (offer.asked, len(offer.warned)) == ([], 1)
    assert nothing_started(bench)
    assert bench.ui.applyButton.enabled
    assert not bench.ui.saveReportButton.visible
    bench.check_inputs_untouched()


def test_who_declines_gets_nothing_installed(bench: runs.Bench, offer: Offer) -> None:
    offer.accept = False
    press(bench)
    assert len(offer.asked) == 1
    assert offer.asked[0].startswith("The registration needs PyTorch, which is not installed. It will be downloaded")
    assert offer.calls == offer.warned == []
    assert bench.status.count(".") == 1
    assert "was not installed" in bench.status
    assert nothing_started(bench)
    press(bench)
    assert len(offer.asked) == 2


def test_who_accepts_gets_it_installed_once_and_the_run_starts(bench: runs.Bench, offer: Offer) -> None:
    """The registration process, which ran already, has ended before: it would keep torch's files in use."""
    offer.there = True
    bench.run()
    bench.choose(outputTransform=None)
    offer.there, pid = False, bench.worker.hello["pid"]
    assert psutil.pid_exists(pid)
    seen: list[object] = []

    def install() -> None:
        seen.extend([bench.worker.isRunning, psutil.pid_exists(pid), bench.ui.applyButton.enabled])
        offer.there = True

    offer.install = install
    bench.check_usable()
    assert seen == [False, False, False]
    assert offer.calls == [("install", {"ask": False, "requirement": ">=2.1"})]
    assert bench.worker.hello["pid"] != pid
    bench.check_usable()
    assert len(offer.calls) == len(offer.asked) == 1


@pytest.mark.parametrize("platform", ["win32", "linux", "darwin"])
def test_only_on_windows_newer_versions_are_left_out(host: Host, platform: str) -> None:
    """As pip understands the requirement: 2.13 breaks there, and 2.12 is the newest that installs."""
    from packaging.specifiers import SpecifierSet

    from PDDRegistrationLib.worker.torch_setup import torchRequirement

    wanted = SpecifierSet(torchRequirement(platform))
    versions = ("2.0.1", "2.1.0", "2.2.2", "2.12.1", "2.13.0", "2.14.0")
    newest = ["2.13.0", "2.14.0"] if platform != "win32" else []
    assert list(wanted.filter(versions)) == ["2.1.0", "2.2.2", "2.12.1", *newest]


@pytest.mark.parametrize(
    ("fault", "text"),
    [
        (RuntimeError("pip said no\nand more\nlines"), "PyTorch could not be installed (pip said no); look"),
        (OSError(), "PyTorch could not be installed (OSError); look"),
        (None, "PyTorch was installed but is not found; restart Slicer"),
    ],
    ids=["exception", "exception without words", "nothing came of it"],
)
def test_an_installation_that_fails_is_one_sentence(
    bench: runs.Bench, offer: Offer, fault: Exception | None, text: str
) -> None:
    def install() -> None:
        if fault is not None:
            raise fault

    offer.install = install
    press(bench)
    assert bench.status.startswith(text)
    assert "\n" not in bench.status
    assert "Traceback" not in bench.status
    assert offer.warned == ([bench.status] if fault is not None else [])
    assert nothing_started(bench)
    assert bench.ui.applyButton.enabled


def test_the_application_is_closed_while_it_installs(bench: runs.Bench, offer: Offer) -> None:
    offer.install = lambda: (offer.appear(), bench.widget.cleanup())
    bench.host.runInEventLoop(lambda: runs.click(bench.ui.applyButton))
    assert len(offer.calls) == 1
    assert nothing_started(bench)


def test_a_torch_that_cannot_be_loaded_is_offered_anew(bench: runs.Bench, offer: Offer, broken: Path) -> None:
    """It is there, but the registration process says torch_missing. It is removed first, or pip would not touch it."""
    offer.there = True
    offer.install = broken.unlink

    def body() -> None:
        bench.begin()
        assert bench.host.waitUntil(lambda: len(offer.asked) == 1 and bench.worker.isBusy, 30)
        bench.end()

    bench.host.runInEventLoop(body)
    assert "half of it is missing" in offer.asked[0]
    assert [name for name, _ in offer.calls] == ["uninstall", "install"]
    assert bench.status == ""
    assert bench.error_at_the_centre() < 6.0


def test_who_declines_to_replace_a_broken_torch_can_try_again(bench: runs.Bench, offer: Offer, broken: Path) -> None:
    offer.there, offer.accept = True, False
    for times in (1, 2):
        press(bench)
        assert bench.host.waitUntil(lambda times=times: len(offer.asked) == times)
        bench.host.processEvents(0.1)
        assert len(offer.asked) == times, "it must not ask again by itself"
        assert "was not installed" in bench.status
        assert bench.ui.applyButton.enabled
    assert offer.calls == []
    bench.check_inputs_untouched()
    broken.unlink()
    bench.widget.logic.stop()
    bench.check_usable()
