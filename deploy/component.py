"""``python -m deploy.component …``: ``airflow …``, and Python looks for garbage seldom. Workers of a cluster import it.

It does so whenever hundreds of objects have come, in vain while Airflow is imported: of what its API server took to
start, that was a quarter. The threshold is set at import, for the process that tasks are forked from only imports this.
What is forked has Python's own again: tasks may train for days, with a GPU's memory. It looks at its own objects only:
to look at the million that it was born with copies the memory that they are in.
"""

from __future__ import annotations

import gc
import os
import runpy

NEW_OBJECTS = 50_000
"""So many between two looks; with ten times and a hundred times as many for what has survived, as Python has it."""

_usual = gc.get_threshold()
gc.set_threshold(NEW_OBJECTS, *_usual[1:])


def _in_what_is_forked() -> None:
    gc.freeze()
    gc.set_threshold(*_usual)


os.register_at_fork(after_in_child=_in_what_is_forked)

if __name__ == "__main__":
    runpy.run_module("airflow", run_name="__main__", alter_sys=True)
