"""Database migrations, run by the program itself: `upgrade(url)` brings a database to the newest tables.

To add one: a file `versions/YYYY_MM_DD_what.py` with `revision`, `down_revision` and `upgrade()`.
"""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util.exc import CommandError

from sdwebui.domain.errors import ConfigurationError
from sdwebui.storage.database import Database

_FOLDER = Path(__file__).resolve().parent


def upgrade(database_url: str) -> str:
    """Create the tables, or bring them to this version; makes the database's folder when it is missing.

    Returns:
        The revision that the database now has.

    Raises:
        ConfigurationError: not a URL of a database, or it cannot be opened or written, is damaged, or belongs to a
            newer version.
    """
    database = Database(database_url)
    _make_folder(database.file)
    config = Config()
    config.set_main_option("script_location", str(_FOLDER).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    try:
        database.check()
        with database.write() as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
            return str(MigrationContext.configure(connection).get_current_revision())
    except CommandError as exc:
        raise ConfigurationError(
            f"The database {database.place} was written by a newer version of this program ({exc})."
            " Install that version, or restore a backup."
        ) from exc
    finally:
        database.close()


def newest_revision() -> str:
    """The revision that `upgrade` leads to."""
    config = Config()
    config.set_main_option("script_location", str(_FOLDER).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return str(ScriptDirectory.from_config(config).get_current_head())


def _make_folder(file: Path | None) -> None:
    if file is None:
        return
    folder = file.parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise ConfigurationError(
            f"The folder {str(folder)!r} for the database cannot be made: {exc.strerror}. Give another --data-dir."
        ) from exc
