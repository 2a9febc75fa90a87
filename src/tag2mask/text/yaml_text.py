"""YAML from files and from the command line, with limits.

A few hundred bytes of YAML can stand for billions of values (aliases of lists of aliases), or be
nested so deeply that code that recurses fails. Dates are read as text: no setting is a date.
"""

from __future__ import annotations

from typing import Any

import yaml

from tag2mask.text.excerpt import LONGEST_VALUE, excerpt, shortened

MOST_CHARACTERS = 1_000_000
"""The largest text; recipes have a few thousand characters."""
MOST_DEPTH = 30
"""The most lists and mappings inside each other; recipes have four."""
MOST_VALUES = 20_000
"""The most values after all aliases are replaced; a recipe has 200, a long table some thousands."""
_LONGEST_PROBLEM = 300
_DATE = "tag:yaml.org,2002:timestamp"


def parse_yaml(text: str) -> Any:
    """Parse a YAML text into plain types.

    Raises:
        ValueError: not YAML, a duplicate key, of which PyYAML would drop the first value, or a text
            that is too long, too deep or stands for too many values. The message is one line.
    """
    if len(text) > MOST_CHARACTERS:
        raise ValueError(f"a text of {len(text):,} characters is too long")
    try:
        return yaml.load(text, _Loader)
    except yaml.YAMLError as error:
        raise ValueError(shortened(" ".join(str(error).split()), _LONGEST_PROBLEM)) from None
    except RecursionError:
        raise ValueError("lists and mappings are nested too deeply") from None


class _Loader(yaml.SafeLoader):
    """Safe YAML loader with limits, without dates, that refuses duplicate keys."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = 0

    def get_single_node(self) -> yaml.Node | None:
        """Refuse a document of too many values before they are made."""
        node: yaml.Node | None = super().get_single_node()
        if node is not None and _count_values(node, {}) > MOST_VALUES:
            raise yaml.composer.ComposerError(
                None, None, f"it stands for more than {MOST_VALUES:,} values", node.start_mark
            )
        return node

    def compose_node(self, parent: Any, index: Any) -> yaml.Node | None:
        """Refuse what is nested too deeply."""
        self._depth += 1
        if self._depth > MOST_DEPTH:
            raise yaml.composer.ComposerError(None, None, "nested too deeply", self.get_mark())
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        """Refuse duplicate keys; those of a merge (``<<``) are resolved later and may repeat."""
        node: yaml.MappingNode = super().compose_mapping_node(anchor)
        seen: set[tuple[str, str]] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue
            if (key.tag, key.value) in seen:
                raise yaml.composer.ComposerError(
                    None, None, f"duplicate key {excerpt(key.value)}", key.start_mark
                )
            seen.add((key.tag, key.value))
        return node

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        """Report values that Python can't convert, such as ``0x_``, like other mistakes."""
        try:
            return super().construct_object(node, deep)
        except (ValueError, TypeError, AttributeError, KeyError, IndexError):
            kind = node.tag.rpartition(":")[2]
            raise yaml.constructor.ConstructorError(
                None,
                None,
                f"{excerpt(node.value)} is not a valid {shortened(kind, LONGEST_VALUE)}",
                node.start_mark,
            ) from None


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != _DATE]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def _count_values(node: yaml.Node, known: dict[int, int]) -> int:
    """Return the number of values a node stands for, its aliases replaced.

    Args:
        node: the node.
        known: counts by node; a node inside itself counts as endlessly many.
    """
    if isinstance(node, yaml.ScalarNode):
        return 1
    if id(node) not in known:
        known[id(node)] = MOST_VALUES + 1  # while its members are counted
        members = (
            [member for pair in node.value for member in pair]
            if isinstance(node, yaml.MappingNode)
            else node.value
        )
        known[id(node)] = 1 + sum(_count_values(member, known) for member in members)
    return known[id(node)]
