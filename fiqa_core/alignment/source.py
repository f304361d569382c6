"""Makes an aligner inside the worker."""

from dataclasses import dataclass

import cv2

from fiqa_core.alignment.aligner import Aligner
from fiqa_core.alignment.choice import FaceRule
from fiqa_core.alignment.detector import FaceDetector
from fiqa_core.alignment.detector_file import DetectorFile
from fiqa_core.alignment.settings import AlignSettings


def use_one_thread_a_picture() -> None:
    """Let OpenCV find a face in one thread: pictures are decoded and aligned side by side, and its own threads would
    only wait for each other. Global to the process, so only for a worker; faces are the same in any number of threads.
    """
    cv2.setNumThreads(1)


@dataclass(frozen=True)
class AlignerSource:
    """Small and picklable: the detector's bytes go with it, so that workers need neither its package nor its store."""

    file: DetectorFile
    settings: AlignSettings

    @classmethod
    def of(cls, file: DetectorFile, rule: FaceRule) -> "AlignerSource":
        """With the default score."""
        return cls(file, AlignSettings(file.sha256, rule.value))

    def load(self) -> Aligner:
        """Make the aligner.

        Raises:
            AlignmentError: the file is not a YuNet that this OpenCV can run.
        """
        return Aligner(FaceDetector(self.file, self.settings.least_score), FaceRule(self.settings.faces))
