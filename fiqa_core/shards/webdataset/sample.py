"""A WebDataset sample: the files of one key, and which image each sidecar belongs to.

The key is the name up to the first dot of its last part. Many images may share it (`person.0001.jpg`,
`person.0002.jpg`): an image's own files are those named after it (`person.0001.cls`), and files named by the key alone
(`person.cls`) belong to all of its images.
"""

from collections.abc import Container, Mapping

from fiqa_core.shards.names import IMAGE_SUFFIXES
from fiqa_core.shards.tar.stream import Member

# Many images under one key are handed on in parts, so that memory stays bounded.
MAX_HELD_BYTES = 64 << 20
_MEMBER_BYTES = 1 << 10  # what a member costs beside its content
MAX_SIDECAR_BYTES = 1 << 20


class Sample:
    """The members of one key so far: images as (name without suffix, name, member), sidecars by name.

    `continued`: its first files were handed on before; `damaged`: bytes of the archive next to it are lost.
    """

    __slots__ = ("continued", "damaged", "held", "images", "key", "limit", "names", "sidecars")

    def __init__(self, key: str, limit: int = MAX_SIDECAR_BYTES, continued: bool = False) -> None:
        self.key = key
        self.limit = limit
        self.images: list[tuple[str, str, Member]] = []
        self.sidecars: dict[str, bytes] = {}
        self.names: set[str] = set()
        self.held = 0
        self.continued = continued
        self.damaged = False

    def add(self, name: str, member: Member) -> None:
        """Take one more member."""
        self.names.add(name)
        self.held += _MEMBER_BYTES + (member.size if member.data is not None else 0)
        root, dot, extension = name.rpartition(".")
        lower = extension.lower()
        if dot and lower in IMAGE_SUFFIXES:
            self.images.append((root, name, member))
        elif member.data is not None and member.size <= self.limit:
            self.sidecars[name if lower == extension else f"{root}.{lower}"] = member.data

    def full(self) -> bool:
        """Whether a part has to be handed on before the next member is added."""
        return self.held >= MAX_HELD_BYTES

    def split(self) -> tuple["Sample", "Sample"]:
        """The older half of the images with their files, and the rest.

        The newest image stays in the rest, since more of its files may follow. A single image goes with all files.
        """
        rest = Sample(self.key, self.limit, continued=True)
        count = len(self.images)
        if count < 2:
            return self, rest
        part = Sample(self.key, self.limit, self.continued)
        part.damaged = rest.damaged = self.damaged
        part.images, rest.images = self.images[: count // 2], self.images[count // 2 :]
        roots = {image[0] for image in self.images}
        later = {image[0] for image in rest.images}
        for name, data in self.sidecars.items():
            owner = self._owner(name, roots)
            shared = self._is_shared(name)
            if shared or (owner is not None and owner not in later):
                part.sidecars[name] = data
            if shared or owner is None or owner in later:
                rest.sidecars[name] = data
        # Files of images that never appear must not fill the memory.
        if sum(map(len, rest.sidecars.values())) + _MEMBER_BYTES * len(rest.sidecars) > MAX_HELD_BYTES // 2:
            owned = {n: d for n, d in rest.sidecars.items() if self._is_shared(n) or self._owner(n, later)}
            rest.sidecars = owned
        rest.names = {image[1] for image in rest.images} | set(rest.sidecars)
        rest.held = sum(_MEMBER_BYTES + len(m.data or b"") for _, _, m in rest.images)
        rest.held += sum(_MEMBER_BYTES + len(data) for data in rest.sidecars.values())
        return part, rest

    def others(self) -> tuple[list[Mapping[str, bytes]], list[str]]:
        """The files of each image, by suffix (lower case), and the names of files that belong to no image."""
        if len(self.images) == 1:
            return [self._all_of(self.images[0][0])], []
        own: dict[str, dict[str, bytes]] = {image[0]: {} for image in self.images}
        shared: dict[str, bytes] = {}
        stray = []
        for name, data in self.sidecars.items():
            owner = self._owner(name, own.keys())
            if owner is not None:
                own[owner][name[len(owner) + 1 :]] = data
            if self._is_shared(name):
                shared[name[len(self.key) + 1 :]] = data
            elif owner is None:
                stray.append(name)
        return [{**shared, **own[image[0]]} for image in self.images], stray

    def sidecar(self, root: str, kind: str) -> bytes | None:
        """An image's file of a kind (`cls`): its own, else the one of its key."""
        data = self.sidecars.get(f"{root}.{kind}")
        return self.sidecars.get(f"{self.key}.{kind}") if data is None else data

    def _all_of(self, root: str) -> dict[str, bytes]:
        skip = len(self.key) + 1
        if root == self.key:
            return {name[skip:]: data for name, data in self.sidecars.items()}
        begin = f"{root}."
        own = {name[len(begin) :]: data for name, data in self.sidecars.items() if name.startswith(begin)}
        return {name[skip:]: data for name, data in self.sidecars.items() if not name.startswith(begin)} | own

    def _is_shared(self, name: str) -> bool:
        return "." not in name[len(self.key) + 1 :]

    def _owner(self, name: str, roots: Container[str]) -> str | None:
        """The longest image name (without suffix) that this name begins with, up to a dot."""
        root = name
        while len(root) > len(self.key):
            root = root.rpartition(".")[0]
            if root in roots:
                return root
        return None
