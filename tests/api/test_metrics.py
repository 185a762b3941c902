from __future__ import annotations

from sdwebui.api.metrics import HttpMetrics


def test_labels_are_few_whatever_callers_send():
    metrics = HttpMetrics()
    for number in range(100):
        metrics.count(f"METHOD{number}", f"/path/{number}", 404)
    lines = [line for line in metrics.render({}, is_ready=False).decode().split("\n") if "requests_total{" in line]
    assert lines == ['sdwebui_http_requests_total{method="other",part="page",status="404"} 100.0']


def test_two_servers_in_one_process_count_apart():
    one, other = HttpMetrics(), HttpMetrics()
    one.count("GET", "/sdapi/v1/options", 200)
    assert b"requests_total{" not in other.render({}, is_ready=True)
    assert b'part="sdapi"' in one.render({"queued": 3}, is_ready=True)
