"""The feed of changed jobs."""

from __future__ import annotations

import asyncio
import threading

from sdwebui.service.events import EventHub


def test_a_viewer_gets_what_changed_since_its_cursor_once_a_job():
    hub = EventHub(lambda: 5.0)
    feed = hub.feed("ann")
    start = feed.cursor
    for job_id in ("a", "b", "a"):
        hub.publish("ann", job_id)
    hub.publish("bob", "other")
    changes = feed.since(start)
    assert changes.job_ids == ("b", "a")
    assert not changes.missed
    assert feed.since(changes.cursor).job_ids == ()


def test_cursors_only_grow_also_over_a_restart():
    before = EventHub(lambda: 5.0).feed("ann")
    hub = EventHub(lambda: 6.0)
    after = hub.feed("ann")
    assert after.cursor > before.cursor
    hub.publish("ann", "a")
    changes = after.since(before.cursor)
    assert changes.missed
    assert changes.job_ids == ("a",)


def test_a_cursor_from_the_future_is_told_to_read_the_list():
    feed = EventHub(lambda: 5.0).feed("ann")
    assert feed.since(feed.cursor + 1).missed


def test_a_flood_forgets_the_oldest_and_says_so():
    hub = EventHub(lambda: 5.0)
    feed = hub.feed("ann")
    start = feed.cursor
    for number in range(1500):
        hub.publish("ann", str(number))
    changes = feed.since(start)
    assert changes.missed
    assert len(changes.job_ids) == 1000


def test_waiting_ends_with_a_change_or_with_the_time():
    hub = EventHub()
    feed = hub.feed("ann")
    cursor = feed.cursor
    assert feed.wait(cursor, 0.01).job_ids == ()
    timer = threading.Timer(0.05, hub.publish, ("ann", "a"))
    timer.start()
    assert feed.wait(cursor, 10.0).job_ids == ("a",)
    timer.join()


def test_subscribers_are_woken_until_they_leave():
    hub = EventHub()
    woken: list[int] = []
    leave = hub.feed("ann").subscribe(lambda: woken.append(1))
    hub.publish("ann", "a")
    hub.publish("bob", "b")
    leave()
    leave()
    hub.publish("ann", "c")
    assert woken == [1]


def test_a_subscriber_whose_loop_is_closed_disturbs_nobody():
    hub = EventHub()
    loop = asyncio.new_event_loop()
    loop.close()
    woken: list[int] = []
    hub.feed("ann").subscribe(lambda: loop.call_soon_threadsafe(print))  # type: ignore[arg-type]
    hub.feed("ann").subscribe(lambda: woken.append(1))
    hub.publish("ann", "a")
    assert woken == [1]
