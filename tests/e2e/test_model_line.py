"""Another head or backbone on a running federation: a new line of models begins, and devices follow it."""

from __future__ import annotations

from pathlib import Path

from fanlight.learning import model_file
from fanlight.learning.backbones import compile_backbone
from tests.services_world import ServiceDevice, World, running, wait


def head_of_version(world: World, number: int) -> tuple[str, str]:
    with world.main.service.database.reading() as tx:
        made = model_file.decode(world.main.service.models.file_of(tx, number))
    return made.kind.value, made.backbone_id


def sees(device: ServiceDevice, kind: str) -> bool:
    found = device.sees_round()
    return bool(found) and found["kind"] == kind


def test_a_trained_task_goes_on_with_a_head_that_is_solved_and_with_another_backbone(tmp_path: Path) -> None:
    with running(tmp_path) as world:
        devices = [world.add_device().start() for _ in range(2)]
        main = world.owner("main")
        for device in devices:
            wait(device.sees_round, "a round is open")
            device.send_model()
        wrong = main.ask("PUT", "/api/v1/learns-by", {"head": "analytic", "backbone": "efficientnet-lite0"})
        assert wrong.json()["error"]["slug"] == "round-not-over", "it has reports for the present model"
        world.aggregate()
        wait(lambda: world.open_round() == 2, "the next round is open, without reports")

        said = main.ask("PUT", "/api/v1/learns-by", {"head": "analytic", "backbone": "efficientnet-lite0"})
        assert said.status_code == 202
        for device in devices:
            wait(lambda device=device: sees(device, "statistics"), "the head is to be solved")  # type: ignore[misc]
            device.send_model()
        world.aggregate()
        assert [head_of_version(world, number)[0] for number in range(4)] == [
            "softmax",
            "softmax",
            "analytic",
            "analytic",
        ]
        assert main.status()["model"]["version"] == 3
        assert main.get("/api/v1/models/1/card.json")["head"] == "softmax"
        assert main.get("/api/v1/models/3/card.json")["lineage"] == [2], "it begins with version 2, which knows nothing"
        refused = main.ask("POST", "/api/v1/models/1/current", {})
        assert refused.json()["error"]["slug"] == "another-line"

        wait(lambda: world.open_round() is not None, "a round of training is open")
        for device in devices:
            compile_backbone("efficientnet-lite0-levels", device.settings.state / "backbones")
        levels = {"head": "prototypes", "backbone": "efficientnet-lite0-levels"}
        assert main.ask("PUT", "/api/v1/learns-by", levels).status_code == 202
        wait(lambda: main.status()["model"]["version"] == 4, "the new line has begun")
        world.restart_main()
        for device in devices:
            wait(lambda device=device: sees(device, "statistics"), "solved again")  # type: ignore[misc]
            device.send_model()
        world.aggregate()
        assert head_of_version(world, 5) == ("prototypes", "efficientnet-lite0-levels")
        assert world.log_types("main").count("new-line") == 2
        world.check_traces()
