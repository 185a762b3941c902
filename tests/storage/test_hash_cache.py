"""Remembered hashes of model files."""

from __future__ import annotations

from sdwebui.storage.database import Database
from sdwebui.storage.hash_cache import HashCache
from sdwebui.storage.migrations import upgrade


def test_a_hash_counts_for_the_unchanged_file_only(tmp_path):
    url = f"sqlite:///{tmp_path}/hashes.db"
    upgrade(url)
    database = Database(url)
    cache = HashCache(database)
    assert cache.find("/m", 10, 5) is None
    cache.remember("/m", 10, 5, "abc")
    assert cache.find("/m", 10, 5) == "abc"
    for path, size, mtime in (("/n", 10, 5), ("/m", 11, 5), ("/m", 10, 6)):
        assert cache.find(path, size, mtime) is None
    cache.remember("/m", 10, 6, "def")
    assert (cache.find("/m", 10, 5), cache.find("/m", 10, 6)) == (None, "def")
    database.close()
