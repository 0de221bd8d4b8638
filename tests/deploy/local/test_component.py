from __future__ import annotations

import subprocess
import sys

CODE = """
import gc, os
usual = gc.get_threshold()
from deploy.local import component
assert gc.get_threshold() == (component.NEW_OBJECTS, *usual[1:])
assert component.NEW_OBJECTS > 10 * usual[0]
child = os.fork()
if not child:
    os._exit(gc.get_threshold() != usual)
assert os.waitpid(child, 0)[1] == 0, gc.get_threshold()
"""


def test_python_looks_for_garbage_seldom_and_as_ever_in_what_is_forked() -> None:
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
