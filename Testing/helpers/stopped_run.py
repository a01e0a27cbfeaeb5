"""Run the command with a stand-in registration, and stop at one moment until the test sends a signal.

usage: stopped_run.py MOMENT MARKER arguments...   (the file MARKER appears when the moment has come)
"""

from __future__ import annotations

import os
import sys
import time
import types
from collections.abc import Callable
from pathlib import Path

import SimpleITK as sitk

import pddnet.cli.register
from helpers.samples import fake_register
from pddnet.cli.main import main

moment, marker = sys.argv[1], Path(sys.argv[2])


def stop(here: str) -> None:
    """Wait here, if this is the moment."""
    if here == moment:
        marker.write_text(here)
        time.sleep(60)


def after(function: Callable, here: str) -> Callable:
    """The function, and then perhaps the moment."""

    def run(*args: object, **settings: object) -> object:
        result = function(*args, **settings)
        stop(here)
        return result

    return run


def half_written(image: sitk.Image, path: str, *settings: object) -> None:
    """As sitk.WriteImage, interrupted in the middle of the file."""
    write_image(image, path, *settings)
    if moment == "write":
        os.truncate(path, os.path.getsize(path) // 2)
    stop("write")


write_image = sitk.WriteImage
sitk.WriteImage = half_written
sitk.WriteTransform = after(sitk.WriteTransform, "transform")
os.replace = after(os.replace, "rename")
pddnet.cli.register.volumes.read_volume = after(pddnet.cli.register.volumes.read_volume, "read")
pddnet.cli.register.check_device = lambda name: None  # needs torch, which takes two seconds to load
pipeline = types.ModuleType("pddnet.pipeline")
found = fake_register()


def register(*args: object, progress: Callable, **settings: object) -> object:
    """The stand-in, with the moment in the middle of the work."""

    def report(fraction: float, stage: str) -> None:
        progress(fraction, stage)
        if fraction > 0.5:
            stop("register")

    return found(*args, progress=report, **settings)


pipeline.register = register
sys.modules["pddnet.pipeline"] = pddnet.pipeline = pipeline
sys.exit(main(sys.argv[3:]))
