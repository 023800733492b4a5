"""Probes that look at a training loop of one's own."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

import torch
from torch import Tensor, nn

from thalweg.contracts import Draw, Probe, Stepper
from thalweg.contracts.copies import state_of
from thalweg.contracts.modes import set_evaluating
from thalweg.contracts.objective import Objective
from thalweg.contracts.option import resolve
from thalweg.contracts.probe import ProbeContext, SavedWeights
from thalweg.contracts.torch_adapter import TorchOptimizer
from thalweg.contracts.torch_stepper import TorchStepper
from thalweg.contracts.untouched import versions_of
from thalweg.errors import UserError, unknown
from thalweg.landscape.points import flat
from thalweg.look.measure import on_own_terms, options_of, own_copy, probe_of, told_problem
from thalweg.look.result import Look
from thalweg.training.copies import copied_stepper, refreshed
from thalweg.training.tables import checked, joined


class watch:  # noqa: N801 - used as a function
    """Measures probes while a loop of one's own trains a module.

    >>> import torch
    >>> from thalweg.look import watch
    >>> module = torch.nn.Linear(4, 3)
    >>> data = torch.randn(64, 4, generator=torch.Generator().manual_seed(0)), torch.arange(64) % 3
    >>> optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    >>> with watch(module, optimizer, "cross_entropy", data, probes=["gradient-flow"], every=2) as seen:
    ...     for _ in range(4):
    ...         optimizer.zero_grad()
    ...         torch.nn.functional.cross_entropy(module(data[0]), data[1]).backward()
    ...         optimizer.step()
    >>> seen["gradient-flow"].table["step"].unique().tolist()
    [0, 2, 4]

    A probe that looks during training (``step``, ``epoch``) measures at the start and after every ``every`` steps; a
    probe of the end when the block ends, with the weights of the start and of the way. Steps are counted by a hook of
    the optimizer. The probes work on copies, so that the training has the same numbers with them and without.

    Args:
        module: the network that trains.
        optimizer: what trains it, a ``torch.optim.Optimizer``.
        loss: see ``thalweg.look``, like ``data``, ``forward`` and ``seed``.
        data: the examples that the probes look at, all at once; some hundreds are enough for most.
        probes: names, or a table of options by name.
        every: steps between two measurements, and between two points of the way; a probe's own option ``every``
            chooses among them.
        steps_per_epoch: for the column ``epoch``; the length of a ``DataLoader``, else 1.
        batch_size: examples in a step; a ``DataLoader`` says its own, and None means all examples.

    Raises:
        UserError: a probe, an option or what is looked at is refused.
    """

    def __init__(
        self,
        module: nn.Module,
        optimizer: torch.optim.Optimizer,
        loss: Any = None,
        data: Any = None,
        *,
        probes: Sequence[str] | Mapping[str, Mapping[str, Any]] = ("gradient-flow",),
        every: int = 1,
        forward: Callable[..., Any] | None = None,
        steps_per_epoch: int | None = None,
        batch_size: int | None = None,
        seed: int = 0,
    ) -> None:
        if not isinstance(optimizer, torch.optim.Optimizer):
            raise UserError(f"optimizer: {type(optimizer).__name__} is no torch.optim.Optimizer")
        if every < 1:
            raise UserError(f"every = {every}: give a number of steps, 1 or more")
        self.module, self.optimizer, self.every, self.seed = module, optimizer, every, seed
        asked = {probes: {}} if isinstance(probes, str) else probes
        given = asked if isinstance(asked, Mapping) else {name: {} for name in asked}
        self._probes = {name: (probe := probe_of(name), options_of(probe, more)) for name, more in given.items()}
        self._own_times = {name for name, more in given.items() if "every" in more}
        for name, (probe, _) in self._probes.items():
            if set(probe.when) == {"pair"}:
                raise UserError(f"{name} compares two networks, and is for thalweg.look")
        if isinstance(data, torch.utils.data.DataLoader):
            steps_per_epoch, batch_size = steps_per_epoch or len(data), batch_size or data.batch_size
        self._steps_per_epoch = steps_per_epoch or 1
        self._check_optimizer()
        self._own = own_copy(module, None)
        with on_own_terms(seed):
            set_evaluating(self._own)
            self._problem = told_problem(self._own, loss, data, forward)
        whole = batch_size is None or batch_size >= self._problem.sizes["train"]
        self._batch_size = None if whole else batch_size
        self._stepper = TorchStepper(optimizer)
        self._parts: dict[str, list[Any]] = {name: [] for name in self._probes}
        self._way: list[Tensor] = []
        self._steps: list[int] = []
        self._initial: dict[str, Any] | None = None
        self._busy = False
        self._handle: Any = None
        self.step = 0
        """Steps counted."""

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """Itself, since a copied optimizer holds the hook that counts."""
        return self

    def _check_optimizer(self) -> None:
        """UserError where the optimizer does not train the module as the probes take it to."""
        trained = [p for group in self.optimizer.param_groups for p in group["params"]]
        wanted = [p for p in self.module.parameters() if p.requires_grad]
        own = {id(p) for p in self.module.parameters()}
        if not any(id(p) in own for p in trained):
            raise UserError("optimizer: it holds no parameter of the module")
        asked = [name for name, (probe, _) in self._probes.items() if probe.looks_at_optimizer]
        asked = [name for name in asked if {"step", "epoch"} & set(self._probes[name][0].when)]
        if not asked:
            return
        which = f"{', '.join(asked)}: these probes look at the optimizer"
        if {id(p) for p in trained} != {id(p) for p in wanted}:
            lacks = "that holds all parameters that require gradients, and no other ones"
            raise UserError(f"{which}, and want one {lacks}")
        rates = {float(group["lr"]) for group in self.optimizer.param_groups if "lr" in group}
        if len(rates) > 1:
            raise UserError(
                f"{which}, and take one learning rate: its groups have {', '.join(map(str, sorted(rates)))}"
            )
        if [id(p) for p in trained] != [id(p) for p in wanted]:
            raise UserError(f"{which}, and want its groups to hold the parameters in the order of module.parameters()")

    def __enter__(self) -> Self:
        if self._steps:
            raise UserError("watch: a block was watched already: make another one for the next")
        self._initial = state_of(self.module)
        self._keep()
        self._measure(("start", "step", "epoch"))
        self._handle = self.optimizer.register_step_post_hook(self._stepped)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._handle.remove()
        if kind is None:
            if self._steps[-1] != self.step:
                self._keep()
            self._measure(("end",))

    def _stepped(self, *_: object) -> None:
        """Count a step of the optimizer; measure where it is due. Steps of a copy do not count."""
        if self._busy:
            return
        self.step += 1
        if self.step % self.every == 0:
            self._keep()
            self._measure(("step", "epoch"))

    def _keep(self) -> None:
        self._way.append(flat(self.module).detach().clone())
        self._steps.append(self.step)

    def _measure(self, now: tuple[str, ...]) -> None:
        """Measure the probes that look now."""
        for name, (probe, options) in self._probes.items():
            if not set(now) & set(probe.when) or (now == ("end",) and {"step", "epoch"} & set(probe.when)):
                continue
            if name in self._own_times and now != ("end",) and not probe.due(options, self.step):
                continue
            before = [version for _, version in versions_of(self.module.parameters())]
            self._busy = True
            try:
                with on_own_terms(self.seed):
                    context = self._context(probe, options)
                    self._parts[name].append(checked(probe, probe.measure(context)))
            finally:
                self._busy = False
            if before != [version for _, version in versions_of(self.module.parameters())]:
                raise RuntimeError(f"{name} wrote into the weights that train: please report this optimizer")

    def _context(self, probe: Probe, options: Mapping[str, Any]) -> ProbeContext:
        module = self._own = refreshed(self._own, self.module)
        module.train()
        draw = Draw(self.seed, self._batch_size)
        objective = Objective(module, self._problem, draw, draws_in_forward=True, advances_buffers=False)
        objective.begin_step(self._problem.batch("train", 0, Draw(self.seed, None)), self.step)
        optimizer, hyperparameters = _described(self.optimizer)
        return ProbeContext(
            options=options,
            module=module,
            problem=copy.copy(self._problem),
            objective=objective,
            step=self.step,
            epoch=self.step / self._steps_per_epoch,
            generator=draw.generator(f"probe/{probe.name}", self.step),
            weights=SavedWeights(self._initial, state_of(self.module), torch.stack(self._way), tuple(self._steps)),
            optimizer=optimizer,
            hyperparameters=hyperparameters,
            lr=getattr(self._stepper, "lr", None),
            batch_size=self._batch_size,
            copy_stepper=lambda: self._copied(module),
        )

    def _copied(self, module: nn.Module) -> Stepper | None:
        """A copy of the optimizer on a copy of the module."""
        made = copied_stepper(self._stepper, self.module, module)
        if isinstance(made, TorchStepper):
            # a schedule of torch replaces step by a function that steps the optimizer it was made for
            vars(made.optimizer).pop("step", None)
        return made

    def __getitem__(self, name: str) -> Look:
        """What a probe has measured.

        Raises:
            KeyError: the probe is none of those asked for.
        """
        if name not in self._probes:
            raise KeyError(unknown("probe", name, self._probes))
        probe, options = self._probes[name]
        settings = {
            "module": type(self.module).__name__,
            "optimizer": type(self.optimizer).__name__,
            "examples": self._problem.sizes["train"],
            "every": self.every,
            "seed": self.seed,
            "options": options,
        }
        return Look(probe, joined(probe, self._parts[name]), settings)

    def __iter__(self) -> Iterator[str]:
        return iter(self._probes)


def _described(optimizer: torch.optim.Optimizer) -> tuple[TorchOptimizer | None, dict[str, Any]]:
    """The optimizer as thalweg describes its class, with the hyperparameters of its first group."""
    try:
        rate: dict[str, Any] = {"lr": 0.1} if "lr" in optimizer.defaults else {}
        made = TorchOptimizer(type(optimizer), **rate)
    except (TypeError, ValueError):
        return None, {}
    names = {option.name for option in made.options}
    given: dict[str, Any] = {}
    for key, value in optimizer.param_groups[0].items():
        if key == "params":
            continue
        several = isinstance(value, tuple | list)
        found = {f"{key.removesuffix('s')}{i}": one for i, one in enumerate(value, 1)} if several else {key: value}
        given |= {name: float(one) if isinstance(one, Tensor) else one for name, one in found.items() if name in names}
    try:
        return made, resolve(made.options, given, made.name)
    except UserError:
        return None, {}
