"""One scoring process a GPU: worker processes read, decode and write rows, and hand it their batches in shared memory.

A worker that needs the process and finds none starts it; the others connect (`launch`). They talk over a socket of
Linux's abstract namespace, which has no file and is gone when its process is. A batch lies in memory that has no name
(`memfd`) and is passed as a descriptor, so nobody else can open it, and the system frees it when the last of the two
processes ends, however it ends.

`wire`: messages and blocks of shared memory. `server`: the scoring process. `client`: the worker's side, a
`BatchScorer`. `launch`: find or start the process. `source`: makes the client inside a worker.
"""
