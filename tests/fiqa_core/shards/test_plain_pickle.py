"""Pickles of plain values are read as `pickle` reads them, and nothing in any other one is run, or fills the memory."""

import io
import pickle
import random
import tracemalloc

import numpy as np
import pytest

from fiqa_core.shards.plain_pickle import Array, Blob, ForbiddenError, PickleError, PlainPickle, load_blob, numbers
from tests.makers.pickles import hostile_pickles

IMAGES = [bytes(range(256)) * count for count in range(6)] * 3


def plain(data: bytes) -> object:
    """The value, with the bytes in place of the places where they are."""
    stream = io.BytesIO(data)

    def put(value):
        if isinstance(value, Array):
            value = value.data
        if isinstance(value, Blob):
            return load_blob(stream, value)
        return type(value)(put(each) for each in value) if isinstance(value, list | tuple) else value

    return put(PlainPickle(stream).load())


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("kind", [bytes, bytearray, lambda data: np.frombuffer(data, np.uint8).copy()])
def test_bytes_and_arrays_of_every_protocol_are_read_as_pickle_reads_them(protocol, kind):
    value = ([kind(image) for image in IMAGES], [True, False, np.bool_(True), np.bool_(False)])
    assert plain(pickle.dumps(value, protocol)) == (IMAGES, [True, False, True, False])


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("kind", ["i1", "<i4", "<i8", ">i8", "<u2", ">u4", "?", "<f4", ">f8"])
def test_numpy_numbers_are_read_one_by_one_and_as_arrays(protocol, kind):
    array = np.array([0, 1, 5, 100], kind)
    assert plain(pickle.dumps(list(array), protocol)) == array.tolist()
    stream = io.BytesIO(pickle.dumps(array, protocol))
    assert numbers(PlainPickle(stream).load(), stream) == array.tolist()


def test_arrays_that_are_not_lists_of_numbers_are_refused():
    for array in (np.zeros((2, 2)), np.array(["a"]), np.array([1j])):
        stream = io.BytesIO(pickle.dumps(array))
        with pytest.raises(PickleError, match="expected a list of numbers"):
            numbers(PlainPickle(stream).load(), stream)


@pytest.mark.parametrize("protocol", range(6))
def test_plain_values_of_every_protocol_are_read_as_pickle_reads_them(protocol):
    same = ["twice"]
    value = [0, 1, -1, 255, 256, 70_000, -(1 << 40), 1 << 70, None, True, False, "Zoë\n", "x" * 200, b"", b"'\\\n\xff"]
    value += [(), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4), [[]], same, same, ("Ann", [b"a", 2])]
    assert plain(pickle.dumps(value, protocol)) == value


def test_what_python_2_and_numpy_1_wrote_is_read():
    array = b"cnumpy.core.multiarray\n_reconstruct\nq\x01(cnumpy\nndarray\nq\x02K\x00\x85q\x03U\x01bq\x04tRq\x05"
    array += b"(K\x01K\x05\x85q\x06cnumpy\ndtype\nq\x07(U\x02u1q\x08K\x00K\x01tRq\x09(K\x03U\x01|NNNJ\xff\xff\xff\xff"
    array += b"J\xff\xff\xff\xffK\x00tb\x89U\x05helloq\x0atb"
    images, same = plain(b"\x80\x02](U\x03abcT\x04\x00\x00\x00\xff\xd8\xff\xe0" + array + b"e](I01\nI00\n\x88e\x86.")
    assert images == [b"abc", b"\xff\xd8\xff\xe0", b"hello"]
    assert same == [True, False, True]


@pytest.mark.parametrize("kind", hostile_pickles(None, IMAGES))
def test_a_hostile_pickle_runs_nothing_and_needs_little_memory(tmp_path, kind):
    mark = tmp_path / "mark"
    data = hostile_pickles(mark, IMAGES)[kind]
    tracemalloc.start()
    try:
        value = PlainPickle(io.BytesIO(data)).load()
    except PickleError as error:
        value = None
        assert str(error)
    peak = tracemalloc.get_traced_memory()[1]
    del value
    tracemalloc.stop()
    assert not mark.exists()
    assert peak < 1_000_000 + 160 * len(data)


def test_forbidden_names_are_said_and_never_looked_up(tmp_path):
    with pytest.raises(ForbiddenError, match=r"'\w+\.system'.*could run code, and is never looked up"):
        PlainPickle(io.BytesIO(hostile_pickles(tmp_path / "m", IMAGES)["os.system for the whole"])).load()
    with pytest.raises(ForbiddenError, match="fiqa_no_such_module"):
        PlainPickle(io.BytesIO(b"cfiqa_no_such_module\nrun\n)R.")).load()


def test_steps_are_limited():
    with pytest.raises(PickleError, match="more than 1000 steps"):
        PlainPickle(io.BytesIO(b"]" * 5000), most=1000).load()
    many = io.BytesIO(b"]" + b"C\0" * 400_000 + b"e.")
    with pytest.raises(PickleError, match="more than 1000 steps"):
        PlainPickle(many, most=1000).load()


def test_random_damage_ends_in_a_value_or_an_error_for_people():
    chance = random.Random(3)
    values = (
        [IMAGES, [True] * 9],
        [np.frombuffer(image, np.uint8) for image in IMAGES[:6]],
        (IMAGES[:2], "text", 1 << 90),
    )
    for number in range(3000):
        data = bytearray(pickle.dumps(values[number % 3], number % 6))
        for _ in range(chance.choice((1, 1, 5))):
            data[chance.randrange(len(data))] = chance.randrange(256)
        pieces = bytes(data)[: chance.choice((len(data), chance.randrange(len(data))))]
        machine = PlainPickle(io.BytesIO(pieces))
        try:
            machine.load()
        except PickleError as error:
            assert 0 <= error.place <= len(pieces) + 1
            assert isinstance(machine.begun(), list)


def test_items_of_the_first_list_can_be_taken_as_they_come():
    keys, found = [str(number).encode() for number in range(20_000)], []
    for protocol in range(6):
        found.clear()
        rest = PlainPickle(io.BytesIO(pickle.dumps(keys, protocol)), each=found.extend).load()
        assert [*found, *rest] == keys
        assert len(rest) < 6000
