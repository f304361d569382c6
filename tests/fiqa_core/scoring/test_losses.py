"""What is said of shards that were not read completely: each stretch with its bytes, each shard counted once."""

import json
import logging
import re

from fiqa_core.scoring.losses import MOST_LOSSES, Loss, kept
from fiqa_core.scoring.summary import Summary, merge
from tests.makers.images import png_bytes
from tests.makers.runs import score_shards, write_shards


def test_stretches_lost_in_the_middle_are_named_with_their_bytes_and_their_shard_is_counted_once(tmp_path, caplog):
    shards = write_shards(tmp_path / "in", "ab", images=12)
    data = bytearray(shards[1].read_bytes())
    for number in (3, 7):
        at = data.index(png_bytes(sum(b"b") * 100 + number, 20)) - 512
        data[at + 150] ^= 0x20  # in the header's checksum
    shards[1].write_bytes(data)
    with caplog.at_level(logging.WARNING):
        score_shards(tmp_path / "out", shards)
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    losses = summary["shards_broken_off"]
    assert len(losses) == 2
    assert summary["shards_not_read_to_their_end"] == 1
    assert summary["status"] == {"scored": 22, "shard_unreadable": 2}
    for loss in losses:
        begin, end = map(int, re.match(r"bytes (\d+) to (\d+)", loss["reason"]).groups())
        assert (loss["byte"], loss["bytes_lost"]) == (begin, end - begin)
        assert f"{shards[1]}, at record {loss['index']}: bytes {begin} to {end} of the archive are lost" in caplog.text
    assert "read on behind it" in caplog.text
    assert "broke off" not in caplog.text


def test_a_shard_with_very_many_stretches_leaves_room_for_the_others():
    many = Summary(losses=tuple(Loss("a", n, number=n) for n in range(MOST_LOSSES)))
    other = Summary(losses=(Loss("b", 0), Loss("b", 1, number=1)))
    for total in (merge(many, other), merge(other, many), merge(merge(many, many), other)):
        assert len(total.losses) <= MOST_LOSSES
        assert {loss.shard for loss in total.losses} == {"a", "b"}
    assert kept(many.losses) == many.losses
