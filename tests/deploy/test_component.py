from __future__ import annotations

import subprocess
import sys

CODE = """
import gc, os
usual = gc.get_threshold()
from deploy import component
assert gc.get_threshold() == (component.NEW_OBJECTS, *usual[1:])
assert component.NEW_OBJECTS > 10 * usual[0]
child = os.fork()
if not child:
    there = gc.get_freeze_count()
    os._exit((gc.get_threshold() != usual) + 2 * (there < 1_000) + 4 * (len(gc.get_objects()) > 100))
assert not (code := os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])), code
"""


def test_python_looks_for_garbage_seldom_and_in_what_is_forked_as_ever_but_only_among_its_own() -> None:
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
