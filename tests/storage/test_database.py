"""The database: durable settings, short transactions, translated errors."""

from __future__ import annotations

import resource
import sqlite3
import threading
from pathlib import Path

import pytest
from sqlalchemy import text

from sdwebui.domain.errors import ConfigurationError, Overloaded, StorageFull
from sdwebui.storage.database import Database, sqlite_url, translated
from sdwebui.storage.migrations import upgrade


@pytest.fixture
def database(tmp_path):
    path = tmp_path / "test.db"
    made = Database(sqlite_url(path))
    with made.write() as connection:
        connection.execute(text("create table t (x)"))
    yield made
    made.close()


def rows(database: Database) -> int:
    with database.read() as connection:
        return int(connection.execute(text("select count(*) from t")).scalar_one())


def test_committed_means_on_disk(database):
    with database.read() as connection:
        for pragma, value in (("journal_mode", "wal"), ("synchronous", 2), ("foreign_keys", 1)):
            assert connection.exec_driver_sql(f"PRAGMA {pragma}").scalar_one() == value
        assert connection.exec_driver_sql("PRAGMA busy_timeout").scalar_one() == 10_000


def test_an_error_in_the_block_undoes_all_of_it(database):
    with pytest.raises(KeyError), database.write() as connection:
        connection.execute(text("insert into t values (1)"))
        raise KeyError
    assert rows(database) == 0


def test_readers_do_not_wait_for_a_writer(database):
    with database.write() as connection:
        connection.execute(text("insert into t values (1)"))
        assert rows(database) == 0
    assert rows(database) == 1


def test_writers_from_many_threads_wait_for_each_other(database):
    def write() -> None:
        for _ in range(10):
            with database.write() as connection:
                count = connection.execute(text("select count(*) from t")).scalar_one()
                connection.execute(text("insert into t values (:x)"), {"x": count})

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with database.read() as connection:
        assert connection.execute(text("select x from t order by x")).scalars().all() == list(range(40))


def test_a_full_disk_is_named(database):
    """The limit on file sizes stands in for a full disk: SQLite reports both as an error of the write."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        with pytest.raises(StorageFull, match="is full"), database.write() as connection:
            connection.execute(text("insert into t values (:x)"), {"x": "x" * 1_000_000})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert rows(database) == 0
    with database.write() as connection:
        connection.execute(text("insert into t values (1)"))


@pytest.mark.parametrize(
    ("code", "ours"),
    [
        (sqlite3.SQLITE_FULL, StorageFull),
        (sqlite3.SQLITE_IOERR | (3 << 8), StorageFull),
        (sqlite3.SQLITE_READONLY, StorageFull),
        (sqlite3.SQLITE_CANTOPEN, ConfigurationError),
        (sqlite3.SQLITE_NOTADB, ConfigurationError),
        (sqlite3.SQLITE_CORRUPT, ConfigurationError),
        (sqlite3.SQLITE_BUSY, Overloaded),
    ],
)
def test_the_drivers_errors_become_ours_with_the_databases_place(code, ours):
    from sqlalchemy.exc import OperationalError

    class Foreign(sqlite3.OperationalError):
        sqlite_errorcode = code

    with pytest.raises(ours, match=r"sqlite:////data/x\.db"), translated("sqlite:////data/x.db"):
        raise OperationalError("insert", {}, Foreign("driver text"))


def test_a_database_opened_read_only_says_so(tmp_path):
    url = sqlite_url(tmp_path / "ro.db")
    upgrade(url)
    read_only = Database(f"sqlite:///file:{tmp_path}/ro.db?mode=ro&uri=true")
    with pytest.raises(StorageFull, match="read-only"), read_only.write() as connection:
        connection.execute(text("insert into options values ('a', 'b', '1')"))
    read_only.close()


@pytest.mark.parametrize("query", ["?mode=ro&uri=true", "?uri=true", ""])
def test_a_file_uri_makes_no_folders(tmp_path, monkeypatch, query):
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    with pytest.raises(ConfigurationError, match="--data-dir"):
        upgrade(f"sqlite:///file:{tmp_path}/nothing/ro.db{query}")
    assert list(here.iterdir()) == []
    assert list(tmp_path.iterdir()) == [here]


@pytest.mark.parametrize(
    ("url", "file"),
    [
        ("sqlite:////data/x.db", Path("/data/x.db")),
        ("sqlite:///x.db", Path("x.db")),
        ("sqlite://", None),
        ("sqlite:///:memory:", None),
        ("sqlite:///file::memory:?cache=shared&uri=true", None),
    ],
)
def test_the_file_of_a_database_is_known_by_its_url(url, file):
    database = Database(url)
    assert database.file == file
    database.close()


def test_a_file_uri_in_a_folder_that_exists_is_upgraded(tmp_path):
    assert upgrade(f"sqlite:///file:{tmp_path}/new.db?uri=true")
    assert (tmp_path / "new.db").exists()


@pytest.mark.parametrize("content", [b"this is not a database, " * 100, b"SQLite format 3\0" + b"\xff" * 4096])
def test_a_damaged_file_says_so(tmp_path, content):
    (tmp_path / "bad.db").write_bytes(content)
    with pytest.raises(ConfigurationError, match="is damaged or not a database"):
        upgrade(sqlite_url(tmp_path / "bad.db"))


def test_a_locked_database_is_a_matter_of_waiting(database):
    path = database.url.removeprefix("sqlite:///")
    impatient = Database(database.url, busy_timeout_s=0.05)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(Overloaded, match="locked by another process"), impatient.write():
        pass
    other.execute("ROLLBACK")
    with impatient.write():
        pass
    other.close()
    impatient.close()


@pytest.mark.parametrize("use", [Database, upgrade])
@pytest.mark.parametrize(
    "url", ["nonsense", "", "mysql+nothing://x", "postgresql+missingdriver://x", "sqlite://host/x", "mysql://h:port/x"]
)
def test_a_url_that_is_none_is_refused_with_an_example(url, use):
    with pytest.raises(ConfigurationError, match=r"such as sqlite:.*Give another --database"):
        use(url)


@pytest.mark.parametrize("use", [Database, upgrade])
@pytest.mark.parametrize(
    "url",
    [
        "mysql+nothing://root:hunter2@h/x",
        "mysql+nothing://root:hunter2@h:port/x",
        "mysql+nothing://h/x?password=hunter2",
        "mysql+nothing://h:port/x?password=hunter2",
        "root:hunter2@h/x",
    ],
)
def test_a_refused_url_is_shown_without_its_password(url, use):
    with pytest.raises(ConfigurationError, match=r"h(:port)?/x") as caught:
        use(url)
    assert "hunter2" not in caught.value.detail


def test_the_place_in_an_error_shows_no_password():
    from sqlalchemy.exc import OperationalError

    with pytest.raises(Overloaded, match="does not answer") as caught, translated("mysql://root:hunter2@h/x"):
        raise OperationalError("select", {}, Exception("gone away"))
    assert "hunter2" not in caught.value.detail


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ConfigurationError, match="--data-dir"):
        upgrade(sqlite_url(Path(tmp_path / "file" / "data" / "x.db")))
