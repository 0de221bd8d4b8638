"""What `make secrets` writes."""

from __future__ import annotations

import base64
import re
from pathlib import Path

import pytest
from dotenv import dotenv_values

from deploy.cluster import secrets
from include.settings import PROJECT


def test_everything_that_compose_requires_is_made_once_and_for_the_owner_alone(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    required = set(re.findall(r"\$\{(\w+):\?", (PROJECT / "docker-compose.yaml").read_text()))
    assert required
    assert required <= set(secrets.write(file))
    assert file.stat().st_mode & 0o777 == 0o600
    first = file.read_text()
    assert all(value and re.fullmatch(r"[\w=-]+", value) for value in dotenv_values(file).values())
    assert len(base64.urlsafe_b64decode(dotenv_values(file)["AIRFLOW_FERNET_KEY"] or "")) == 32
    assert len(dotenv_values(file)["AIRFLOW_JWT_SECRET"] or "") >= 64, "what SHA-512 asks for"
    assert secrets.write(file) == []
    assert file.read_text() == first
    assert len(set(dotenv_values(file).values())) == len(secrets.MAKES)


def test_what_a_person_has_set_stays(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    mine = "# mine\nexport REDIS_PASSWORD = 'of mine'\nPODSEARCH_SHARDS=8\nPOSTGRES_PASSWORD=\n#AIRFLOW_JWT_SECRET=x"
    file.write_text(mine)
    file.chmod(0o644)
    added = secrets.write(file)
    assert file.read_text().startswith(mine + "\n")
    assert "REDIS_PASSWORD" not in added
    assert {"POSTGRES_PASSWORD", "AIRFLOW_JWT_SECRET"} <= set(added)
    values = dotenv_values(file)
    assert values["REDIS_PASSWORD"] == "of mine"
    assert values["PODSEARCH_SHARDS"] == "8"
    assert values["POSTGRES_PASSWORD"]
    assert file.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [file]


def test_no_value_is_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(secrets, "PROJECT", tmp_path)
    assert secrets.main() == 0
    said = capsys.readouterr().out
    assert "AIRFLOW_ADMIN_PASSWORD" in said
    assert not [
        value for value in dotenv_values(tmp_path / ".env").values() if value and len(value) > 15 and value in said
    ]
    assert secrets.main() == 0
    assert "nothing was missing" in capsys.readouterr().out


def test_a_byte_order_mark_hides_no_secret(tmp_path: Path) -> None:
    """A second password would count, which the database does not have."""
    file = tmp_path / ".env"
    file.write_text("POSTGRES_PASSWORD=mine\n", encoding="utf-8-sig")
    assert "POSTGRES_PASSWORD" not in secrets.write(file)
    assert dotenv_values(file)["POSTGRES_PASSWORD"] == "mine"
