"""Kaggle's side of Airflow: a connection of type ``kaggle`` and its hook.

The form of the connection in Airflow's pages is defined in deploy/provider.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow.sdk import BaseHook
from airflow.sdk.exceptions import AirflowNotFoundException

from include.errors import PermanentError
from include.settings import get_settings

if TYPE_CHECKING:
    from include.episodes.sources.kaggle_api import KaggleApi


class KaggleHook(BaseHook):
    """Opens Kaggle with the credentials of a connection.

    The connection's password is an API token; or, with a login, the key of that user.

    :param kaggle_conn_id: id of the connection.
    """

    conn_name_attr = "kaggle_conn_id"
    default_conn_name = "kaggle_default"
    conn_type = "kaggle"
    hook_name = "Kaggle"

    def __init__(self, kaggle_conn_id: str = default_conn_name) -> None:
        super().__init__()
        self.kaggle_conn_id = kaggle_conn_id

    def get_conn(self) -> KaggleApi:
        """Kaggle as the connection's account sees it; no request is sent yet.

        :raises PermanentError: there is no such connection, or it has no credentials.
        """
        from include.episodes.sources.kaggle_api import ACCOUNT_PAGE, Credentials, KaggleApi

        how = (
            f"create an API token at {ACCOUNT_PAGE}, and put it into the password of a connection of type Kaggle "
            f"(Admin, Connections) or into AIRFLOW_CONN_{self.kaggle_conn_id.upper()}; see .env.example"
        )
        try:
            connection = self.get_connection(self.kaggle_conn_id)
        except AirflowNotFoundException:
            raise PermanentError(f"Airflow has no connection {self.kaggle_conn_id}: {how}.") from None
        if not connection.password:
            raise PermanentError(f"The connection {self.kaggle_conn_id} has no password: {how}.")
        return KaggleApi(Credentials(connection.password.strip(), (connection.login or "").strip() or None))

    def test_connection(self) -> tuple[bool, str]:
        """Ask Kaggle once, for the newest version of the dataset in the settings."""
        from include.episodes.sources.kaggle_api import Dataset

        dataset = Dataset(*get_settings().episodes.kaggle_dataset.split("/")[:2])
        try:
            return True, f"{dataset} is at version {self.get_conn().latest_version(dataset)}."
        except Exception as error:
            return False, str(error)
