"""YAML for a configuration: the safe subset, without the parts that hide mistakes."""

from typing import Any

import yaml

MAX_INTEGER_BITS = 1024
"""No setting is larger than a float can be; Python refuses to print integers far beyond."""


class ConfigLoader(yaml.SafeLoader):
    """SafeLoader that also refuses repeated keys, merge keys and absurdly large integers.

    YAML forbids repeated keys, but PyYAML silently keeps the last one: half of a section would be
    lost. Merge keys ("<<") multiply memory when nested, and no configuration needs them.
    """

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:  # noqa: ANN401 - YAML's
        """Any value; ConstructorError where the tag written before it does not fit it.

        PyYAML's own constructors fail in every way Python knows: for ``!!timestamp x``,
        ``!!bool x``, ``!!int ''`` and a number in base 60 that is larger than a float.
        """
        try:
            return super().construct_object(node, deep)
        except (ArithmeticError, AttributeError, LookupError, TypeError):
            raise yaml.constructor.ConstructorError(
                problem=f"this is no value of the type {node.tag.rpartition(':')[2]}",
                problem_mark=node.start_mark,
            ) from None

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """A mapping whose keys differ; ConstructorError names the line of one that does not."""
        seen: set[tuple[str, str]] = set()
        for key, _ in node.value:
            if key.tag == "tag:yaml.org,2002:merge":
                raise yaml.constructor.ConstructorError(
                    problem="merge keys (<<) are not supported; write the settings out",
                    problem_mark=key.start_mark,
                )
            if not isinstance(key, yaml.ScalarNode):
                continue  # a list or a mapping as a key is refused as unhashable
            if (key.tag, key.value) in seen:
                raise yaml.constructor.ConstructorError(
                    problem=f"{key.value!r} is there more than once in one mapping",
                    problem_mark=key.start_mark,
                )
            seen.add((key.tag, key.value))
        return super().construct_mapping(node, deep)

    def construct_yaml_int(self, node: yaml.ScalarNode) -> int:
        """An integer of a size that a setting can have."""
        value: int = super().construct_yaml_int(node)
        if value.bit_length() > MAX_INTEGER_BITS:
            raise yaml.constructor.ConstructorError(
                problem="a number that large is no setting", problem_mark=node.start_mark
            )
        return value


ConfigLoader.add_constructor("tag:yaml.org,2002:int", ConfigLoader.construct_yaml_int)


def load_yaml(text: bytes) -> object:
    """The one document in ``text`` as plain objects; yaml.YAMLError, ValueError, RecursionError."""
    loader = ConfigLoader(text)
    try:
        return loader.get_single_data()
    finally:
        loader.dispose()
