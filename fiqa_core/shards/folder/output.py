"""Image folders as they are written: a folder for each label, or all images in one where there are none."""

import logging
from collections.abc import Mapping

from fiqa_core.shards.output import FileOutput, OutputRefusedError
from fiqa_core.shards.output_names import label_folder

_log = logging.getLogger(__name__)
_NUMBERED_NAMES = 2


class FolderOutput(FileOutput):
    """`<label>/<name>.<suffix>`; labels must give folders that every system tells apart."""

    def naming(self, dense: bool) -> int:
        """Numbered folders have zeros before their numbers since version 2."""
        return _NUMBERED_NAMES if dense else 0

    def refuse(self, labels: Mapping[str, int], unlabelled: int, dense: bool) -> None:  # noqa: ARG002
        """Refuse labels of which two would be one folder (on some system), or that give none."""
        if dense:
            return
        folders: dict[str, str] = {}
        for label in labels:
            folder = label_folder(label).casefold()
            other = folders.setdefault(folder, label)
            if not folder or other != label:
                why = "is no name for a folder" if not folder else f"and {other!r} would be one folder"
                raise OutputRefusedError(
                    f"the label {label!r} {why}. Number the labels with --relabel; the map is written."
                )
        changed = [label for label in labels if label_folder(label) != label]
        if changed:
            _log.warning(
                "%d labels are written as folders of another name, since not every system takes them: %r as %r. The "
                "index beside the images has the labels themselves.",
                len(changed),
                changed[0],
                label_folder(changed[0]),
            )
