from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from batchlab.errors import UsageError
from batchlab.script.command import ConfigTemplate

TEXTS = {
    "c.json": """{"bs": {batch_size}, "lr": {learning_rate}, "out": {output_dir},
 "log": "{output_dir}/log", "more": {"a": {}}}""",
    "c.toml": """bs = {batch_size}
lr = {learning_rate}
out = {output_dir}
log = "{output_dir}/log"
more = {a = {}}
""",
    "c.yaml": """bs: {batch_size}  # a comment
lr: {learning_rate}
out: {output_dir}
log: "{output_dir}/log"
more: {"a": {}}
""",
}
READ: dict[str, Any] = {"c.json": json.loads, "c.toml": tomllib.loads, "c.yaml": yaml.safe_load}


def template(folder: Path, name: str, text: str) -> ConfigTemplate:
    (folder / name).write_text(text)
    return ConfigTemplate(folder / name)


@pytest.mark.parametrize("name", TEXTS)
@pytest.mark.parametrize("rate", [0.1, 1e-5, 5e-324, 1e22, 0.30000000000000004])
def test_values_are_read_back_exactly(name: str, rate: float, tmp_path: Path) -> None:
    filled = template(tmp_path, name, TEXTS[name]).filled(
        {"batch_size": 64, "learning_rate": rate, "output_dir": Path("/a/b c")}
    )

    assert READ[name](filled) == {
        "bs": 64,
        "lr": rate,
        "out": "/a/b c",
        "log": "/a/b c/log",
        "more": {"a": {}},
    }


@given(
    folder=st.text(
        alphabet=st.characters(codec="utf-8", exclude_categories=("Cc", "Cs", "Zl", "Zp")),
        min_size=1,
        max_size=20,
    )
)
@settings(max_examples=60, deadline=None)
def test_any_path_stays_one_value(folder: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    for name, text in TEXTS.items():
        made = template(tmp_path_factory.mktemp("c"), name, text)
        values = {"batch_size": 1, "learning_rate": 0.5, "output_dir": folder}

        assert READ[name](made.filled(values))["out"] == folder
        assert READ[name](made.filled(values))["log"] == f"{folder}/log"


def test_a_path_may_be_part_of_a_plain_text_of_yaml(tmp_path: Path) -> None:
    made = template(tmp_path, "c.yml", "b: {batch_size}\nout: {output_dir}/logs\n- {output_dir}\n")

    assert made.filled({"batch_size": 1, "output_dir": "/a"}) == 'b: 1\nout: /a/logs\n- "/a"\n'


def test_nothing_to_resume_from_is_null(tmp_path: Path) -> None:
    made = template(tmp_path, "c.json", '{"b": {batch_size}, "from": {resume_from}}')

    assert json.loads(made.filled({"batch_size": 1})) == {"b": 1, "from": None}


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("c.json", '{"b": {batch_size}', "c.json is not valid JSON once its placeholders have"),
        ("c.toml", "b = {batch_size}\nc = [", "c.toml is not valid TOML"),
        ("c.yaml", "b: {bs}", r"unknown placeholder \{bs\} in .*c.yaml: did you mean \{batch_size"),
        ("c.toml", "b = {batch_size}\nr = {resume_from}", "TOML has no value for nothing"),
        ("c.yaml", "c: {config}", r"holds \{config\}, which is the file itself"),
        ("c.ini", "b={batch_size}", "expected a file that ends in .json, .toml, .yaml, .yml"),
    ],
)
def test_a_wrong_template_is_refused_in_one_line(
    name: str, text: str, said: str, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=said) as refused:
        template(tmp_path, name, text)

    assert "\n" not in str(refused.value)
