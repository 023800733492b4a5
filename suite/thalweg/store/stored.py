"""The trials of a benchmark in columns, as the index gives them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from thalweg.selection import DEVICES, Device
from thalweg.stacking import OnDisk
from thalweg.store.columns import CURVES
from thalweg.store.files import Files
from thalweg.store.listing import STAMPS
from thalweg.store.results import BenchmarkResults
from thalweg.store.segment import CURVE_ROWS, Segment, Where, read_trials, with_codes
from thalweg.store.trials import StoredTrial, Unreadable, read_trial
from thalweg.trial import FoundBy


@dataclass
class Stored:
    """The trials of a benchmark in columns, sorted by directory name."""

    results: BenchmarkResults
    trials: pd.DataFrame
    """``columns.TRIALS`` and ``json_ns``, the time of the document (equal for all trials of a packed file).

    The label of a row is the trial's number.
    """
    unreadable: list[Unreadable]
    read: int = 0
    """The number of trials that were read from their files instead of the index."""
    _segments: list[Segment] = field(default_factory=list)
    _places: list[np.ndarray[Any, Any]] = field(default_factory=list)
    """For each segment the number of the trial of each row; -1 where the row does not count."""

    def curves(
        self,
        columns: Sequence[str] = tuple(CURVES.names),
        chosen: pd.Index | None = None,
        where: Where = MappingProxyType({}),
    ) -> pd.DataFrame:
        """The rows of the chosen trials' curves (all), in the trials' order; ``trial`` is the trial's number."""
        wanted = np.zeros(1 + max((int(places.max(initial=0)) for places in self._places), default=0), dtype=bool)
        wanted[(self.trials.index if chosen is None else chosen).to_numpy()] = True
        parts = []
        for segment, places in zip(self._segments, self._places, strict=True):
            keep = (places >= 0) & wanted[places]
            if not keep.any():
                continue
            try:
                table = segment.curves(columns, where, keep)
            except (OSError, ValueError):
                # the file is damaged, or another process has merged it with others
                if segment.path is not None:
                    with suppress(OSError):
                        segment.path.unlink()
                segment, places = self._read_again(places[keep])
                table = segment.curves(columns, where)
            rows = table.column("row").to_numpy()
            parts.append(table.drop_columns(["row"]).append_column("trial", pa.array(places[rows])))
        if not parts:
            empty = with_codes(CURVE_ROWS.empty_table()).select(list(columns))
            parts = [empty.append_column("trial", pa.array([], pa.int32()))]
        table = pa.concat_tables(parts).unify_dictionaries()
        frame: pd.DataFrame = table.to_pandas()
        # the rows of one segment are in order
        if not frame["trial"].is_monotonic_increasing:
            frame = frame.sort_values("trial", kind="stable", ignore_index=True)
        return frame

    @property
    def counted(self) -> Stored:
        """The trials that count: unfinished ones count for nobody."""
        unfinished = self.trials["status"] == "unfinished"
        return self.only(~unfinished) if unfinished.any() else self

    def column(self, name: str) -> list[Any]:
        """The values of a column of ``trials``."""
        return self.trials[name].to_numpy(dtype=object).tolist()

    def only(self, mask: pd.Series) -> Stored:
        """Only the trials of the mask; trials keep their numbers."""
        return replace(self, trials=self.trials[mask])

    def files_at(self, number: int) -> Files:
        """The files of a trial."""
        return self.results.files.within(f"trials/{self.trials.loc[number, 'name']!s}")

    @property
    def files(self) -> dict[str, str]:
        """The user's files that made the trials, path to digest; the latest trial's digest where a file has changed."""
        aged = self.trials[self.trials["files"] != ""].sort_values("json_ns")["files"]
        return {path: digest for files in aged for path, digest in json.loads(files).items()}

    @property
    def found(self) -> FoundBy:
        """What was found out about the optimizers that made the trials; the latest trial's where trials differ."""
        aged = self.trials[self.trials["found"] != ""].sort_values("json_ns")["found"].drop_duplicates(keep="last")
        return {(name, provider): found for name, provider, found in map(json.loads, aged)}

    def way(self) -> OnDisk:
        """Which trials count: batched ones, or ones that were trained alone."""
        counts = self.trials["configuration"].value_counts()
        return OnDisk(self.trials["hash"], {str(key): count for key, count in counts.items()})

    @property
    def devices(self) -> list[Device]:
        """The kinds of device that the trials ran on; without any trial, the first of all kinds."""
        there = set(self.trials["device"].unique())
        return [device for device in DEVICES if device in there] or [DEVICES[0]]

    @property
    def by_hash(self) -> Documents:
        """The trials by hash; a lookup reads one trial."""
        return Documents(self)

    def _read_again(self, numbers: np.ndarray[Any, Any]) -> tuple[Segment, np.ndarray[Any, Any]]:
        names = self.trials["name"].reindex(numbers)
        there = names.notna().to_numpy()
        found, _ = read_trials(self.results, names[there].tolist(), np.zeros((int(there.sum()), len(STAMPS)), np.int64))
        number_of = dict(zip(names, numbers, strict=True))
        return found, np.array([number_of[name] for name in found.rows.column("name").to_pylist()], np.int32)


class Documents(Mapping[str, StoredTrial]):
    """Trials by hash; a lookup reads the trial from its files."""

    def __init__(self, stored: Stored) -> None:
        self._stored = stored
        self._numbers: dict[str, int] = dict(zip(stored.column("hash"), stored.trials.index.tolist(), strict=True))

    def __getitem__(self, hash_: str) -> StoredTrial:
        trial = read_trial(self.files(hash_))
        if isinstance(trial, Unreadable):
            raise KeyError(hash_)
        return trial

    def __iter__(self) -> Iterator[str]:
        return iter(self._numbers)

    def __len__(self) -> int:
        return len(self._numbers)

    @property
    def probes(self) -> pd.DataFrame:
        """The keys of done and of failed probes, by hash, for the trials that have probes."""
        trials = self._stored.trials
        some = trials[(trials["probes_done"] != "") | (trials["probes_failed"] != "")]
        return some.drop_duplicates("hash", keep="last").set_index("hash")[["probes_done", "probes_failed"]]

    def files(self, hash_: str) -> Files:
        """The files of a trial."""
        return self._stored.files_at(self._numbers[hash_])
