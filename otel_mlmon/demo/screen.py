"""The terminal: one picture that is redrawn, or a line a day where the output is no terminal."""

import math
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from otel_mlmon.demo.flights import Story
from otel_mlmon.demo.inbox import Notice
from otel_mlmon.demo.replay import Moment
from otel_mlmon.demo.window import Recent

_RED, _YELLOW, _GREEN, _DIM, _BOLD, _PLAIN = "\x1b[31m", "\x1b[33m", "\x1b[32m", "\x1b[2m", "\x1b[1m", "\x1b[0m"
_HALF = 14
"""Characters of a bar up to the level; as many again lie beyond it."""
_EIGHTHS = " ▏▎▍▌▋▊▉"


@dataclass(frozen=True, slots=True)
class View:
    """All that one picture shows.

    Attributes:
        moment: Simulated time.
        calls, flights: Since the start.
        late_ratio: Mean predicted probability of this day's flights so far; NaN before the first.
        recent: Every feature in the last simulated day.
        notices: What arrived, oldest first.
    """

    moment: Moment
    calls: int
    flights: int
    late_ratio: float
    recent: Sequence[Recent]
    notices: Sequence[Notice]


def bar(value: float, level: float) -> str:
    """``value`` as a bar whose middle, ``┃``, is ``level``; twice the level fills it.

    >>> bar(1.0, 2.0)
    '███████       ┃              '
    """
    if not math.isfinite(value) or not level > 0:
        return " " * _HALF + "┃" + " " * _HALF
    eighths = round(min(value / level, 2.0) * _HALF * 8)
    full, rest = divmod(eighths, 8)
    cells = ("█" * full + (_EIGHTHS[rest] if rest else "")).ljust(2 * _HALF)
    return cells[:_HALF] + "┃" + cells[_HALF:]


def picture(view: View, story: Story, links: Sequence[tuple[str, str]], *, rows: int) -> list[str]:
    """The lines of one picture.

    Args:
        view: What to show.
        story: The days.
        links: Where to look further: name and address.
        rows: Lines that fit; older notices give way.
    """
    date = view.moment.date
    hours, minutes = divmod(int(view.moment.clock // 60), 60)
    late = "" if math.isnan(view.late_ratio) else f"   {view.late_ratio:.0%} expected late"
    width = max((len(one.feature) + 1 for one in view.recent), default=0)
    lines = [
        f"{_BOLD}otel-mlmon demo{_PLAIN}  departures from New York, 2013: will this flight be late?",
        f"{_BOLD}{date} {hours:02d}:{minutes:02d}{_PLAIN}  day {view.moment.day + 1} of {len(story.days)}: {story.chapter(date)}",
        f"{view.calls:,} calls   {view.flights:,} flights{late}",
        "",
        f"{'':{width}}{'drift, last day':<{2 * _HALF + 12}}missing",
    ]
    lines += [_feature(one, width) for one in view.recent]
    lines += ["", f"{_BOLD}alerts at the webhook{_PLAIN}"]
    free = max(rows - len(lines) - len(links) - 2, 1)
    lines += [f"  {notice.date}  {_colour(notice)}{notice.text}{_PLAIN}" for notice in view.notices[-free:]]
    if not view.notices:
        lines.append(f"  {_DIM}none{_PLAIN}")
    return [*lines, "", *(f"{_DIM}{name}: {address}{_PLAIN}" for name, address in links)]


def _feature(one: Recent, width: int) -> str:
    colour = _RED if one.drifts else _GREEN
    value = f"{one.value:8.2f}" if math.isfinite(one.value) else " " * 8
    missing = f"{one.missing_ratio:7.1%}" if one.missing_ratio > 0 else f"{_DIM}{'-':>7}{_PLAIN}"
    return f"{one.feature:<{width}}{colour}{bar(one.value, one.level)}{_PLAIN}{value}  {missing}"


def _colour(notice: Notice) -> str:
    if not notice.firing:
        return _GREEN
    return _RED if notice.severity == "critical" else _YELLOW


def day_line(view: View) -> str:
    """One day in one line of plain text."""
    over = [f"{one.feature} {one.value / one.level:.1f}x" for one in view.recent if one.drifts]
    missing = [f"{one.feature} {one.missing_ratio:.0%}" for one in view.recent if one.missing_ratio > 0.005]
    return (
        f"{view.moment.date}  {view.calls:5d} calls {view.flights:6d} flights  missing: {', '.join(missing) or 'nothing'}"
        f"  over its normal level: {', '.join(over) or 'nothing'}"
    )


class Screen:
    """Shows views on a terminal or, line by line, anywhere else; a context manager that leaves the terminal as it was."""

    def __init__(self, story: Story, links: Sequence[tuple[str, str]]) -> None:
        self._story = story
        self._links = links
        self._out = sys.stdout
        self._terminal = self._out.isatty() and os.environ.get("TERM", "dumb") != "dumb"
        self._last: View | None = None
        self._told = 0

    def __enter__(self) -> "Screen":
        if self._terminal:
            self._out.write("\x1b[?1049h\x1b[?25l")  # a screen of its own, without cursor
        return self

    def __exit__(self, *_: object) -> None:
        if self._terminal:
            self._out.write("\x1b[?25h\x1b[?1049l")
        if self._last is not None:
            lines = picture(self._last, self._story, self._links, rows=200) if self._terminal else [day_line(self._last)]
            self._out.write("\n".join(lines) + "\n")
        self._out.flush()

    def show(self, view: View) -> None:
        """Show a view: at once on a terminal; elsewhere what arrived since, and each day when it is over."""
        previous, self._last = self._last, view
        if self._terminal:
            rows = os.get_terminal_size(self._out.fileno()).lines
            self._out.write(
                "\x1b[H"
                + "".join(line + "\x1b[K\n" for line in picture(view, self._story, self._links, rows=rows)[: rows - 1])
                + "\x1b[J"
            )
        else:
            if previous is not None and previous.moment.day != view.moment.day:
                self._out.write(day_line(previous) + "\n")
            for notice in view.notices[self._told :]:
                self._out.write(f"{notice.date}  alert: {notice.text}\n")
            self._told = len(view.notices)
        self._out.flush()
