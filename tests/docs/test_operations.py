"""What ``docs/operations.md`` says of metrics is what the roles measure, and its example is one that can be read."""

from __future__ import annotations

import re
from pathlib import Path

import yaml
from prometheus_client.parser import text_string_to_metric_families

from fanlight.protocol.audit.findings import MEANINGS
from tests.docs.current import DOCS
from tests.services_world import CLIENT, running

TEXT = (DOCS / "operations.md").read_text()


def families(url: str, token_file: Path) -> set[str]:
    answer = CLIENT.get(f"{url}/metrics", headers={"Authorization": f"Bearer {token_file.read_text().strip()}"})
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=")
    found = text_string_to_metric_families(answer.text)
    return {
        f"{family.name}_total" if family.type == "counter" else family.name
        for family in found
        if family.name.startswith("fanlight_")
    }


def test_the_example_for_prometheus_can_be_read() -> None:
    [block] = re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)
    jobs = yaml.safe_load(block)["scrape_configs"]
    assert [job["static_configs"][0]["targets"] for job in jobs] == [["localhost:8000"], ["localhost:8003"]]
    for job in jobs:
        assert job["authorization"]["type"] == "Bearer"
        assert job["authorization"]["credentials_file"].endswith("metrics-token")
        assert job.get("metrics_path", "/metrics") == "/metrics"


def test_every_metric_is_described_and_every_described_one_is_there(tmp_path: Path) -> None:
    rows = [line.split("|")[1] for line in TEXT.splitlines() if line.startswith("| `fanlight_")]
    described = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    with running(tmp_path) as world:
        device = world.add_device().start()
        places = {
            world.ports["main"].url: world.federation / "main",
            world.ports["aggregator"].url: world.federation / "aggregator",
            device.port.url: device.settings.state,
        }
        for url in places:
            CLIENT.get(f"{url}/healthz")
        measured = set().union(*(families(url, state / "metrics-token") for url, state in places.items()))
    assert measured == described


def test_every_finding_of_an_audit_is_described() -> None:
    section = TEXT.split("## Audit")[1].split("\n## ")[0]
    rows = [line.split("|") for line in section.splitlines() if line.startswith("| `")]
    described = {flaw: row[3].strip() == "yes" for row in rows for flaw in re.findall(r"`([a-z-]+)`", row[1])}
    assert described == {flaw.value: meaning.proof for flaw, meaning in MEANINGS.items()}
