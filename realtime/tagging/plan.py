"""Which work comes next, for whoever does it: files in order, parts of long ones, and another try for what was lost."""

import logging
import math
from collections import Counter, deque
from collections.abc import Iterable, Mapping
from typing import Any

from instrec_live.realtime.errors import printable
from instrec_live.realtime.tagging.find import Item
from instrec_live.realtime.tagging.part import Heard
from instrec_live.realtime.tagging.tally import Record
from instrec_live.realtime.tagging.task import Cut, Joined, Part, Task, Whole

log = logging.getLogger(__name__)

Result = Record | Cut | Heard


class Plan:
    """Hands out tasks and takes back what comes of them, until there is one record for each item.

    Args:
        items: files to tag.
        tries: how often the process that works on a file may die before the file itself is blamed.
    """

    def __init__(self, items: Iterable[Item], tries: int) -> None:
        self._waiting: deque[Task] = deque(Whole(item) for item in items)
        self._tries, self._tried = tries, Counter[str]()
        self._parts: dict[str, list[Heard | None]] = {}  # of files in parts, by name

    @property
    def waiting(self) -> int:
        """How many tasks can be taken now."""
        return len(self._waiting)

    def take(self, processes: int) -> Task:
        """The next task, for one of so many processes. A file that others would have to wait for may be cut."""
        task = self._waiting.popleft()
        if isinstance(task, Whole):
            return Whole(task.item, math.ceil(processes / (len(self._waiting) + 1)))
        return task

    def done(self, task: Task, result: Result) -> Record | None:
        """What has come of a task; the record of its file, if that is all."""
        name = task.item.name
        match result:
            case Record():
                return result
            case Cut(spans):
                self._parts[name] = [None] * len(spans)
                self._waiting.extendleft(reversed([Part(task.item, number, span) for number, span in enumerate(spans)]))
            case Heard() if isinstance(task, Part) and (parts := self._parts.get(name)) is not None:
                parts[task.number] = result
                whole = tuple(part for part in parts if part is not None)
                if len(whole) == len(parts):
                    del self._parts[name]
                    self._waiting.appendleft(Joined(task.item, whole))
        return None

    def lost(self, task: Task, death: str) -> Record | None:
        """The process that had a task has died; it comes once more, or the record says what it does to processes."""
        name = task.item.name
        if isinstance(task, Part) and name not in self._parts:
            return None  # of a file that has been given up
        self._tried[name] += 1
        if self._tried[name] < self._tries:
            log.warning("%s: the process that read it died (%s); trying once more", printable(name), death)
            self._waiting.appendleft(task)
            return None
        self._parts.pop(name, None)
        self._waiting = deque(each for each in self._waiting if each.item.name != name)
        return Record(name, None, None, (), f"makes the process that reads it die ({death})")


def unlike(facts: Mapping[str, Any], first: Mapping[str, Any]) -> str | None:
    """Why a process must not work beside the first one, by what the results of each depend on; None if it may."""
    other = [key for key in facts if facts[key] != first.get(key)]
    return f"there the {' and '.join(other)} would be another (--engine names one)" if other else None
