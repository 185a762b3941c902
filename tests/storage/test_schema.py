"""The tables and the migrations describe the same database."""

from __future__ import annotations

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import text

from sdwebui.domain.errors import ConfigurationError
from sdwebui.storage.database import Database
from sdwebui.storage.migrations import newest_revision, upgrade
from sdwebui.storage.schema import metadata


def test_migrations_lead_to_the_tables_of_the_schema(tmp_path):
    url = f"sqlite:///{tmp_path}/new/folder/test.db"
    assert upgrade(url) == newest_revision()
    database = Database(url)
    with database.read() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
    database.close()


def test_a_second_upgrade_changes_nothing(tmp_path):
    url = f"sqlite:///{tmp_path}/test.db"
    upgrade(url)
    database = Database(url)
    with database.write() as connection:
        connection.execute(text("insert into options values ('server', 'key', '1')"))
    assert upgrade(url) == newest_revision()
    with database.read() as connection:
        assert connection.execute(text("select count(*) from options")).scalar_one() == 1
    database.close()


def test_a_database_of_a_newer_version_is_left_alone(tmp_path):
    url = f"sqlite:///{tmp_path}/test.db"
    upgrade(url)
    database = Database(url)
    with database.write() as connection:
        connection.execute(text("update alembic_version set version_num = '2099_01_01_future'"))
    database.close()
    with pytest.raises(ConfigurationError, match="newer version"):
        upgrade(url)


def test_migrations_have_dated_names():
    import re

    assert re.fullmatch(r"\d{4}_\d\d_\d\d_[a-z_]+", newest_revision())
