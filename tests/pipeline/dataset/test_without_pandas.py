"""pyarrow imports pandas for those who convert to it, and not before."""

import sys

import pytest

from tests.support.commands import finish

_CODE = """
import sys
import pyarrow as pa
from bitmill.pipeline.dataset.without_pandas import without_pandas

without_pandas()
table = pa.table({"a": [1, None]})
print("pandas" in sys.modules, len(table.to_pandas()), "pandas" in sys.modules)
print(pa.array(table.to_pandas()["a"]).null_count)
"""


def test_pandas_is_imported_where_it_is_used():
    pytest.importorskip("pandas")
    done = finish([sys.executable, "-c", _CODE])
    assert done.code == 0, done.err
    assert done.out.split() == ["False", "2", "True", "1"]
