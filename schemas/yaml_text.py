"""Parses YAML that others wrote."""

from typing import Any

import yaml

_MERGE = "tag:yaml.org,2002:merge"


class _UniqueKeys(yaml.SafeLoader):
    """Refuses a mapping that has a key twice, of which YAML's parser drops one silently."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        """As the parser's; before merged mappings are put in, whose keys may be given again."""
        mapping = super().compose_mapping_node(anchor)
        seen: set[tuple[str, Any]] = set()
        for key, _ in mapping.value:
            # Other keys are refused later; several merges are none twice.
            if not isinstance(key, yaml.ScalarNode) or key.tag == _MERGE:
                continue
            if (key.tag, key.value) in seen:
                raise ValueError(f"the key {key.value!r} in line {key.start_mark.line + 1} is there twice")
            seen.add((key.tag, key.value))
        return mapping


def parse_yaml(text: str) -> Any:
    """Parse one document. Raises ValueError, in one line, if it is none or a mapping has a key twice."""
    try:
        return _UniqueKeys(text).get_single_data()
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    # The last two: a tag's text that is no value of it.
    except (yaml.YAMLError, ValueError, LookupError, AttributeError) as error:
        raise ValueError(" ".join(str(error).split())) from error
