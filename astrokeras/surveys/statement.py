"""Statement: what a survey map says, and whether it was read in a source."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, model_validator


class Statement(BaseModel):
    """A statement about a survey. What was not read in the survey's own documents or files says so.

    Parameters
    ----------
    verified : bool
        Whether the statement was checked against a source.
    note : str
        What a user should know; where ``verified`` is false, what is in doubt.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    verified: bool = True
    note: str = ""

    @model_validator(mode="after")
    def _doubt_is_explained(self) -> Statement:
        if not self.verified and not self.note:
            raise ValueError("verified: false needs a note that says what is in doubt")
        return self
