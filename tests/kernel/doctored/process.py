"""Programs and processes that are not what they are said to be, and threads that do not share."""

from kintro.sources.procfs import FileId
from tests.kernel.doctored.change import every, first

DOCTORED = {
    "P1": [
        lambda seen: seen._replace(of_one_program=seen.of_one_program[:1]),
        lambda seen: seen._replace(of_one_program=first(seen.of_one_program, file=FileId(1, 1))),
        lambda seen: seen._replace(of_one_program=every(seen.of_one_program, file=None)),
        lambda seen: seen._replace(of_one_program=every(seen.of_one_program, pid=7)),
    ],
    "P2": [
        lambda seen: seen._replace(threads=seen.threads[:1]),
        lambda seen: seen._replace(threads=first(seen.threads, memory_bytes=4096)),
        lambda seen: seen._replace(threads=first(seen.threads, fd_slots=1)),
        lambda seen: seen._replace(threads=first(seen.threads, structs={"mm": 1})),
        lambda seen: seen._replace(child=seen.threads[0]),
        lambda seen: seen._replace(child=seen.child._replace(umask=seen.threads[0].umask)),
        lambda seen: seen._replace(child=seen.child._replace(structs=seen.threads[0].structs)),
    ],
}

PLAIN = {
    "P1": [
        lambda seen: seen._replace(in_one_process=every(seen.in_one_process, file=FileId(1, 1))),
        lambda seen: seen._replace(in_one_process=first(seen.in_one_process, start_time_ns=1)),
        lambda seen: seen._replace(execs=0),
    ],
    "P2": [
        lambda seen: seen._replace(kernel_thread=None),
        lambda seen: seen._replace(kernel_thread=seen.threads[0]),
        lambda seen: seen._replace(threads=every(seen.threads, times_run=0)),
    ],
}
