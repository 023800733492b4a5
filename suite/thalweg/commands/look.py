"""``thalweg look``: a probe on a network from outside, from its code, a checkpoint and a file of data."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from thalweg.console import errors, print_json, print_lines
from thalweg.errors import UserError
from thalweg.exit_codes import ExitCode
from thalweg.registry import load_registry
from thalweg.selection import parse_settings


@dataclass(frozen=True)
class LookOptions:
    """What ``thalweg look`` is asked for."""

    probe: str
    module: str
    data: Path
    loss: str
    out: Path
    weights: Path | None = None
    initial: Path | None = None
    other: Path | None = None
    settings: tuple[str, ...] = ()
    parameters: tuple[str, ...] = ()
    mode: str = "train"
    seed: int = 0
    plugin_files: tuple[Path, ...] = ()
    as_json: bool = False


def look_command(options: LookOptions) -> ExitCode:
    """Measure, write the table and the chart into a folder, and print the numbers."""
    probe = load_registry(options.plugin_files).probe(options.probe)
    from thalweg.look.files import data_from, load_weights, module_from
    from thalweg.look.measure import look

    settings = parse_settings(options.settings, "--set")
    module = module_from(options.module)
    states = {}
    for name, path in (("initial", options.initial), ("other", options.other)):
        if path is not None:
            load_weights(module, path)
            states[name] = {key: value.clone() for key, value in module.state_dict().items()}
    if options.weights is not None:
        load_weights(module, options.weights)
    else:
        errors().print(f"without --weights the network is as {options.module} makes it", markup=False)
    if "pair" in probe.when and options.other is None and (probe.name != "line" or options.initial is None):
        which = "--initial or --other" if probe.name == "line" else "--other"
        raise UserError(f"{probe.name}: give {which}, a checkpoint")
    data = data_from(options.data, module)
    if options.out.exists() and not options.out.is_dir():
        raise UserError(f"--out {options.out}: is a file, and no folder")
    try:
        found = look(
            probe,
            module,
            options.loss,
            data,
            parameters=options.parameters or None,
            mode=options.mode,  # type: ignore[arg-type]
            seed=options.seed,
            initial=states.get("initial"),
            other=states.get("other"),
            **settings,
        )
    except (ValueError, RuntimeError, TypeError, IndexError) as error:
        # loss and data that do not fit the network, as torch says it
        raise UserError(f"{probe.name} of {options.module} on {options.data}: {error}") from error
    options.out.mkdir(parents=True, exist_ok=True)
    files = [found.save(options.out / f"{probe.name}{ending}") for ending in (".parquet", ".html")]
    if options.as_json:
        rows = found.table.astype(object).where(found.table.notna(), None).to_dict("records")
        print_json({"probe": probe.name, **found.settings, "rows": rows, "files": [str(path) for path in files]})
        return ExitCode.DONE
    print_lines(repr(found))
    errors().print(f"written: {', '.join(map(str, files))}", markup=False)
    return ExitCode.DONE
