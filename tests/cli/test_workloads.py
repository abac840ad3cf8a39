from __future__ import annotations

import json
from typing import Any


def test_the_workloads_are_listed_with_their_settings(do: Any) -> None:
    done, document = do("workloads"), json.loads(do("workloads", "--json").out)

    assert done.code == 0
    assert "mnist-mlp" in done.out
    assert "--set width=128" in done.out
    assert "--set nesterov=false" in done.out
    settings = {entry["name"]: entry["settings"] for entry in document["workloads"]}
    assert (document["schema"], document["command"]) == (1, "workloads")
    assert settings["mnist-mlp"]["width"] == 128
