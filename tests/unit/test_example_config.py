"""configs/smaxd.yaml documents every key, with the default that the code has."""

from pathlib import Path

import msgspec
import yaml

from agent.config import Config, load_config

EXAMPLE = Path(__file__).parents[2] / "configs" / "smaxd.yaml"


def keys(tree: object, path: str = "") -> set[str]:
    """Key paths of all mappings in a tree."""
    if not isinstance(tree, dict):
        return set()
    return {f"{path}{key}" for key in tree}.union(
        *(keys(value, f"{path}{key}.") for key, value in tree.items())
    )


def test_the_example_is_the_default_configuration() -> None:
    """Whoever starts from the example starts from what no file at all gives."""
    assert load_config(str(EXAMPLE)) == Config()


def test_the_example_names_every_key() -> None:
    """A setting that is not documented cannot be found by an operator."""
    documented = keys(yaml.safe_load(EXAMPLE.read_text()))

    assert keys(msgspec.to_builtins(Config())) == documented


def test_every_key_of_a_database_is_documented() -> None:
    """The list is empty by default, so its keys stand in the comment above it."""
    comment = EXAMPLE.read_text().partition("databases: []")[0]

    assert [
        f"#   {key}:" in comment for key in ("path", "name", "record_size_bytes", "db_paths")
    ] == [True] * 4
