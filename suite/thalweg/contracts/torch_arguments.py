"""Reads the arguments of a ``torch.optim.Optimizer`` class as hyperparameters, and writes them back."""

from __future__ import annotations

import inspect
import math
import numbers
import re
import sys
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import torch

from thalweg.contracts.component import RESERVED
from thalweg.contracts.option import Hyperparameter, Search

IMPLEMENTATION = frozenset({"params", "foreach", "fused", "maximize", "capturable", "differentiable"})
"""Arguments of torch's optimizers that choose an implementation or a sign and are no hyperparameters."""

REACH = 100.0
"""A class's ``lr`` is searched from its default divided by this to its default times this: two decades each way."""

_COUNTS = frozenset(
    {"batches", "epochs", "every", "freq", "frequency", "history", "interval", "iter", "iterations", "iters"}
    | {"maxiter", "n", "num", "period", "rank", "steps", "window"}
)
"""Words in the name of an argument that counts something."""


class Arguments:
    """The arguments of one class, sorted into hyperparameters and fixed arguments.

    Hyperparameters are numbers, booleans, and texts with declared choices. A tuple or list of numbers gives one
    hyperparameter for each number: ``betas`` becomes ``beta1`` and ``beta2``, and a None in the tuple stays None. An
    argument with a whole default counts something if its annotation is ``int``, or if it has no annotation and a word
    of its name says so (``history_size``). Other arguments take any number and get whole numbers as ``int``.

    Args:
        cls: the class.
        given: defaults that go before those of the signature. An argument that the signature does not name is passed
            on where it ends with ``**kwargs``.
        choices: by argument the words that it may be; those of a ``Literal`` annotation need not be given.
        search: by hyperparameter the ends of the range that tuning searches, on a log scale.

    Raises:
        TypeError: an argument has no default, or there is none of that name.
    """

    def __init__(
        self,
        cls: type[torch.optim.Optimizer],
        given: Mapping[str, Any],
        choices: Mapping[str, Sequence[str]],
        search: Mapping[str, tuple[float, float]],
    ) -> None:
        self._cls = cls
        self._choices = {**_literals(cls), **choices}
        self._back: dict[str, Callable[[dict[str, Any]], Any]] = {}
        """By argument what it is, given the hyperparameters."""
        options: list[Hyperparameter] = []
        signature = inspect.signature(cls).parameters
        named = [one for one in list(signature.values())[1:] if one.kind not in (one.VAR_POSITIONAL, one.VAR_KEYWORD)]
        takes_more = any(one.kind is one.VAR_KEYWORD for one in signature.values())
        self._annotations = {one.name: str(one.annotation) for one in named if one.annotation is not one.empty}
        defaults = {one.name: one.default for one in named if one.name not in IMPLEMENTATION} | dict(given)
        self._check(given, {one.name: one.default for one in named})
        known = [one.name for one in named]
        accepted = [name for name in known if name not in IMPLEMENTATION]
        for key in [*given, *choices]:
            if key not in known and (not takes_more or key in list(signature)[:1]):
                raise TypeError(f"{cls.__name__} has no argument {key!r}; it has: {', '.join(accepted)}")
        for name, words in choices.items():
            self._check_choices(name, words, defaults.get(name))
        for name, default in defaults.items():
            if name in RESERVED or name in IMPLEMENTATION:
                if name in given:
                    self._back[name] = _constant(default)
            else:
                options += self._read(name, default, name in given)
        self.options = tuple(_searched(cls, options, search))

    @property
    def has_lr(self) -> bool:
        """Whether the class has a learning rate that can be set."""
        return any(option.name == "lr" for option in self.options)

    def of(self, hyperparameters: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments of a call of the class: the hyperparameters and the fixed arguments."""
        values = dict(hyperparameters)
        return {name: write(values) for name, write in self._back.items()}

    def _check(self, given: Mapping[str, Any], own: Mapping[str, Any]) -> None:
        """Raise TypeError for a default of another kind than the signature's."""
        cls = self._cls.__name__
        for name, value in given.items():
            if isinstance(value, int) and abs(value) > sys.float_info.max:
                raise TypeError(f"register({cls}, {name}=...): the number is larger than a float can be")
            if name == "lr" or not _is_number(own.get(name)):
                continue  # _read checks the rate
            if isinstance(value, str | Mapping) or (isinstance(value, Sequence) and not value):
                raise TypeError(f"register({cls}, {name}={value!r}): {name} is a number, {own[name]!r} in the class")

    def _check_choices(self, name: str, words: Any, default: Any) -> None:
        """Raise TypeError for choices that are no words, or of an argument whose default is none of them."""
        call = f"register({self._cls.__name__}, choices={{{name!r}: {words!r}}})"
        if not isinstance(words, tuple | list) or not words or not all(isinstance(word, str) for word in words):
            raise TypeError(f"{call}: give a tuple of words")
        if default not in words:
            way = f"give a default with {name}={words[0]!r}"
            raise TypeError(f"{call}: the default {default!r} is none of them; {way}")

    def _read(self, name: str, default: Any, given: bool) -> list[Hyperparameter]:
        """The hyperparameters that an argument is."""
        cls = self._cls.__name__
        if name == "lr" and default is None and given:
            self._back[name] = _constant(None)
            return []
        if name == "lr" and given and not _is_missing(default) and not _is_number(default):
            raise TypeError(
                f"register({cls}, lr={default!r}): give a number, or None where the class finds its own rate"
            )
        if _is_missing(default) or (name == "lr" and not _is_number(default)):
            none = "" if name != "lr" or default is not None else ", and lr=None leaves the rate to the class"
            raise TypeError(
                f"argument {name!r} of {cls} has no default: give one with register({cls}, {name}=...){none}"
            )
        if _is_number(default):
            return [self._number(name, default)]
        if _is_sequence(default):
            return self._numbers(name, default)
        if isinstance(default, str) and name in self._choices:
            self._back[name] = _value(name)
            return [Hyperparameter(name, default, allowed=tuple(self._choices[name]))]
        if isinstance(default, bool):
            self._back[name] = _value(name)
            return [Hyperparameter(name, default)]
        if given:
            self._back[name] = _constant(default)
        return []

    def _number(self, name: str, default: Any) -> Hyperparameter:
        self._back[name] = _value(name)
        if isinstance(default, torch.Tensor):
            # the shortest number that gives an equal tensor: 0.1, where float32 has 0.100000001
            dtype, value = default.dtype, _shortest(default)
            self._back[name] = lambda values: torch.tensor(values[name], dtype=dtype)
        else:
            value = default if isinstance(default, int) else float(default)
        if name == "lr":
            low, high = float(value) / REACH, float(value) * REACH
            search = Search(low, high) if 0 < low < high < math.inf else None
            return Hyperparameter("lr", float(value), allowed="(0, inf)", search=search)
        if isinstance(value, int) and "float" in self._annotations.get(name, ""):
            # torch writes `weight_decay: float = 0`
            return Hyperparameter(name, float(value))
        return Hyperparameter(name, value, real=isinstance(value, int) and not self._counts(name))

    def _numbers(self, name: str, default: Sequence[Any]) -> list[Hyperparameter]:
        singular = name.removesuffix("s")
        keys = [f"{singular}{index}" for index in range(1, len(default) + 1)]
        kind, pairs = type(default), list(zip(keys, default, strict=True))
        whole = re.search(r"\bint\b", self._annotations.get(name, "")) and all(
            isinstance(item, int) for item in default
        )
        make = tuple if issubclass(kind, tuple) else list
        self._back[name] = lambda values: make(None if item is None else values[key] for key, item in pairs)
        return [Hyperparameter(key, item if whole else float(item)) for key, item in pairs if item is not None]

    def _counts(self, name: str) -> bool:
        annotation = self._annotations.get(name)
        return bool(set(name.lower().split("_")) & _COUNTS) if annotation is None else "int" in annotation


def _value(name: str) -> Callable[[dict[str, Any]], Any]:
    return lambda values: values[name]


def _constant(value: Any) -> Callable[[dict[str, Any]], Any]:
    return lambda values: value


def _is_number(value: Any) -> bool:
    if isinstance(value, torch.Tensor):
        return value.numel() == 1 and value.dtype.is_floating_point
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


def _is_sequence(value: Any) -> bool:
    """Whether it is a tuple or list of numbers, None among them allowed."""
    if not isinstance(value, tuple | list) or not any(map(_is_number, value)):
        return False
    return all(item is None or _is_number(item) for item in value)


def _is_missing(default: Any) -> bool:
    """Whether an argument has no default. ``torch.optim.optimizer.required`` counts as no default.

    A bare ``object()`` counts as a default, because a class may replace it by a value, as heavyball does.
    """
    return default is inspect.Parameter.empty or "required" in type(default).__name__.lower()


def _shortest(value: torch.Tensor) -> float:
    exact = float(value)
    for digits in range(1, 17):
        short = float(f"{exact:.{digits}g}")
        if torch.equal(torch.tensor(short, dtype=value.dtype), value.detach().cpu().reshape(())):
            return short
    return exact


def _literals(cls: type[torch.optim.Optimizer]) -> dict[str, tuple[str, ...]]:
    """The words of arguments that are annotated as ``Literal["a", "b"]``."""
    try:
        hints = typing.get_type_hints(cls.__init__)
    except Exception:  # an annotation may use a name that is not defined
        return {}
    found = {name: typing.get_args(hint) for name, hint in hints.items() if typing.get_origin(hint) is Literal}
    return {name: words for name, words in found.items() if all(isinstance(word, str) for word in words)}


def _searched(
    cls: type[torch.optim.Optimizer], options: list[Hyperparameter], search: Mapping[str, tuple[float, float]]
) -> list[Hyperparameter]:
    """The hyperparameters, with the ranges that are given."""
    names = [option.name for option in options]
    for name in search:
        if name not in names:
            raise TypeError(f"search: {cls.__name__} has no hyperparameter {name!r}; it has: {', '.join(names)}")
    found = []
    for option in options:
        ends = search.get(option.name)
        if ends is not None and (
            not isinstance(ends, tuple | list) or len(ends) != 2 or not all(map(_is_number, ends))
        ):
            raise TypeError(
                f"search: {option.name} = {ends!r} is no pair of numbers, as in search={{'lr': (1e-4, 1.0)}}"
            )
        between = option.search if ends is None else Search(float(ends[0]), float(ends[1]))
        found.append(
            Hyperparameter(
                option.name, option.default, option.allowed, option.summary, real=option.real, search=between
            )
        )
    return found
