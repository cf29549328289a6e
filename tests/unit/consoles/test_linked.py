"""Routes in texts become links or words on pages, and nothing else in a text does."""

from __future__ import annotations

import pytest

from fanlight.consoles.linked import linked_for
from fanlight.consoles.the_round import RoleName


@pytest.mark.parametrize(
    ("role", "text", "shown"),
    [
        ("main", "Publish (/send_model_clients).", 'Publish (<a href="/send_model_clients">Publish</a>).'),
        ("device", "Publish (/send_model_clients).", "Publish (step 6, on the main server&#39;s page)."),
        ("aggregator", "Send (device page /sendmodel).", "Send (step 3, on each device&#39;s page)."),
        ("main", "Sum (/send_model_secagg).", "Sum (step 5, on the aggregator&#39;s page)."),
        ("main", "Raise it (/task).", 'Raise it (<a href="/task">Task</a>).'),
        ("device", "Raise it (/task).", "Raise it (/task)."),
        ("main", "Look (/elsewhere).", "Look (/elsewhere)."),
        ("device", "From 25.0 % to 100.0 %.", "From 25.0\N{NO-BREAK SPACE}% to 100.0\N{NO-BREAK SPACE}%."),
        ("main", "<b>(/sendmodel</b>)", "&lt;b&gt;(/sendmodel&lt;/b&gt;)"),
    ],
)
def test_a_route_becomes_a_link_or_words(role: RoleName, text: str, shown: str) -> None:
    assert str(linked_for(role, {"/task": "Task"} if role == "main" else {})(text)) == shown
