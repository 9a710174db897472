"""The part of the settings that says how long things are kept."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from pipeline.forgetting import Keeping


class RetentionSettings(BaseModel):
    """For how many days things are kept; 0, for ever, only together with `for_ever`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    crops_days: Annotated[float, Field(ge=0)] = 30.0
    vectors_days: Annotated[float, Field(ge=0)] | None = None  # default: as the crops, which they may not outlive
    events_days: Annotated[float, Field(ge=0)] = 90.0  # who was where, and why it was decided so
    for_ever: bool = False  # says that a 0 is meant

    @model_validator(mode="after")
    def _is_in_order(self) -> Self:
        named = {"crops_days": self.crops_days, "vectors_days": self.vectors_days, "events_days": self.events_days}
        unlimited = [name for name, days in named.items() if days == 0]
        if unlimited and not self.for_ever:
            raise ValueError(
                f"{unlimited[0]} is 0, which keeps people for ever; give a number of days, or add `for_ever: true` if "
                "you may and want to"
            )
        _ = self.keeping  # raises where one kind would outlive the next
        return self

    @property
    def keeping(self) -> Keeping:
        vectors = self.crops_days if self.vectors_days is None else self.vectors_days
        return Keeping(vectors or None, self.crops_days or None, self.events_days or None)


class CameraRetentionSettings(BaseModel):
    """What of `retention` is otherwise for one camera."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    crops_days: Annotated[float, Field(ge=0)] | None = None
    vectors_days: Annotated[float, Field(ge=0)] | None = None
    events_days: Annotated[float, Field(ge=0)] | None = None
    for_ever: bool | None = None

    def over(self, site: RetentionSettings) -> RetentionSettings:
        """The site's, changed. Raises `ValueError` where that does not fit together."""
        return RetentionSettings.model_validate(site.model_dump() | self.model_dump(exclude_none=True))
