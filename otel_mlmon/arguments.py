"""What a monitor is given, checked before anything starts."""

from collections.abc import Sequence
from typing import get_args

from otel_mlmon.identity import cohort_problem
from otel_mlmon.outputs import TASKS, Task
from otel_mlmon.reference import Reference
from otel_mlmon.schema import Schema
from otel_mlmon.settings import LOGGED_OUTPUTS, History, PredictionLog, Threshold, check_thresholds


def check_arguments(
    name: str,
    *,
    task: Task | None,
    reference: Reference | None,
    schema: Schema | None,
    learn_rows: int | None,
    thresholds: Sequence[Threshold],
    learn_normal: History | None,
    cohorts: Sequence[str],
    prediction_log: PredictionLog | None,
) -> None:
    """Check the arguments of ``Monitor`` by themselves and against each other.

    Raises:
        ValueError: If one is wrong, or two contradict each other.
    """
    if not name:
        raise ValueError("monitor: name must not be empty")
    if task is not None and task not in TASKS:
        raise ValueError(f"monitor {name!r}: task must be one of {TASKS}, got {task!r}")
    if reference is not None:
        if schema != reference.schema:
            raise ValueError(f"monitor {name!r}: schema must be the reference's, leave it out, got {schema!r}")
        if reference.task not in (None, task):
            raise ValueError(f"monitor {name!r}: the reference was built for task {reference.task!r}, got {task!r}")
        if learn_rows is not None:
            raise ValueError(f"monitor {name!r}: learn_rows is for a monitor without a reference, got {learn_rows!r}")
    if learn_rows is not None and learn_rows < 1:
        raise ValueError(f"monitor {name!r}: learn_rows must be positive, got {learn_rows!r}")
    if learn_normal is not None and learn_normal not in get_args(History):
        raise ValueError(f"monitor {name!r}: learn_normal must be one of {get_args(History)} or None, got {learn_normal!r}")
    if reference is not None:  # it knows the features that are derived from others, too
        check_thresholds(thresholds, [profile.feature for profile in reference.profiles])
    else:
        check_thresholds(thresholds, schema.names if schema is not None else None)
    if schema is None:  # nobody can tell yet
        return
    problems = filter(None, (cohort_problem(cohort, schema) for cohort in cohorts))
    if problem := next(problems, ""):
        raise ValueError(f"monitor {name!r}: {problem}")
    for field in prediction_log.fields if prediction_log is not None else ():
        if field not in (*schema.names, *LOGGED_OUTPUTS):
            raise ValueError(f"monitor {name!r}: fields of the prediction log must be features of the schema, got {field!r}")
