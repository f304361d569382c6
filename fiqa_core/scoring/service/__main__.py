"""The scoring process itself: `python -m fiqa_core.scoring.service`, started by `launch`, fed by its standard input."""

import logging
import pickle
import signal
import socket
import sys

from fiqa_core.scoring.service.launch import EXIT_TAKEN


def main() -> int:
    """Take the address, load the network, serve until the last worker is gone."""
    # Ctrl-C ends the driver and the workers; this process ends after them.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # The pipe comes from the process that started this one.
    address, device = pickle.load(sys.stdin.buffer)  # noqa: S301
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listener.bind(address)
    except OSError:
        return EXIT_TAKEN  # another worker was faster
    listener.listen(128)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    # Slow imports come after the address is taken, while others wait for an answer.
    from fiqa_core.scoring.service.server import serve

    serve(listener, device, lambda: pickle.load(sys.stdin.buffer).load())  # noqa: S301
    return 0


if __name__ == "__main__":
    sys.exit(main())
