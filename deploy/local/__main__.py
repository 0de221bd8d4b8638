"""``python -m deploy.local run|up|down``: the pipeline and its Airflow on one machine."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from types import FrameType

from rich.text import Text

from deploy.local.api import AirflowApi, ApiError
from deploy.local.environment import airflow_environment, airflow_home, logs_folder, require_free_port
from deploy.local.follow import Follower
from deploy.local.processes import SEARCH, Airflow, ComponentError
from include import terminal
from include.devices.inventory import visible_gpus
from include.errors import PermanentError
from include.home import VARIABLE, claim, find_home
from include.search.http.access import read_token, require_safe
from include.settings import Settings, SettingsError, get_settings
from operators.pools import POOLS, Pool

DAGS = ["ingest_episodes", "train_retriever", "reindex_episodes"]
console = terminal.console(highlight=False, soft_wrap=True)


class _Interrupts:
    """Ends a command at SIGINT and SIGTERM, even when the exception gets lost.

    Python drops what is raised within a destructor or an extension's callback, so every wait checks, too.
    """

    def __init__(self) -> None:
        self._seen = False

    def watch(self) -> None:
        """From now on; a shell's background jobs begin with SIGINT ignored."""
        self._seen = False
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._interrupt)

    def check(self) -> None:
        """:raises KeyboardInterrupt: a signal has come."""
        if self._seen:
            raise KeyboardInterrupt

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        self._seen = True
        raise KeyboardInterrupt


interrupts = _Interrupts()


def main(arguments: list[str] | None = None) -> int:
    """Run one command; 0 if all went well."""
    parser = argparse.ArgumentParser(prog="python -m deploy.local", description=__doc__)
    parser.add_argument(
        "command",
        choices=["run", "up", "down"],
        help="run the pipeline once; start Airflow and search and leave them running; stop them",
    )
    parser.add_argument("--without-search", action="store_true", help="with up: start Airflow only")
    options = parser.parse_args(arguments)
    interrupts.watch()
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    try:
        if options.command == "down":
            return down()
        settings = get_settings()
        return run(settings) if options.command == "run" else up(settings, search=not options.without_search)
    except (PermanentError, ComponentError, ApiError, OSError) as error:
        console.print(Text(str(error), style="red"))
        return 1
    except KeyboardInterrupt:
        console.print(Text("Interrupted. Finished work is kept: run it again to continue.", style="yellow"))
        return 130


def run(settings: Settings) -> int:
    """Run the pipeline once, from new episodes to search; 0 if every DAG run succeeded."""
    since = datetime.now(UTC)
    _claim(settings)
    airflow = _airflow(settings)
    mine = not airflow.is_whole()
    api = _start(settings, airflow, outlive_parent=False) if mine else _connect(settings, airflow)
    try:
        follower = Follower(api, logs_folder(settings), console, since=since)
        api.trigger("ingest_episodes")
        check = _checks(airflow)
        runs = follower.follow(DAGS, check)
        left = _left_undone(settings)
        if all(run.state == "success" for run in runs) and left and left not in {run.dag_id for run in runs}:
            # An earlier run failed after the episodes were in: nothing new will start what it left.
            api.trigger(left)
            runs = follower.follow(DAGS, check)
        for task in follower.failures(runs):
            console.print(Text(f"\n{task.dag_id} · {task.label} failed; the end of its log:", style="bold red"))
            console.print(Text("\n".join(follower.log_lines(task, 30))))
        failed = sorted({run.dag_id for run in runs if run.state != "success"})
    finally:
        if mine:
            airflow.stop()
    if failed:
        console.print(
            Text(f"\nFailed: {', '.join(failed)}. Search continues with what was live before.", style="bold red")
        )
        return 1
    from deploy.local.summary import show_summary

    logging.getLogger("sentence_transformers").setLevel(logging.WARNING)
    show_summary(settings, console)
    return 0


def up(settings: Settings, *, search: bool = True) -> int:
    """Start Airflow and leave it running on its schedules, and search beside it."""
    _claim(settings)
    airflow = _airflow(settings)
    search = search and SEARCH not in airflow.running()
    if search:
        require_safe(settings.search.host, read_token(settings.search.token_file))
        require_free_port(settings.search.host, settings.search.port, "PODSEARCH_SEARCH_PORT")
    api = _connect(settings, airflow) if airflow.is_whole() else _start(settings, airflow, outlive_parent=True)
    user, password = api.login()
    console.print(
        Text(f"\nAirflow runs at {airflow.url}", style="bold"),
        Text(f"  log in as {user} with the password {password}"),
        Text("  stop it with: make down"),
        sep="\n",
    )
    if search:
        console.print(Text("Starting search …", style="dim"))
        airflow.start_search(settings.search.reached_at, interrupts.check)
        console.print(Text(f"Search is served at {settings.search.reached_at}", style="bold"))
    elif SEARCH in airflow.running():
        console.print(Text(f"Search is already being served: {airflow.log_file(SEARCH)}"))
    return 0


def down() -> int:
    """Stop what `make up` left running, whatever is wrong with the settings or keys that it started with.

    :raises SettingsError: there can be no such home.
    """
    try:
        home = find_home()
    except ValueError as error:
        raise SettingsError(f"{VARIABLE}: {error}") from None
    stopped = Airflow(airflow_home(home), {}).stop()
    console.print(Text(f"Stopped {', '.join(stopped)}." if stopped else "Airflow was not running."))
    return 0


def _claim(settings: Settings) -> None:
    """:raises SettingsError: the home cannot be podsearch's."""
    try:
        claim(settings.installation.home)
    except ValueError as error:
        raise SettingsError(f"{VARIABLE}: {error}") from None


def _airflow(settings: Settings) -> Airflow:
    return Airflow(airflow_home(settings.installation.home), airflow_environment(settings))


def _checks(airflow: Airflow) -> Callable[[], None]:
    """What every wait calls between two looks: raises when waiting is in vain."""

    def check() -> None:
        interrupts.check()
        airflow.check()

    return check


def _start(settings: Settings, airflow: Airflow, *, outlive_parent: bool) -> AirflowApi:
    """Bring Airflow up, or leave nothing running; what is left of one that was killed is stopped before."""
    with airflow.starting():
        airflow.stop()
        require_free_port(settings.airflow.host, settings.airflow.port, "PODSEARCH_PORT")
        console.print(Text("Starting Airflow …", style="dim"))
        try:
            has_records = airflow.migrate()
            if has_records and outlive_parent:  # one that ends with its command is cleaned by the next `make up`
                airflow.clean_database(settings.housekeeping.keep_log_days)
            airflow.start(outlive_parent=outlive_parent)
            return _connect(settings, airflow)
        except BaseException:
            airflow.stop()
            raise


def _connect(settings: Settings, airflow: Airflow) -> AirflowApi:
    """Wait until Airflow is up, with its pools, and its DAGs read and unpaused.

    :raises ComponentError: it runs with another address than the settings have.
    """
    if airflow.running_at() != airflow.url:
        raise ComponentError(
            f"Airflow is already running at {airflow.running_at()}, not at {airflow.url}: set PODSEARCH_HOST, "
            "PODSEARCH_PORT and PODSEARCH_BASE_URL as they were when it was started, or stop it with `make down`."
        )
    api = AirflowApi(settings)
    check = _checks(airflow)
    api.wait_until_up(check)
    for pool, (slots, description) in POOLS.items():
        if pool == Pool.GPU and settings.devices.device != "cpu":
            slots = max(slots, len(visible_gpus()))
        api.ensure_pool(pool, slots, description)
    api.wait_for_dags(DAGS, check)
    for dag_id in DAGS:
        api.unpause(dag_id)
    return api


def _left_undone(settings: Settings) -> str | None:
    """The DAG that should run although nothing starts it; training starts re-indexing by itself."""
    from include.episodes import snapshot
    from include.index.live import read_live
    from include.retriever.recipe import read_recipe
    from include.retriever.training.plan import why_due
    from include.storage import ArtifactStore

    store = ArtifactStore(settings.installation.artifacts_root)
    live, latest = read_live(store), snapshot.latest(store)
    if latest is None:
        return None
    if why_due(
        store,
        base_model=settings.training.base_model,
        recipe=read_recipe(settings.training.recipe),
        retrain_after_days=settings.training.retrain_after_days,
    ):
        return "train_retriever"
    return "reindex_episodes" if live is None or live.snapshot_id != latest.snapshot_id else None


if __name__ == "__main__":
    sys.exit(main())
