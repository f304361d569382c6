"""tf.train.Example without TensorFlow: its message, and which of its features are image, label and key."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError

from fiqa_core.shards.label_text import hints, value_text
from fiqa_core.shards.names import MAX_LABEL_CHARACTERS, MAX_NAME_CHARACTERS, printable, shortened

IMAGE, LABEL, LABEL_TEXT, FILENAME = "image/encoded", "image/class/label", "image/class/text", "image/filename"
# In this order. What follows the first is what other people's converters write.
IMAGE_FEATURES = (IMAGE, "image", "image_raw", "image/raw", "encoded", "jpeg", "jpg", "png", "img", "image_bytes")
LABEL_FEATURES = (
    *(LABEL, LABEL_TEXT, "image/label", "image/identity", "image/source_id", "label", "identity", "cls", "class"),
    *("subject", "person_id", "subject_id", "id"),
)
KEY_FEATURES = (
    FILENAME,
    "image/key",
    "image/path",
    "image/file_name",
    "filename",
    "file_name",
    "path",
    "key",
    "__key__",
)
_MOST_NAMED = 20


class Wanted(NamedTuple):
    """The names of features that are looked for, in order."""

    image: tuple[str, ...] = IMAGE_FEATURES
    label: tuple[str, ...] = LABEL_FEATURES
    key: tuple[str, ...] = KEY_FEATURES


class Face(NamedTuple):
    """What an Example says of one image.

    `image` is None where there is none, and `fault` says why. `label_from` and `note`: as in `Record`.
    """

    image: bytes | None
    key: str | None
    label: str | None
    label_from: str = ""
    fault: str = ""
    note: str | None = None


def parse(data: bytes, wanted: Wanted) -> Face | None:
    """The image, label and key in an Example; None where the data are not a tf.train.Example."""
    try:
        example = EXAMPLE.FromString(data)
    except DecodeError:
        return None
    features = example.features.feature
    if not features and data and not example.HasField("features"):
        return None
    image, fault, note = _image(features, wanted.image)
    label, label_from, of_label = _label(features, wanted.label)
    key, of_key = _key(features, wanted.key)
    if note or of_label or of_key:
        note = "; ".join(each for each in (note, of_label, of_key) if each)
    return Face(image, key, label, label_from, fault, note)


def serialised(features: Mapping[str, bytes | int | float]) -> bytes:
    """An Example of features that have one value each."""
    example = EXAMPLE()
    for name, value in features.items():
        feature = example.features.feature[name]
        if isinstance(value, bytes):
            feature.bytes_list.value.append(value)
        elif isinstance(value, int):
            feature.int64_list.value.append(value)
        else:
            feature.float_list.value.append(value)
    return bytes(example.SerializeToString(deterministic=True))


def _image(features: Any, names: tuple[str, ...]) -> tuple[bytes | None, str, str | None]:
    name = next((name for name in names if name in features), None)
    if name is None:
        there = sorted(features)
        shown = ", ".join(printable(each)[:100] for each in there[:_MOST_NAMED])
        more = ", ..." if len(there) > _MOST_NAMED else ""
        looked_for = names[0] if len(names) == 1 else f"{names[0]} or another usual name"
        return None, f"the Example has no feature {looked_for}, only: {shown or 'none'}{more}. See --image-field", None
    values = features[name].bytes_list.value
    if len(values) == 1:
        return values[0], "", None
    if not values:
        kind = features[name].WhichOneof("kind") or "an empty feature"
        what = "a bytes_list without a value" if kind == "bytes_list" else kind
        return None, f"the feature {name!r} holds no image bytes; it is {what}", None
    return values[0], "", f"the feature {name!r} has {len(values)} values; the first counts"


def _label(features: Any, names: tuple[str, ...]) -> tuple[str | None, str, str | None]:
    for name in names:
        if name in features:
            feature = features[name]
            numbers = feature.int64_list.value
            text, count = (str(numbers[0]), 1) if len(numbers) == 1 else _text(feature)
            if text:
                note = f"the label feature {name!r} has {count} values; the first counts" if count > 1 else None
                return printable(shortened(text, MAX_LABEL_CHARACTERS)), f"feature {name!r}", note
    return None, hints(features), None


def _key(features: Any, names: tuple[str, ...]) -> tuple[str | None, str | None]:
    for name in names:
        if name in features:
            feature = features[name]
            texts = feature.bytes_list.value
            text = texts[0].decode("utf-8", "backslashreplace") if len(texts) == 1 else _text(feature)[0]
            if text:
                if len(text) <= MAX_NAME_CHARACTERS:
                    return printable(text), None
                note = f"the key has {len(text)} characters and is shortened to {MAX_NAME_CHARACTERS}"
                return printable(shortened(text, MAX_NAME_CHARACTERS)), note
    return None, f"the Example has no feature {names[0]!r}, so its key is its number" if len(names) == 1 else None


def _text(feature: Any) -> tuple[str | None, int]:
    """A feature's first value as text, and how many values it has."""
    for _, values in feature.ListFields():
        if values.value:
            return value_text(values.value[0]), len(values.value)
    return None, 0


def _example_class() -> Any:
    """The message class, made here: TensorFlow's own would come with all of TensorFlow."""
    field = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="fiqa/tf_example.proto", package="tensorflow", syntax="proto3")
    for name, kind in (
        ("BytesList", field.TYPE_BYTES),
        ("FloatList", field.TYPE_FLOAT),
        ("Int64List", field.TYPE_INT64),
    ):
        file.message_type.add(name=name).field.add(name="value", number=1, type=kind, label=field.LABEL_REPEATED)
    feature = file.message_type.add(name="Feature")
    feature.oneof_decl.add(name="kind")
    for number, name in enumerate(("BytesList", "FloatList", "Int64List"), 1):
        field_name = {"BytesList": "bytes_list", "FloatList": "float_list", "Int64List": "int64_list"}[name]
        feature.field.add(
            name=field_name,
            number=number,
            type=field.TYPE_MESSAGE,
            type_name=f".tensorflow.{name}",
            label=field.LABEL_OPTIONAL,
            oneof_index=0,
        )
    features = file.message_type.add(name="Features")
    entry = features.nested_type.add(name="FeatureEntry")
    entry.options.map_entry = True
    entry.field.add(name="key", number=1, type=field.TYPE_STRING, label=field.LABEL_OPTIONAL)
    entry.field.add(
        name="value", number=2, type=field.TYPE_MESSAGE, type_name=".tensorflow.Feature", label=field.LABEL_OPTIONAL
    )
    features.field.add(
        name="feature",
        number=1,
        type=field.TYPE_MESSAGE,
        type_name=".tensorflow.Features.FeatureEntry",
        label=field.LABEL_REPEATED,
    )
    file.message_type.add(name="Example").field.add(
        name="features",
        number=1,
        type=field.TYPE_MESSAGE,
        type_name=".tensorflow.Features",
        label=field.LABEL_OPTIONAL,
    )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("tensorflow.Example"))


EXAMPLE = _example_class()
