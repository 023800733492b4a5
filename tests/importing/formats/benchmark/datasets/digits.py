"""The data set of the curves, of which no one needs the data."""

from __future__ import annotations

from benchopt import BaseDataset


class Dataset(BaseDataset):
    """A name."""

    name = "digits"

    def get_data(self):
        return {"name": self.name}
