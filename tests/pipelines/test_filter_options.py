"""Options of filter_dataset that do not go together."""

import pytest

from pipelines.cli.errors import OptionError
from pipelines.cli.filter_options import make_parser
from pipelines.jobs.filter_settings import embedding_source


def test_keys_beside_a_table_of_embeddings_are_refused_and_not_ignored():
    given = ["--quality", "q", "--output", "o", "--embeddings", "e.parquet", "--embedding-keys", "keys.txt"]
    with pytest.raises(OptionError, match=r"goes with --embeddings FILE.npy; .*e.parquet is a table"):
        embedding_source(make_parser().parse_args(given), [])
