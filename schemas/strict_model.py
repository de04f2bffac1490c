"""The base class of what users write and bitmill stores."""

from pydantic import BaseModel, ConfigDict


class StrictModel(BaseModel):
    """A frozen model that rejects unknown keys.

    A model with a mutable default derives from pydantic's BaseModel itself, or ruff would not know that the
    default is copied.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
