"""Why something failed, as data."""

from __future__ import annotations

import traceback

from pydantic import BaseModel, ConfigDict


class Failure(BaseModel):
    """The exception's class, its message in one line, and the traceback for those who want it."""

    model_config = ConfigDict(extra="ignore")

    kind: str
    message: str
    traceback: str = ""

    @classmethod
    def of(cls, error: BaseException) -> Failure:
        """The failure that an exception means. An error for want of device memory gets the device's figures."""
        message = " ".join(str(error).split()) or type(error).__name__
        if type(error).__name__ == "OutOfMemoryError":
            from thalweg.memory import device_figures

            message += f" ({device_figures()})"
        return cls(kind=type(error).__name__, message=message, traceback="".join(traceback.format_exception(error)))

    @property
    def line(self) -> str:
        """Kind and message."""
        return f"{self.kind}: {self.message}"
