"""Declare the outputs of a registration, each once, in `OUTPUTS`.

The options and files of `pddnet register` and the answer of the worker are made from this table. A new output is one
entry.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from ..core.field import DisplacementField
from ..core.image import Image
from ..core.linear import LinearTransform
from ..io.atomic_outputs import IMAGES, OBJECTS, PAGES, PAPERS, PICTURES, REPORTS, TABLES, TRANSFORMS, OutputFiles
from .registration import FinishedRun


def argument_of(option: str) -> str:
    """Return the attribute in which argparse stores the value of an option: output_volume for --output-volume."""
    return option.removeprefix("--").replace("-", "_")


@dataclass(frozen=True, kw_only=True)
class OutputFile:
    """File that `pddnet register` writes."""

    key: str  # its name in `OutputFiles` and in the report's "outputs"
    option: str  # of the command, such as --output-volume
    metavar: str
    help: str
    endings: tuple[str, ...]  # the file formats
    required: bool = False

    @property
    def argument(self) -> str:
        """Return the attribute in which argparse stores the path."""
        return argument_of(self.option)


@dataclass(frozen=True, kw_only=True)
class Output(OutputFile):
    """Output that is computed from a finished run: an image or a transform."""

    content: Callable[[FinishedRun], Image | DisplacementField | None]
    linear: Callable[[LinearTransform], LinearTransform] | None = None  # the same of a linear result, for its own files
    needs: str = ""  # an option of an input without which it cannot be computed
    needs_for: str = ""  # name of that input, for the message
    answer: str = ""  # its key in the worker's answer; empty: the worker warps images that the request names
    on_request: bool = False  # whether the worker computes it only where the request has `<answer>: true`
    only_ct: bool = False  # whether it is None with presets that are not for CT
    stage: str = ""  # of the worker's progress, where it takes long


def _warped_labels(run: FinishedRun) -> Image:
    labels = run.inputs.moving_labels
    if labels is None:
        raise ValueError("there are no moving labels to warp")
    return run.registration.warp(labels, labels=True)


OUTPUTS: tuple[Output, ...] = (
    Output(
        key="transform",
        option="--output-transform",
        metavar="T",
        help="fixed to moving, LPS mm: .h5 .tfm .txt .mat or a volume",
        endings=TRANSFORMS,
        required=True,
        content=lambda run: run.registration.field,
        linear=lambda found: found,
        answer="field",
    ),
    Output(
        key="volume",
        option="--output-volume",
        metavar="W",
        help="the moving scan on the fixed grid",
        endings=IMAGES,
        content=lambda run: run.registration.warp(run.inputs.moving),
    ),
    Output(
        key="labels",
        option="--output-labels",
        metavar="L",
        help="the moving label map on the fixed grid",
        endings=IMAGES,
        content=_warped_labels,
        needs="--moving-labels",
        needs_for="the label map to warp",
    ),
    Output(
        key="inverse",
        option="--output-inverse",
        metavar="V",
        help="the inverse transform, moving to fixed",
        endings=TRANSFORMS,
        content=lambda run: run.inverse,
        linear=lambda found: found.inverse,
        answer="inverse",
        on_request=True,
        stage="invert",
    ),
    Output(
        key="jacobian",
        option="--output-jacobian",
        metavar="J",
        help="local volume change, on the transform's grid",
        endings=IMAGES,
        content=lambda run: run.determinant,
        answer="jacobian",
        on_request=True,
    ),
    Output(
        key="spread",
        option="--output-spread",
        metavar="U",
        help="standard deviation of the displacement, mm, on the transform's grid",
        endings=IMAGES,
        content=lambda run: run.registration.uncertainty,
        answer="spread",
    ),
    Output(
        key="error",
        option="--output-error",
        metavar="E",
        help="expected error, mm: 80 %% of the errors lie below; on the transform's grid",
        endings=IMAGES,
        content=lambda run: run.registration.expected_error,
        answer="error",
        only_ct=True,
    ),
)
REPORT = OutputFile(  # not in the table: it describes all others, so it is written and renamed after them
    key="report",
    option="--report",
    metavar="R.json",
    help="everything that is known about the result",
    endings=REPORTS,
)
SIDECAR = "sidecar"
"""Key of the file that says with what the transform was made."""
MOTION = OutputFile(
    key="motion",
    option="--output-motion",
    metavar="M.csv",
    help="shift, rotation and volume change of every structure",
    endings=TABLES,
)
DICOM_REGISTRATION = OutputFile(
    key="dicom_reg",
    option="--output-dicom-reg",
    metavar="X.dcm",
    help="the transform as a DICOM registration object",
    endings=OBJECTS,
)
PREVIEW = OutputFile(
    key="preview",
    option="--output-preview",
    metavar="P.png",
    help="the moving scan over the fixed one in three planes, as a small picture",
    endings=PICTURES,
)
PAGE = OutputFile(
    key="page",
    option="--report-html",
    metavar="PAGE.html",
    help="one page with pictures, tables, verdict and settings",
    endings=PAGES,
)
PAGE_PDF = OutputFile(
    key="page_pdf",
    option="--report-pdf",
    metavar="PAGE.pdf",
    help="the same page for paper, A4",
    endings=PAPERS,
)


def write_outputs(files: OutputFiles, run: FinishedRun) -> None:
    """Write all requested outputs; each is computed while the one before is written.

    Raises:
        InputError: a file cannot be written completely.
    """
    wanted = [output for output in OUTPUTS if output.key in files]
    with ThreadPoolExecutor(1) as beside:
        contents = [beside.submit(_content, output, files, run) for output in wanted]
        beside.submit(lambda: run.determinant)  # the report needs it in any case
        try:
            for output, content in zip(wanted, contents, strict=True):
                _write(files, output.key, content.result())
        except BaseException:  # an interrupt, too, waits for one computation at most
            beside.shutdown(wait=False, cancel_futures=True)
            raise


def _content(
    output: Output, files: OutputFiles, run: FinishedRun
) -> Image | DisplacementField | LinearTransform | None:
    """Compute what goes into the file of an output: of a linear result the transform itself, if the format holds it."""
    found = run.registration.linear
    if output.linear and found is not None and not files.holds_image(output.key):
        return output.linear(found)
    return output.content(run)


def _write(files: OutputFiles, key: str, content: Image | DisplacementField | LinearTransform | None) -> None:
    if content is None:
        raise ValueError(f"the run has no {key} to write")
    if isinstance(content, Image):
        files.write_image(key, content)
    elif isinstance(content, LinearTransform):
        files.write_linear(key, content)
    else:
        files.write_field(key, content)
