"""How values are kept in a vtkMRMLScriptedModuleNode: as parameters (text) and as node references.

A union `A | B` keeps its value under "name.0" or "name.1", after the member that the value belongs to.
"""

from __future__ import annotations

import enum
import pathlib
from typing import Any

import slicer
from slicer.parameterNodeWrapper.annotations import members

ParameterNode = slicer.vtkMRMLScriptedModuleNode


class TextSerializer:
    """str, int, float and paths: the value's text."""

    types: tuple[type, ...] = (str, int, float, pathlib.Path)

    def __init__(self, kind: type) -> None:
        self.kind = kind

    def default(self) -> Any:
        return self.kind()

    def accepts(self, value: object) -> bool:
        kinds = (int, float) if self.kind is float else self.kind
        return isinstance(value, kinds)

    def encode(self, value: Any) -> str:
        return str(value)

    def decode(self, text: str) -> Any:
        return self.kind(text)

    def isIn(self, node: ParameterNode, name: str) -> bool:
        return bool(node.HasParameter(name))

    def write(self, node: ParameterNode, name: str, value: Any) -> None:
        node.SetParameter(name, self.encode(value))

    def read(self, node: ParameterNode, name: str) -> Any:
        return self.decode(node.GetParameter(name))

    def remove(self, node: ParameterNode, name: str) -> None:
        node.UnsetParameter(name)


class BoolSerializer(TextSerializer):
    """The words True and False."""

    def decode(self, text: str) -> bool:
        return text == "True"


class NoneSerializer(TextSerializer):
    """None, in a union; kept as the word True."""

    def default(self) -> None:
        return None

    def encode(self, value: None) -> str:
        return "True"

    def decode(self, text: str) -> None:
        return None


class EnumSerializer(TextSerializer):
    """An enum's member by its name."""

    def default(self) -> enum.Enum:
        return next(iter(self.kind))

    def encode(self, value: enum.Enum) -> str:
        return value.name

    def decode(self, text: str) -> enum.Enum:
        if text not in self.kind.__members__:
            raise ValueError(f"{text!r} is no name in {self.kind.__name__}")
        return self.kind[text]


class NodeSerializer(TextSerializer):
    """A node reference; an empty parameter says that it was written, as the reference may be to no node."""

    def default(self) -> None:
        return None

    def accepts(self, value: object) -> bool:
        return value is None or isinstance(value, self.kind)

    def write(self, node: ParameterNode, name: str, value: slicer.vtkMRMLNode | None) -> None:
        node.SetParameter(name, "")
        node.SetNodeReferenceID(name, None if value is None else value.GetID())

    def read(self, node: ParameterNode, name: str) -> slicer.vtkMRMLNode | None:
        return node.GetNodeReference(name)

    def remove(self, node: ParameterNode, name: str) -> None:
        node.UnsetParameter(name)
        node.RemoveNodeReferenceIDs(name)


class UnionSerializer:
    """One of several types; None is the default where it is one of two."""

    def __init__(self, kinds: tuple[type, ...]) -> None:
        self.parts = [serializerFor(kind) for kind in kinds]

    def default(self) -> Any:
        optional = len(self.parts) == 2 and isinstance(self.parts[1], NoneSerializer)
        return None if optional else self.parts[0].default()

    def accepts(self, value: object) -> bool:
        return self._index(value) is not None

    def _index(self, value: object) -> int | None:
        """None belongs to the member None where there is one, not to a node type."""
        order = [i for i, part in enumerate(self.parts) if isinstance(part, NoneSerializer) == (value is None)]
        return next((i for i in order if self.parts[i].accepts(value)), None)

    def _found(self, node: ParameterNode, name: str) -> int | None:
        return next((i for i, part in enumerate(self.parts) if part.isIn(node, f"{name}.{i}")), None)

    def isIn(self, node: ParameterNode, name: str) -> bool:
        return self._found(node, name) is not None

    def write(self, node: ParameterNode, name: str, value: Any) -> None:
        with slicer.util.NodeModify(node):
            self.remove(node, name)
            index = self._index(value)
            self.parts[index].write(node, f"{name}.{index}", value)

    def read(self, node: ParameterNode, name: str) -> Any:
        index = self._found(node, name)
        return self.parts[index].read(node, f"{name}.{index}")

    def remove(self, node: ParameterNode, name: str) -> None:
        for index, part in enumerate(self.parts):
            part.remove(node, f"{name}.{index}")


def serializerFor(hint: Any) -> TextSerializer | UnionSerializer:
    """The serializer of a type without annotations; TypeError for types that are not supported."""
    if len(members(hint)) > 1:
        return UnionSerializer(members(hint))
    if hint is bool:
        return BoolSerializer(hint)
    if hint in TextSerializer.types:
        return TextSerializer(hint)
    if hint is type(None):
        return NoneSerializer(hint)
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return EnumSerializer(hint)
    if isinstance(hint, type) and issubclass(hint, slicer.vtkMRMLNode):
        return NodeSerializer(hint)
    raise TypeError(f"a parameter node of the host cannot keep a {hint}")
