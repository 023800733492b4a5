"""Classes as people write them: which arguments are hyperparameters, and which values the class gets."""

from __future__ import annotations

import math
from typing import Any, Literal, cast

import pytest
import torch

from thalweg.contracts import BuildContext
from thalweg.contracts.option import resolve, without_defaults
from thalweg.contracts.torch_adapter import TorchOptimizer
from thalweg.errors import UserError
from thalweg.testing.small import network


class Kept(torch.optim.Optimizer):
    """Keeps its arguments."""

    def __init__(self, params: Any, **arguments: Any) -> None:
        self.arguments = arguments
        super().__init__(params, {"lr": arguments.get("lr", 0.1)})


def called_with(cls: Any, given: dict[str, Any] | None = None, **settings: Any) -> dict[str, Any]:
    """The arguments of an instance of the class, for these hyperparameters."""
    optimizer = TorchOptimizer(cls, **settings)
    assert optimizer.contract_violations() == []
    values = resolve(optimizer.options, given or {}, "x")
    stepper = cast(Any, optimizer.build(network(), values, BuildContext(0, 64, 16)))
    return dict(stepper.optimizer.arguments)


class Legacy(Kept):
    """Whole defaults without annotation."""

    def __init__(self, params, lr=1, momentum=0, weight_decay=0, history_size=10, power=2):  # type: ignore[no-untyped-def]
        super().__init__(
            params, lr=lr, momentum=momentum, weight_decay=weight_decay, history_size=history_size, power=power
        )


def test_a_whole_default_without_annotation_takes_any_number_unless_its_name_is_that_of_a_count() -> None:
    default = {"lr": 1.0, "momentum": 0, "weight_decay": 0, "history_size": 10, "power": 2}
    assert called_with(Legacy) == default
    given = {"momentum": 0.9, "weight_decay": 0.01, "history_size": 20, "power": 0.5}
    assert called_with(Legacy, given) == default | given
    with pytest.raises(UserError, match=r"history_size = 0\.5 is not a whole number"):
        called_with(Legacy, {"history_size": 0.5})
    # a count whose name does not say so gets a whole number all the same
    passed = called_with(Legacy, {"power": 3})["power"]
    assert (passed, type(passed)) == (3, int)


def test_a_whole_value_is_hashed_as_it_always_was() -> None:
    options = TorchOptimizer(Legacy).options
    for same in ({"momentum": 0}, {"momentum": 0.0}, {"power": 2.0}):
        assert without_defaults(options, resolve(options, same, "x")) == {}
    written = without_defaults(options, resolve(options, {"power": 3, "momentum": 1.0}, "x"))
    assert str(written) == "{'momentum': 1, 'power': 3}"


class Annotated(Kept):
    """Has annotations for the kinds of its arguments."""

    def __init__(
        self,
        params: Any,
        lr: float = 1e-3,
        decay: float = 0,
        power: int = 2,
        mode: Literal["fast", "slow"] = "fast",
        sizes: tuple[int, int] = (2, 3),
    ) -> None:
        super().__init__(params, lr=lr, decay=decay, power=power, mode=mode, sizes=sizes)


def test_annotations_decide() -> None:
    optimizer = TorchOptimizer(Annotated)
    kinds = {option.name: option.kind for option in optimizer.options}
    assert kinds == {"lr": "float", "decay": "float", "power": "int", "mode": "choice", "size1": "int", "size2": "int"}
    assert called_with(Annotated, {"mode": "slow", "size2": 4})["sizes"] == (2, 4)
    with pytest.raises(UserError, match="no choice 'slwo'; did you mean 'slow'"):
        called_with(Annotated, {"mode": "slwo"})


class Words(Kept):
    """A word, a list, None among numbers, and None."""

    def __init__(self, params, lr=0.1, mode="fast", betas=[0.9, 0.99, 0.999], eps=(None, 1e-3), clip=None):  # type: ignore[no-untyped-def]  # noqa: B006
        super().__init__(params, lr=lr, mode=mode, betas=betas, eps=eps, clip=clip)


def test_words_lists_and_none_among_numbers() -> None:
    default = {"lr": 0.1, "mode": "fast", "betas": [0.9, 0.99, 0.999], "eps": (None, 1e-3), "clip": None}
    assert called_with(Words) == default
    assert called_with(Words, mode="slow", clip=2.0) == default | {"mode": "slow", "clip": 2.0}
    given = {"beta3": 0.5, "ep2": 0.1, "mode": "slow"}
    assert called_with(Words, given, choices={"mode": ("fast", "slow")}) == default | {
        "betas": [0.9, 0.99, 0.5],
        "eps": (None, 0.1),
        "mode": "slow",
    }
    with pytest.raises(UserError, match="no setting 'mode'"):
        called_with(Words, {"mode": "slow"})


class Infinite(Kept):
    """Has an infinite bound, as Prodigy does."""

    def __init__(self, params: Any, lr: float = 1.0, growth_rate: float = float("inf"), d0: float = 1e-6) -> None:
        super().__init__(params, lr=lr, growth_rate=growth_rate, d0=d0)


def test_an_infinite_default_is_one_and_other_values_are_finite() -> None:
    assert called_with(Infinite)["growth_rate"] == math.inf
    assert called_with(Infinite, {"growth_rate": 1.02})["growth_rate"] == 1.02
    options = TorchOptimizer(Infinite).options
    assert without_defaults(options, resolve(options, {"growth_rate": math.inf}, "x")) == {}
    for wrong in ({"growth_rate": -math.inf}, {"growth_rate": math.nan}, {"d0": math.inf}):
        with pytest.raises(UserError, match="is not finite"):
            resolve(options, wrong, "x")
    # which would have no place in the JSON that a trial's hash is made from
    (named, *_) = TorchOptimizer(Infinite, growth_rate=math.nan).contract_violations()
    assert "growth_rate = nan is not finite" in named


class TensorRate(Kept):
    """Its rate is a tensor, which it may fill in place."""

    def __init__(self, params, lr=torch.tensor(0.05)):  # type: ignore[no-untyped-def] # noqa: B008
        super().__init__(params, lr=lr)


def test_a_rate_that_is_a_tensor_is_a_number_outside_and_a_tensor_of_that_dtype_inside() -> None:
    (lr,) = TorchOptimizer(TensorRate).options
    assert (lr.default, lr.kind) == (0.05, "float")
    assert torch.equal(called_with(TensorRate)["lr"], torch.tensor(0.05))
    passed = called_with(TensorRate, {"lr": 0.3})["lr"]
    assert torch.equal(passed, torch.tensor(0.3))
    # each step its own: what one trial fills must not be the next one's start
    assert called_with(TensorRate)["lr"] is not called_with(TensorRate)["lr"]


class _RequiredParameter:
    """As torch had it, and old classes still do."""


class Sentinel(Kept):
    """Asks for its rate with a sentinel."""

    def __init__(self, params, lr=_RequiredParameter(), width=_RequiredParameter()):  # type: ignore[no-untyped-def] # noqa: B008
        super().__init__(params, lr=lr, width=width)


class NoneRate(Kept):
    """Finds a rate itself where there is none."""

    def __init__(self, params: Any, lr: float | None = None) -> None:
        super().__init__(params, lr=lr)


@pytest.mark.parametrize(
    ("cls", "settings", "says"),
    [
        (Sentinel, {}, r"argument 'lr' of Sentinel has no default: give one with register\(Sentinel, lr=...\)$"),
        (Sentinel, {"lr": 0.1}, r"argument 'width' of Sentinel has no default: .*width=\.\.\."),
        (Sentinel, {"lr": "fast"}, r"register\(Sentinel, lr='fast'\): give a number"),
        (NoneRate, {}, r"give one with register\(NoneRate, lr=...\), and lr=None leaves the rate to the class"),
        (Legacy, {"momentun": 0.9}, "Legacy has no argument 'momentun'; it has: lr, momentum"),
        (Legacy, {"params": []}, "Legacy has no argument 'params'"),
        (Kept, {"params": []}, "Kept has no argument 'params'"),
        (Legacy, {"choices": {"mod": ("a", "b")}}, "Legacy has no argument 'mod'"),
        (Legacy, {"choices": ("a", "b")}, "give a table, by argument"),
        (Legacy, {"choices": {"power": ("a", "b")}}, r"the default 2 is none of them; give a default with power='a'"),
        (Legacy, {"choices": {"power": "fast"}}, r"choices={'power': 'fast'}\): give a tuple of words"),
        (Legacy, {"momentum": []}, r"register\(Legacy, momentum=\[\]\): momentum is a number, 0 in the class"),
        (Legacy, {"momentum": "much"}, "momentum is a number, 0 in the class"),
        (Legacy, {"lr": 10**400}, r"register\(Legacy, lr=...\): the number is larger than a float can be"),
        (Legacy, {"power": 10**5000}, r"power=...\): the number is larger than a float can be"),
        (Legacy, {"search": {"lr0": (1e-4, 1)}}, "search: Legacy has no hyperparameter 'lr0'; it has: lr, momentum"),
        (Legacy, {"search": {"lr": 0.1}}, "search: lr = 0.1 is no pair of numbers"),
        (Legacy, {"closure": "yes"}, r"register\(Legacy, closure='yes'\): give True or False"),
        (Legacy, {"create_graph": 1}, r"register\(Legacy, create_graph=1\): give True or False"),
        (Legacy, {"elementwise": "yes"}, r"register\(Legacy, elementwise='yes'\): give True or False"),
        (Legacy, {"lr": "fast"}, r"register\(Legacy, lr='fast'\): give a number, or None"),
        (Legacy, {"lr": True}, r"register\(Legacy, lr=True\): give a number"),
    ],
)
def test_what_cannot_be_registered_says_how_it_can(cls: Any, settings: dict[str, Any], says: str) -> None:
    with pytest.raises(TypeError, match=says):
        TorchOptimizer(cls, **settings)


def test_the_rate_can_be_left_to_the_class() -> None:
    optimizer = TorchOptimizer(NoneRate, lr=None)
    assert (optimizer.has_lr, optimizer.options) == (False, ())
    assert called_with(NoneRate, lr=None) == {"lr": None}
    assert called_with(Sentinel, lr=0.1, width=3) == {"lr": 0.1, "width": 3}


class OwnDefault(Kept):
    """Marks missing arguments by an object, and chooses their values itself, as heavyball's classes do."""

    def __init__(self, params: Any, lr: float = 0.1, clipping: Any = object()) -> None:  # noqa: B008
        super().__init__(params, lr=lr)
        self.clips = type(clipping) is not object


def test_an_object_for_what_nobody_gave_is_the_classs_own_affair() -> None:
    optimizer = TorchOptimizer(OwnDefault)
    assert [option.name for option in optimizer.options] == ["lr"]
    assert called_with(OwnDefault) == {"lr": 0.1}


def test_arguments_behind_two_stars_are_passed_on_where_they_are_given() -> None:
    assert called_with(Kept) == {}
    assert not TorchOptimizer(Kept).has_lr
    given = called_with(Kept, {"momentum": 0.5}, lr=0.2, momentum=0.9, mode="slow")
    assert given == {"lr": 0.2, "momentum": 0.5, "mode": "slow"}
    assert TorchOptimizer(Kept, lr=0.2).has_lr


class Grabs(Kept):
    """Has arguments with the names of thalweg's settings."""

    def __init__(self, params: Any, lr: float = 0.1, closure: float = 0.5, search: str = "line") -> None:
        super().__init__(params, lr=lr, closure=closure, search=search)


def test_settings_of_ours_are_the_classes_own_where_it_has_them() -> None:
    assert called_with(Grabs, closure=0.25, search="none") == {"lr": 0.1, "closure": 0.25, "search": "none"}


def test_how_to_step_is_handed_to_the_stepper_and_only_where_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[dict[str, Any]] = []
    monkeypatch.setattr("thalweg.contracts.torch_adapter.TorchStepper", lambda _, **how: told.append(how))
    for how in ({}, {"closure": True}, {"closure": False, "create_graph": True}, {"create_graph": None}):
        optimizer = TorchOptimizer(Legacy, **how)  # type: ignore[arg-type]
        optimizer.build(network(), resolve(optimizer.options, {}, "x"), BuildContext(0, 64, 16))
    assert told == [{}, {"closure": True}, {"closure": False, "create_graph": True}, {}]


@pytest.mark.parametrize(("lr", "low", "high"), [(1.0, 0.01, 100.0), (1e-5, 1e-7, 1e-3), (0.1, 1e-3, 10.0)])
def test_the_range_of_the_rate_is_two_decades_each_way_around_the_classes_own(
    lr: float, low: float, high: float
) -> None:
    (search,) = [option.search for option in TorchOptimizer(Kept, lr=lr).options]
    assert search is not None
    assert (search.low, search.high) == pytest.approx((low, high))


def test_a_range_that_is_given_counts() -> None:
    options = TorchOptimizer(Legacy, search={"lr": (1e-6, 1e-2), "momentum": (0.1, 0.9)}).options
    found = {option.name: (option.search.low, option.search.high) for option in options if option.search}
    assert found == {"lr": (1e-6, 1e-2), "momentum": (0.1, 0.9)}
    (wrong,) = TorchOptimizer(Legacy, search={"lr": (1.0, 1e-2)}).contract_violations()
    assert "search from 1.0 to 0.01 is no log range" in wrong


def test_the_name_is_one_that_benchmarks_can_have() -> None:
    class Adam_Mini(Kept):  # noqa: N801 - as its authors call it
        """Is called with an underscore."""

    assert TorchOptimizer(Adam_Mini).name == "adam-mini"
