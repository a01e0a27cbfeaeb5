"""slicer.parameterNodeWrapper: a parameter node of the scene as an object with typed attributes bound to widgets.

Values are stored in the node as Slicer stores them, so that scenes saved by one can be opened by the other. Supported:
str, int, float, bool, Path, Enum, MRML nodes, and each of these `| None`; annotations Default, Choice, Minimum,
Maximum, WithinRange, Decimals, SingleStep.
"""

from slicer.parameterNodeWrapper.annotations import (
    Choice,
    Decimals,
    Default,
    Maximum,
    Minimum,
    SingleStep,
    Validator,
    WithinRange,
)
from slicer.parameterNodeWrapper.wrapper import isParameterNodeWrapper, parameterNodeWrapper

__all__ = [
    "Choice",
    "Decimals",
    "Default",
    "Maximum",
    "Minimum",
    "SingleStep",
    "Validator",
    "WithinRange",
    "isParameterNodeWrapper",
    "parameterNodeWrapper",
]
