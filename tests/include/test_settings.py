from __future__ import annotations

from pathlib import Path

import pytest

from include import settings as settings_module
from include.settings import PROJECT, SAMPLE_DIR, SettingsError, get_settings
from tests.include.conftest import error_of

pytestmark = pytest.mark.usefixtures("dotenv")


def test_nothing_needs_to_be_set() -> None:
    settings = get_settings()
    assert (settings.installation.profile, settings.episodes.dataset_dir, settings.training.base_model) == (
        "local",
        SAMPLE_DIR,
        "all-MiniLM-L6-v2",
    )
    assert settings.installation.artifacts_root == str(PROJECT / ".podsearch" / "artifacts")
    assert settings.index_root == str(PROJECT / ".podsearch" / "artifacts" / "index")
    assert settings.curated_queries_path == SAMPLE_DIR / "curated_queries.csv"


def test_a_profile_is_a_set_of_defaults_and_no_more(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PODSEARCH_PROFILE", "production")
    monkeypatch.setenv("PODSEARCH_DATASET_DIR", str(tmp_path))
    assert get_settings().devices.device == "cuda"
    monkeypatch.setenv("PODSEARCH_DEVICE", "cpu")
    get_settings.cache_clear()
    settings = get_settings()
    assert (settings.devices.device, settings.training.base_model) == ("cpu", "distiluse-base-multilingual-cased-v2")


def test_the_environment_goes_before_dotenv_and_dotenv_before_the_profile(
    monkeypatch: pytest.MonkeyPatch, dotenv: Path
) -> None:
    dotenv.write_text(
        "PODSEARCH_PROFILE=production\nPODSEARCH_DATASET_DIR=/data\nPODSEARCH_DEVICE=auto\nPODSEARCH_SHARDS=7\nOTHER=1\n"
    )
    monkeypatch.setenv("PODSEARCH_SHARDS", "9")
    settings = get_settings()
    assert (settings.episodes.shards, settings.devices.device) == (9, "auto")
    assert settings.training.base_model == "distiluse-base-multilingual-cased-v2"


def test_an_empty_variable_is_one_that_is_not_set(monkeypatch: pytest.MonkeyPatch, dotenv: Path) -> None:
    """Compose files pass variables on whether or not they have a value."""
    for name in ("PROFILE", "DATASET_DIR", "SHARDS", "ARTIFACTS"):
        monkeypatch.setenv(f"PODSEARCH_{name}", "")
    dotenv.write_text("PODSEARCH_SHARDS=7\nPODSEARCH_CURATED_QUERIES=\n")
    settings = get_settings()
    assert (settings.installation.profile, settings.episodes.dataset_dir, settings.episodes.shards) == (
        "local",
        SAMPLE_DIR,
        7,
    )


def test_relative_paths_start_at_the_project(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Airflow starts each component in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    for name in ("HOME", "ARTIFACTS", "INDEX_LOCATION", "DATASET_DIR", "CURATED_QUERIES"):
        monkeypatch.setenv(f"PODSEARCH_{name}", f"data/{name.lower()}")
    settings = get_settings()
    assert settings.installation.home == PROJECT / "data" / "home"
    assert settings.installation.artifacts_root == str(PROJECT / "data" / "artifacts")
    assert settings.index_root == str(PROJECT / "data" / "index_location")
    assert settings.episodes.dataset_dir == PROJECT / "data" / "dataset_dir"
    assert settings.curated_queries_path == PROJECT / "data" / "curated_queries"


def test_a_tilde_is_the_home_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PODSEARCH_HOME", "~/podsearch")
    monkeypatch.setenv("PODSEARCH_ARTIFACTS", "~/artifacts")
    settings = get_settings()
    assert (settings.installation.home, settings.installation.artifacts_root) == (
        tmp_path / "podsearch",
        str(tmp_path / "artifacts"),
    )


def test_urls_are_left_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PODSEARCH_ARTIFACTS", "s3://bucket/podsearch/")
    settings = get_settings()
    assert settings.installation.artifacts_root == "s3://bucket/podsearch/"
    assert settings.index_root == "s3://bucket/podsearch/index"


def test_production_reads_from_kaggle_and_needs_no_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PODSEARCH_PROFILE", "production")
    settings = get_settings()
    assert (settings.episodes.source, settings.episodes.dataset_dir) == ("kaggle", None)
    assert settings.curated_queries_path is None


def test_production_searches_pinecone(monkeypatch: pytest.MonkeyPatch) -> None:
    assert get_settings().index_name == get_settings().index_root
    monkeypatch.setenv("PODSEARCH_PROFILE", "production")
    monkeypatch.setenv("PODSEARCH_PINECONE_API_KEY", "pcsk_secret")
    get_settings.cache_clear()
    settings = get_settings()
    assert (settings.index.backend, settings.index_name, settings.index.pinecone_host) == (
        "pinecone",
        "podsearch",
        "https://api.pinecone.io",
    )
    assert "pcsk_secret" not in repr(settings)


@pytest.mark.parametrize(
    ("name", "value"), [("PINECONE_INDEX", "Pod_Search"), ("PINECONE_INDEX", "x" * 34), ("PINECONE_HOST", "pinecone")]
)
def test_what_pinecone_does_not_take_is_refused(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    assert f"PODSEARCH_{name}" in error_of(monkeypatch, **{f"PODSEARCH_{name}": value})


def test_a_directory_must_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    message = error_of(monkeypatch, PODSEARCH_PROFILE="production", PODSEARCH_SOURCE="directory")
    assert message == "No episodes to read: set PODSEARCH_DATASET_DIR to a folder with podcasts.csv and episodes.csv."


def test_every_mistake_is_one_line_that_names_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    message = error_of(
        monkeypatch,
        PODSEARCH_PROFILE="staging",
        PODSEARCH_SHARDS="many",
        PODSEARCH_PORT="0",
        PODSEARCH_DEVICE="hunter2",
    )
    lines = message.splitlines()
    assert sorted(line.split(":")[0] for line in lines) == [
        "PODSEARCH_DEVICE",
        "PODSEARCH_PORT",
        "PODSEARCH_PROFILE",
        "PODSEARCH_SHARDS",
    ]
    assert "PODSEARCH_PROFILE: Input should be 'local' or 'production'" in lines
    assert "hunter2" not in message, "values stay out of messages: one of them may be a secret"


def test_a_list_of_feeds_must_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "PODSEARCH_FEEDS" in error_of(monkeypatch, PODSEARCH_SOURCE="feeds")
    monkeypatch.setenv("PODSEARCH_FEEDS", "lists/feeds.opml")
    get_settings.cache_clear()
    assert get_settings().episodes.required_feeds == PROJECT / "lists" / "feeds.opml"


def test_the_contact_of_feeds_cannot_add_to_a_header(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "PODSEARCH_FEEDS_CONTACT" in error_of(monkeypatch, PODSEARCH_FEEDS_CONTACT="me@x.example\r\nCookie: a")


@pytest.mark.parametrize(
    "name",
    ["podcasts", "owner/../x", "owner/name/3", "owner/name/versions/0", "https://www.kaggle.com/owner/name", "/"],
)
def test_a_dataset_of_kaggle_is_named_by_owner_and_name(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    assert "PODSEARCH_KAGGLE_DATASET" in error_of(monkeypatch, PODSEARCH_KAGGLE_DATASET=name)


def test_curated_queries_of_the_sample_are_not_asked_of_another_catalogue(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PODSEARCH_SOURCE", "kaggle")
    assert get_settings().curated_queries_path is None


def test_settings_are_read_once_and_never_changed() -> None:
    settings = get_settings()
    assert get_settings() is settings
    with pytest.raises(ValueError, match="frozen"):
        settings.episodes.shards = 3  # type: ignore[misc]


def test_a_dataset_without_curated_queries_has_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PODSEARCH_DATASET_DIR", str(tmp_path))
    assert get_settings().curated_queries_path is None
    (tmp_path / "curated_queries.csv").touch()
    assert get_settings().curated_queries_path == tmp_path / "curated_queries.csv"


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("PODSEARCH_SHADRS", "PODSEARCH_SHARDS"),
        ("podsearch_hom", "PODSEARCH_HOME"),
        ("PODSEARCH_TEST_DATASET", "PODSEARCH_TEST_DATASETS"),
    ],
)
@pytest.mark.parametrize("where", ["environment", "dotenv"])
def test_a_variable_that_nothing_reads_is_named_with_the_nearest(
    monkeypatch: pytest.MonkeyPatch, dotenv: Path, name: str, nearest: str, where: str
) -> None:
    """It was ignored in silence. The variables of others are theirs."""
    dotenv.write_text(f"OTHER=1\n{name}=hunter2\n" if where == "dotenv" else "OTHER=1\n")
    message = error_of(monkeypatch, **({name: "hunter2"} if where == "environment" else {}))
    assert message == f"{name}: there is no such setting; the closest match is {nearest}. Correct it or remove it."


def test_every_variable_that_the_tests_and_make_use_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TEST_DATASETS", "HOME", "PORT", "FEEDS"):
        assert f"PODSEARCH_{name}" in settings_module.KNOWN
    monkeypatch.setenv("PODSEARCH_TEST_DATASETS", "/data")
    assert get_settings().episodes.shards == 4


@pytest.mark.parametrize("name", ["HOME", "ARTIFACTS", "DATASET_DIR"])
@pytest.mark.parametrize(
    ("value", "said"), [("~nouser/x", "there is no such user"), ("x" * 5_000, "cannot be used (File name too long)")]
)
def test_a_path_that_can_be_none_is_shown(monkeypatch: pytest.MonkeyPatch, name: str, value: str, said: str) -> None:
    message = error_of(monkeypatch, **{f"PODSEARCH_{name}": value})
    assert message.startswith(f"PODSEARCH_{name}: {value}")
    assert said in message


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PODSEARCH_WEB_SERVICE_HOST", "10.0.0.7"),
        ("PODSEARCH_WEB_SERVICE_PORT", "8080"),
        ("PODSEARCH_WEB_SERVICE_PORT_HTTP", "8080"),
        ("PODSEARCH_WEB_PORT", "tcp://10.0.0.7:8080"),
        ("PODSEARCH_WEB_PORT_8080_TCP", "tcp://10.0.0.7:8080"),
        ("PODSEARCH_WEB_PORT_8080_TCP_PROTO", "tcp"),
        ("PODSEARCH_WEB_PORT_8080_TCP_PORT", "8080"),
        ("PODSEARCH_WEB_PORT_53_UDP_ADDR", "10.0.0.7"),
        ("PODSEARCH_SERVICE_HOST", "10.0.0.7"),
        ("PODSEARCH_PORT_8080_TCP", "tcp://10.0.0.7:8080"),
        ("PODSEARCH_PORT", "tcp://10.0.0.7:8080"),
        ("PODSEARCH_SEARCH_PORT", "tcp://10.0.0.7:8080"),
    ],
)
def test_what_kubernetes_sets_beside_a_service_is_no_setting(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    """Each pod has these of every Service of its namespace: podsearch-web, or podsearch."""
    monkeypatch.setenv(name, value)
    assert (get_settings().airflow.port, get_settings().search.port) == (8080, 8090)


@pytest.mark.parametrize("name", ["PODSEARCH_WEB_PORT", "PODSEARCH_SERVICE", "PODSEARCH_WEB_SERVICE_HOSTS"])
def test_what_only_looks_like_a_service_is_an_error(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    assert error_of(monkeypatch, **{name: "8090"}).startswith(f"{name}: there is no such setting")


@pytest.mark.parametrize(
    ("line", "encoding", "said"),
    [
        ("PODSEARCH_SHARDS: 7", "utf-8", "line 2"),
        ("PODSEARCH_SHARDS", "utf-8", "line 2"),
        ('PODSEARCH_DATASET_DIR="/data', "utf-8", "line 2"),
        ("# Übung", "latin-1", "is not UTF-8"),
        ("PODSEARCH_SHARDS=7", "utf-16", "is not UTF-8"),
    ],
)
def test_a_line_of_dotenv_that_cannot_be_read_is_not_passed_over(
    dotenv: Path, line: str, encoding: str, said: str
) -> None:
    dotenv.write_text(f"OTHER=1\n{line}\nPODSEARCH_PORT=9000\n", encoding=encoding)
    with pytest.raises(SettingsError, match=said) as caught:
        get_settings()
    assert str(dotenv) in str(caught.value)
