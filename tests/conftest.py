"""What holds for every test: it touches neither the Airflow nor the podsearch of the person who runs it."""

from __future__ import annotations

import os
import tempfile

# Before Airflow is imported: it makes its folders then.
_home = tempfile.TemporaryDirectory(prefix="podsearch-tests-")
for _name in [name for name in os.environ if name.startswith(("AIRFLOW_", "PODSEARCH_"))]:
    if not _name.startswith("PODSEARCH_TEST_"):
        del os.environ[_name]
os.environ["AIRFLOW_HOME"] = _home.name
os.environ["AIRFLOW__CORE__LOAD_EXAMPLES"] = "False"
