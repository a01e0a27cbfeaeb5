"""What can stand beside a type in `Annotated[type, ...]`."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Callable, Sequence


class Default:
    """The value that a parameter has at first."""

    def __init__(self, value: object = None, *, generator: Callable[[], object] | None = None) -> None:
        self._value, self._generator = value, generator

    @property
    def value(self) -> object:
        return self._generator() if self._generator else self._value


@dataclasses.dataclass
class Decimals:
    """Digits after the point in a spin box."""

    value: int


@dataclasses.dataclass
class SingleStep:
    """The step of a spin box or slider."""

    value: float


class Validator:
    """Raises ValueError for values that a parameter must not have."""

    def validate(self, value: object) -> None:
        raise NotImplementedError


@dataclasses.dataclass
class Minimum(Validator):
    """No less than this."""

    minimum: float

    def validate(self, value: float) -> None:
        if value < self.minimum:
            raise ValueError(f"{value} is below the minimum, {self.minimum}")


@dataclasses.dataclass
class Maximum(Validator):
    """No more than this."""

    maximum: float

    def validate(self, value: float) -> None:
        if value > self.maximum:
            raise ValueError(f"{value} is above the maximum, {self.maximum}")


@dataclasses.dataclass
class WithinRange(Validator):
    """Between these, both included."""

    minimum: float
    maximum: float

    def validate(self, value: float) -> None:
        if not self.minimum <= value <= self.maximum:
            raise ValueError(f"{value} is outside the range {self.minimum} to {self.maximum}")


@dataclasses.dataclass
class Choice(Validator):
    """One of these."""

    choices: Sequence

    def validate(self, value: object) -> None:
        if value not in self.choices:
            raise ValueError(f"{value!r} is none of the choices {self.choices}")


def split(hint: object) -> tuple[object, tuple]:
    """The type and the annotations of a type hint, annotated or not."""
    if typing.get_origin(hint) is typing.Annotated:
        return typing.get_args(hint)[0], typing.get_args(hint)[1:]
    return hint, ()


def members(hint: object) -> tuple[type, ...]:
    """The types that a union holds, in order; of any other type that type alone."""
    union = typing.get_origin(hint) in (typing.Union, types.UnionType)
    return tuple(split(member)[0] for member in typing.get_args(hint)) if union else (hint,)


def first(annotations: Sequence[object], kind: type) -> typing.Any:
    """The first annotation of a kind, or None."""
    return next((annotation for annotation in annotations if isinstance(annotation, kind)), None)
