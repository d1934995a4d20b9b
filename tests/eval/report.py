"""The figures in words: a long report for the terminal, a short table for README.md."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import numpy as np

from tests.eval import peers
from tests.eval.calm import DUMMY, MADE_UP, OURS, SIZES, Rates
from tests.eval.changes import Loans
from tests.eval.concept import NOTHING
from tests.eval.figures import Figures
from tests.eval.lasting import DAYS, Found, within
from tests.eval.learned import LEARNED, SPLIT
from tests.eval.traffic import CALIBRATED, WITHIN_HOURS, Calm

CONTENDERS = (OURS, CALIBRATED, *peers.PEERS, DUMMY)
SHOWN_SIZES = (100, 500, 5_000, 100_000)
MODEL_SIZE = 1_000
SHOWN_SHIFTS = ("distance, nothing shifted", "distance +0.3 sd", "distance +0.5 sd", "weather, nothing shifted", "weather +2 sd")
_OURS = (OURS, CALIBRATED)
_DAYS = " / ".join(map(str, DAYS)) + " days"
_ABRUPT, _SPREAD, _GRADUAL = "mean +0.3 sd", "variance x1.5", "mean +0.5 sd over 20 windows"


def readme(figures: Figures) -> str:
    """The table for README.md: a column a contender, a row a figure."""
    rows = [
        ["", *CONTENDERS],
        ["---", *("---:" for _ in CONTENDERS)],
        *([label, *map(cell, CONTENDERS)] for label, cell in lines(figures)),
    ]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def lines(figures: Figures) -> list[tuple[str, Callable[[str], str]]]:
    """Label of each row, and what it says of a contender."""
    return [
        *((f"False alarms, {size:,} random rows", partial(_random, figures, size)) for size in SHOWN_SIZES),
        (f"the same, {MODEL_SIZE:,} rows, any of 50 features", lambda name: _share(_model(figures, name).any.share)),
        ("False alarms, flights in order, a feature", lambda name: _share(in_time(figures, name).feature.share)),
        ("the same, any of 11 features", lambda name: _share(in_time(figures, name).any.share)),
        ("the same, concept alert, a feature", lambda name: _share(_related(figures, name)) if name in _OURS else "no such alert"),
        *(
            (f"Found in one window: {shift}", partial(lambda shift, name: _share(figures.shifts[shift, name].within(1)), shift))
            for shift in (_ABRUPT, _SPREAD)
        ),
        (f"Windows to the alarm: {_GRADUAL}", lambda name: _number(figures.shifts[_GRADUAL, name].delay)),
        ("Found in two days: summer's temperature", lambda name: _share(found_by(figures, name))),
        *((f"Alarms in {_DAYS}, flights in order: {shift}", partial(_lasting, figures.weeks, shift)) for shift in SHOWN_SHIFTS),
        ("Rows to the alarm: car loans", lambda name: _loan(figures, name)),
        ("Found in one window: concept only", lambda name: _share(_concept(figures, name))),
    ]


def text(figures: Figures) -> Iterator[str]:
    """The long report, line by line."""
    yield "False alarms of rows drawn at random, % of feature evaluations / of evaluations of any feature, by rows in a window"
    yield _line("", [f"{size:,}" for size in SIZES], 13)
    for stream in dict.fromkeys(key[0] for key in figures.random):
        yield stream
        for name in dict.fromkeys(key[1] for key in figures.random):
            rates = [figures.random[stream, name, size] for size in SIZES]
            yield _line(name, [_pair(rate) for rate in rates], 13) + f"{rates[0].feature.of:>9,} / {rates[0].any.of:,} each"
    yield "\nThe models' own rules: Evidently's data-set drift, our MlmonModelDrift, any stream, by rows in a window"
    for name in (OURS, "Evidently"):
        yield _line(name, [_share(pooled(figures, name, size).model.share) for size in SIZES], 13)
    yield "\nFalse alarms of flights, January to March in their order, % of feature evaluations / of any of 11 features / own rule"
    yield from _calm(figures.winter)
    yield "\nThe same, served after what was trained on, while the season moves on"
    yield from _calm(figures.forward)
    rate = figures.history.false
    yield f"  {SPLIT.name}, {LEARNED}, once it is: {_share(rate.share)} of {rate.of:,}"
    yield "\nFalse alarms of the concept alert on flights in their order, of evaluations of a feature, labels known at once"
    for (split, name, target), rate in figures.relations.items():
        yield _line(f"{split}, {name}, {target}", [_share(rate.share), f"of {rate.of:,}"], 16)
    yield from _shifted(figures)
    yield f"\nSummer's temperature: found in 24 h, in {WITHIN_HOURS} h, median hours"
    for name, delays in figures.summer.items():
        some = [_share(float((delays <= limit).mean())) for limit in (24, WITHIN_HOURS)]
        yield _line(name, [*some, _number(float(np.median(delays)))], 10)
    yield "\nMade-up shifts of 5,000 rows in 6 h: false before it, found in 1 window, in 2, median delay in windows, periods found"
    for (shift, name), one in figures.shifts.items():
        shares = [_share(value) for value in (one.false.share, one.within(1), one.within(2))]
        yield _line(f"{shift}, {name}", [*shares, _number(one.delay), _share(one.recurring.share)], 10)
    yield "\nConcept drift alone: false before it (feature, any), found in 1 window, median delay in windows; peers' windows"
    for change, one in figures.labels.ours.items():
        shares = [_share(figures.labels.feature[change].share), _share(one.false.share), _share(one.within(1))]
        others = [f"{name} {_share(rate.share)}" for (which, name), rate in figures.labels.peers.items() if which == change]
        yield _line(change, [*shares, _number(one.delay)], 10) + "   " + ", ".join(others)
    yield "\nCar loans: false before the change, rows to the first new alarm, features"
    if not isinstance(figures.car_loans, Loans):
        yield f"  left out: {figures.car_loans}"
        return
    for name in CONTENDERS:
        loans = figures.car_loans
        yield (
            _line(name, [_share(loans.false[name].share), _number(loans.delays[name])], 10)
            + "   "
            + ", ".join(loans.features[name])
        )


def _calm(found: Calm) -> Iterator[str]:
    for (split, name, window), rates in found.rates.items():
        yield _line(f"{split}, {name} {window}", [_pair(rates), _share(rates.model.share), f"of {rates.feature.of:,}"], 16)
    for name in _OURS:
        began, days = found.alerts[name], found.feature_days[name]
        yield f"  {name}: {began} alerts began in {days:,.0f} days of a feature; by feature: " + ", ".join(
            f"{feature} {_share(rate.share)}" for (which, feature), rate in found.worst.items() if which == name
        )


def _shifted(figures: Figures) -> Iterator[str]:
    yield f"\nLasting shifts of flights in their order: served weeks with an alarm in {_DAYS}, of all features and of each"
    found = figures.weeks | figures.history.lasting
    for shift in dict.fromkeys(key[0] for key in found):
        for name in (*CONTENDERS, LEARNED):
            each = {key[2]: {key: delays} for key, delays in found.items() if key[:2] == (shift, name)}
            weeks = sum(len(delays) for one in each.values() for delays in one.values())
            shares = ", ".join(f"{feature} {_lasting(one, shift, name)}" for feature, one in each.items())
            yield _line(f"{shift}, {name}", [_lasting(found, shift, name)], 18) + f" of {weeks}: {shares}"


def pooled(figures: Figures, contender: str, size: int) -> Rates:
    """Over all streams of random rows."""
    found = Rates()
    for (_, name, rows), rates in figures.random.items():
        if (name, rows) == (contender, size):
            for one, other in ((found.feature, rates.feature), (found.any, rates.any), (found.model, rates.model)):
                one.alarms, one.of = one.alarms + other.alarms, one.of + other.of
    return found


def in_time(figures: Figures, contender: str) -> Rates:
    """Over all splits of winter: our alert, or another's windows of a day."""
    found = Rates()
    window = "" if contender in (OURS, CALIBRATED) else "1d"
    for (_, name, length), rates in figures.winter.rates.items():
        if (name, length) == (contender, window):
            for one, other in ((found.feature, rates.feature), (found.any, rates.any), (found.model, rates.model)):
                one.alarms, one.of = one.alarms + other.alarms, one.of + other.of
    return found


def found_by(figures: Figures, contender: str) -> float:
    """Share of summer's days from which on temperature alarms in time."""
    return float((figures.summer[contender] <= WITHIN_HOURS).mean())


def _random(figures: Figures, size: int, contender: str) -> str:
    return _share(pooled(figures, _plain(contender), size).feature.share)


def _model(figures: Figures, contender: str) -> Rates:
    return figures.random[MADE_UP, _plain(contender), MODEL_SIZE]


def _plain(contender: str) -> str:
    """Whose figure of rows without times is shown: timestamps can only raise a level, so ours without them stands for both."""
    return OURS if contender == CALIBRATED else contender


def _related(figures: Figures, contender: str) -> float:
    """Over all splits and both targets."""
    rates = [rate for (_, name, _), rate in figures.relations.items() if name == contender]
    return sum(rate.alarms for rate in rates) / sum(rate.of for rate in rates)


def _lasting(found: Found, shift: str, contender: str) -> str:
    return " / ".join(_share(within(found, shift, contender, days=days)) for days in DAYS)


def _concept(figures: Figures, contender: str) -> float:
    """The worst of the changes for ours; of peers, who see only inputs, the share of windows in which any input alarms."""
    changed = [change for change in figures.labels.ours if change != NOTHING]
    if contender in (OURS, CALIBRATED):
        return min(figures.labels.ours[change].within(1) for change in changed)
    if contender == DUMMY:
        return 1 / peers.DUMMY_PERIOD
    return float(np.mean([figures.labels.peers[change, contender].share for change in changed]))


def _loan(figures: Figures, contender: str) -> str:
    return _number(figures.car_loans.delays[contender]) if isinstance(figures.car_loans, Loans) else "not measured"


def _share(value: float) -> str:
    """A share as a percentage; tiny ones are not rounded to none."""
    if np.isnan(value):
        return ""
    if 0 < value < 0.0005:
        return "< 0.1 %"
    return "0 %" if value == 0 else f"{value * 100:.1f} %" if value < 0.1 else f"{value * 100:.0f} %"


def _number(value: float) -> str:
    return "never" if np.isinf(value) else f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


def _pair(rates: Rates) -> str:
    return f"{rates.feature.share * 100:.2f} / {rates.any.share * 100:.0f}"


def _line(name: str, cells: Sequence[str], width: int) -> str:
    return f"  {name:<48}" + "".join(f"{cell:>{width}}" for cell in cells)
