"""What planning needs to know of other commands' files, where there are none."""


class NoneOwn:
    """No file was written by a command of this project."""

    def holds(self, folder: str, path: bytes) -> bool:
        return False

    def holds_url(self, url: str) -> bool:
        return False

    def is_output(self, folder: str) -> bool:
        return False
