"""The base class of what users write and bitmill stores."""

from typing import ClassVar

from pydantic import BaseModel, ConfigDict


class StrictModel(BaseModel):
    """A frozen model that rejects unknown keys.

    A model with a mutable default names BaseModel too, or ruff would not know that the default is copied.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")


class JsonFile(BaseModel):
    """A model that is a whole JSON file."""

    json_indent: ClassVar[int] = 2

    def to_json(self) -> bytes:
        """Return the file's bytes."""
        return (self.model_dump_json(indent=self.json_indent) + "\n").encode()
