from __future__ import annotations

import math

import pytest
import torch
from pydantic import ValidationError

from thalweg.contracts.schedule import Schedule

T = 40


def factors(schedule: Schedule, total: int = T) -> list[float]:
    return [schedule.factor_at(t, t / total, 1 / total) for t in range(total)]


def torchs(make: object, total: int = T) -> list[float]:
    """The rates of a torch scheduler, before each step."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    scheduler = make(optimizer)  # type: ignore[operator]
    found = []
    for _ in range(total):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return found


def test_constant() -> None:
    assert factors(Schedule()) == [1.0] * T


def test_step_is_torchs_multistep() -> None:
    schedule = Schedule(name="step", at=(0.25, 0.6), factor=0.2)
    expected = torchs(lambda o: torch.optim.lr_scheduler.MultiStepLR(o, [10, 24], 0.2))
    assert factors(schedule) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("total", [7, 30, 49, 110])
def test_step_drops_at_the_step_that_reaches_the_share(total: int) -> None:
    found = factors(Schedule(name="step", at=(0.1, 0.7)), total)
    first, second = math.ceil(round(0.1 * total, 9)), math.ceil(round(0.7 * total, 9))
    assert found == pytest.approx([1.0] * first + [0.1] * (second - first) + [0.01] * (total - second))


@pytest.mark.parametrize(("share", "total", "drop"), [(0.1 + 0.2, 10, 3), (3 * 0.2, 30, 18),
                                                      (0.6666666667, 30, 20)])  # fmt: skip
def test_a_share_that_is_rounded_up_drops_at_the_same_step(share: float, total: int, drop: int) -> None:
    """0.1 + 0.2 is more than 3 / 10, and 0.6666666667 more than 20 / 30."""
    assert share > drop / total
    assert factors(Schedule(name="step", at=(share,)), total) == [1.0] * drop + [0.1] * (total - drop)


def test_cosine_is_torchs_cosine_annealing() -> None:
    expected = torchs(lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, T, eta_min=0.05))
    assert factors(Schedule(name="cosine", final=0.05)) == pytest.approx(expected, rel=1e-10)


def test_warmup_cosine_rises_in_a_line_to_one_and_then_falls_as_the_cosine() -> None:
    found = factors(Schedule(name="warmup-cosine", warmup=0.25, final=0.0))
    assert found[:10] == pytest.approx([(t + 1) / 10 for t in range(10)])
    assert found[10:] == pytest.approx([(1 + math.cos(math.pi * t / 30)) / 2 for t in range(30)])


def test_inverse_sqrt() -> None:
    assert factors(Schedule(name="inverse-sqrt")) == pytest.approx([1 / math.sqrt(t) for t in range(1, T + 1)])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"name": "cosine", "at": (0.5,)}, "schedule 'cosine': no setting 'at'; there are: final"),
        ({"name": "inverse-sqrt", "final": 0.1}, "schedule 'inverse-sqrt': there is no setting 'final': it has none"),
        ({"name": "step", "factr": 0.1}, "did you mean 'factor'"),
        ({"name": "step", "at": ()}, "at least 1 item"),
        ({"name": "step", "at": (1.5,)}, "less than or equal to 1"),
        ({"name": "warmup-cosine", "warmup": 0.0}, "greater than 0"),
    ],
)
def test_settings_of_another_schedule_are_refused(given: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Schedule(**given)  # type: ignore[arg-type]
