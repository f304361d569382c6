"""Run by test_feed: takes batches from two decoding processes without end, and says which processes they are.

`feeding_until_killed.py FOLDER SHARD...`; nothing here imports torch, so it starts quickly.
"""

import itertools
import json
import sys

from fiqa_core.images.preprocess import ChannelOrder
from fiqa_core.runs.plan import plan_dataset
from fiqa_core.shards.unit import ReadSettings
from fiqa_core.training.augment import Augmentation
from fiqa_core.training.dataset_index import index_of_records
from fiqa_core.training.feed import Feed
from fiqa_core.training.making import StoredMaker
from fiqa_core.training.sequence import Share, StoredSequence


def main(folder, shards):
    read, share = ReadSettings(), Share(5, 12)
    units = plan_dataset(shards, "auto", 1000, folder, read).units
    sequence = StoredSequence(tuple(units), index_of_records(units, read), read, share, 20, 4)
    feed = Feed(sequence, StoredMaker(Augmentation(), ChannelOrder.RGB, share), 12, 4, 2)
    for epoch in itertools.count():
        for taken in feed.batches(epoch, 0, lambda rows: len(rows.pixels)):
            if epoch == 0:
                print(json.dumps([taken, *feed.process_ids]), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
