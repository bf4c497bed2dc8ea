"""Holds the house up: what the layout promises of imports, probes, records, verbs and pages."""

from __future__ import annotations

import argparse
import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from kintro import __version__
from kintro.cli import VERBS, parser
from kintro.observers import (
    buckets,
    calls_records,
    faults_records,
    lifecycle_records,
    switches_records,
    syscall_signatures,
    syscalls_records,
    task_records,
    thread_records,
    traffic_records,
)
from kintro.sources.kernel_memory import READS, ROOM
from kintro.sources.probe_source import probe_text

REPO = Path(__file__).resolve().parent.parent
PACKAGE = REPO / "kintro"
MODULES = sorted(PACKAGE.rglob("*.py"))
PROBES = sorted(REPO.glob("probes/*.[ch]"))
LINES_MAX = 300

# A file imports from its own floor and below; of the parts of one floor those named apart do not mix.
FLOORS = {
    "errors": 0, "shapes": 0, "sources": 1, "renderers": 1, "observers": 2, "concepts": 3, "labs": 4,
    "cli": 5, "__init__": 6, "__main__": 6,
}  # fmt: skip
APART = {"errors", "shapes", "sources", "renderers"}
ONLY_IMPORTER = {
    "bcc": "sources/bpf.py", "nanoarrow": "sources/arrow.py", "perfetto": "renderers/perfetto.py",
    "pyroute2": "sources/netlink.py",
}  # fmt: skip


def name_of(path: Path) -> str:
    return str(path.relative_to(PACKAGE))


def imports(tree: ast.AST) -> Iterator[str]:
    """Every module that a file imports, wherever the import stands, and every one that it names in a string.

    A string counts as whole dotted name below kintro, or as what is given to a loader of modules.
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            if re.match(r"kintro\.\w+(\.|$)", node.value):
                yield node.value
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            called = ast.unparse(node.func).rpartition(".")[2]
            if called in ("import_module", "__import__", "find_spec", "spec_from_file_location"):
                yield str(node.args[0].value)


def part_of(module: str) -> str | None:
    """The part of kintro that a dotted name lies in; None for what is not kintro's."""
    top, _, rest = module.partition(".")
    if top != "kintro":
        return None
    part = rest.partition(".")[0]
    return part if part in FLOORS else "__init__"


def breaches(path: str, text: str) -> list[str]:
    """The imports of a file that point up or aside."""
    own = path.partition("/")[0].removesuffix(".py")
    found = []
    for module in imports(ast.parse(text)):
        part = part_of(module)
        if part is None or module == "kintro" or module.startswith("kintro.__version__"):
            continue
        apart = part != own and {part, own} <= APART and FLOORS[part] == FLOORS[own]
        if FLOORS[part] > FLOORS[own] or apart:
            found.append(f"{path} imports {module}")
    return found


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_imports_point_down(path: Path) -> None:
    assert name_of(path).partition("/")[0].removesuffix(".py") in FLOORS
    assert breaches(name_of(path), path.read_text()) == []


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("sources/x.py", "def f():\n    from kintro.observers import lifecycle"),
        ("sources/x.py", "import kintro.renderers.text"),
        ("renderers/x.py", "from kintro.sources.host import ROOT"),
        ("shapes.py", "from kintro import errors"),
        ("observers/x.py", "if TYPE_CHECKING:\n    from kintro.cli.output import Output"),
        ("observers/x.py", "import_module('kintro.cli.output')"),
        ("observers/x.py", "import_module(f'kintro.cli.{name}')"),
        ("errors.py", "import kintro.sources"),
    ],
)
def test_a_breach_would_be_seen(path: str, text: str) -> None:
    assert len(set(breaches(path, text))) == 1


@pytest.mark.parametrize(("package", "owner"), ONLY_IMPORTER.items())
def test_one_importer_of_each_foreign_package(package: str, owner: str) -> None:
    importers = {
        name_of(path)
        for path in MODULES
        if any(module.partition(".")[0] == package for module in imports(ast.parse(path.read_text())))
    }
    assert importers == ({owner} if (PACKAGE / owner).exists() else set())


@pytest.mark.parametrize("path", [*MODULES, *PROBES], ids=lambda path: str(path.relative_to(REPO)))
def test_one_job_for_each_file(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= LINES_MAX


# Probes and records


RECORDS = {
    "calls": calls_records,
    "faults": faults_records,
    "lifecycle": lifecycle_records,
    "switches": switches_records,
    "syscalls": syscalls_records,
    "task": task_records,
    "traffic": traffic_records,
}
EVENTS = [(probe, kind) for probe, module in RECORDS.items() for kind in module.RECORDS]


def c_fields(probe: str, kind: str) -> list[tuple[str, str, str]]:
    """(type, name, dimension) of the members of an event struct."""
    found = re.search(rf"^struct {kind}_event {{$(.*?)^}};", probe_text(probe), re.MULTILINE | re.DOTALL)
    assert found is not None
    body = re.sub(r"/\*.*?\*/", "", found[1], flags=re.DOTALL)
    members = re.findall(r"^ +(\w+) (\w+)(\[\d*\])?;\s*$", body, re.MULTILINE)
    assert len(members) == body.count(";")
    return members


def record_fields(probe: str, kind: str) -> list[str]:
    return list(RECORDS[probe].RECORDS[kind]._fields)


def test_each_probe_has_its_records() -> None:
    assert {path.stem for path in PROBES if path.suffix == ".c"} == set(RECORDS)
    assert {probe: module.PROBE for probe, module in RECORDS.items()} == {probe: probe for probe in RECORDS}


@pytest.mark.parametrize("probe", RECORDS)
def test_each_ring_has_its_record(probe: str) -> None:
    rings = re.findall(r"^RING\((\w+), (\d+), \d+\);", probe_text(probe), re.MULTILINE)
    assert [ring for ring, _ in rings] == list(RECORDS[probe].RECORDS)
    assert [int(number) for _, number in rings] == list(range(len(rings)))


@pytest.mark.parametrize(("probe", "kind"), [event for event in EVENTS if event[1] != "exec"])
def test_an_event_in_c_has_the_fields_of_its_record(probe: str, kind: str) -> None:
    assert [name for _, name, _ in c_fields(probe, kind)] == record_fields(probe, kind)


def test_an_exec_has_the_fields_of_its_record_once_decoded() -> None:
    assert list(lifecycle_records.dtypes()["exec"].names or ()) == record_fields("lifecycle", "exec")
    names = [name for _, name, _ in c_fields("lifecycle", "exec")]
    assert names[-1] == "data"
    assert set(record_fields("lifecycle", "exec")) - set(names) == {"filename", "argv", "argv_truncated"}


@pytest.mark.parametrize(("probe", "kind"), EVENTS)
def test_fields_of_an_event_are_of_plain_types_and_widest_first(probe: str, kind: str) -> None:
    widths = {"u64": 8, "s64": 8, "u32": 4, "s32": 4, "u16": 2, "u8": 1, "char": 1}
    members = c_fields(probe, kind)
    assert [widths[c_type] for c_type, _, _ in members] == sorted(
        (widths[c_type] for c_type, _, _ in members), reverse=True
    )
    for c_type, name, dimension in members:
        assert c_type == ("u64" if name.endswith("_ns") else c_type)
        assert (c_type, dimension) == ("char", "[16]") if name == "comm" else dimension in ("", "[]")


def test_what_is_counted_of_faults_in_c_and_in_python() -> None:
    text = probe_text("faults")
    [kinds] = re.findall(r"^enum {(.*), KINDS };", text, re.MULTILINE)
    assert [kind.strip().lower().removesuffix("s") for kind in kinds.split(",")] == list(
        faults_records.COLUMNS
    )
    assert list(faults_records.COLUMNS) == list(faults_records.Counts._fields)
    assert constant("probes/faults.c", r"^#define PAGES (\d+)\b") == faults_records.PAGES
    slots = dict(re.findall(r"^COUNTER\((\w+), (\d+)\);", text, re.MULTILINE))
    wanted = [f"{mode}_{kind}" for mode in ("user", "kernel") for kind in faults_records.KINDS]
    assert [int(slots[name]) - int(slots["user_read"]) for name in wanted] == list(range(8))
    blocks = constant("probes/faults.c", r"^#define BLOCKS (\d+)\b")
    assert constant("kintro/observers/watch.py", r"^ROOM = (\d+)\b") == blocks // 4


def test_what_is_counted_of_system_calls_in_c_and_in_python() -> None:
    for name in ("SLOTS", "OTHER_SLOT", "COMPAT_SLOT"):
        in_c = constant("probes/syscalls.h", rf"^#define {name} (\d+)\b")
        assert getattr(syscalls_records, name) == in_c
    assert constant("probes/record.h", r"^    HELD = (\d+),") == thread_records.HELD
    for name in ("SLOTS", "OTHER_SLOT", "COMPAT_SLOT", "ARGUMENTS", "RESULT"):
        assert getattr(calls_records, name) == constant("probes/calls.h", rf"^#define {name} (\d+)\b")
    assert constant("probes/open_files.h", r"^#define TOLD_BITS (\d+)\b") == calls_records.TOLD_BITS
    assert syscalls_records.UNFINISHED == 0xFFFF
    assert "#define UNFINISHED 0xffff" in probe_text("syscalls")


def test_what_is_counted_of_switches_in_c_and_in_python() -> None:
    for name in ("USED", "ASLEEP", "WANTED", "SHOWN", "DEAD"):
        assert getattr(switches_records, name) == constant("probes/switches.h", rf"^    {name} = (\d+),")


def test_buckets_of_durations_in_c_and_in_python() -> None:
    for name in ("BUCKETS", "FIRST_EXPONENT"):
        assert getattr(buckets, name) == constant("probes/buckets.h", rf"^#define {name} (\d+)\b")


def test_what_the_probe_of_calls_is_told_in_c_and_in_python() -> None:
    kinds, *bits = re.findall(
        r"^enum \{([^}]*)\};", REPO.joinpath("probes/calls.h").read_text(), re.MULTILINE
    )
    names = re.findall(r"\b[A-Z_]+\b", kinds)
    assert [getattr(syscall_signatures, name) for name in names] == list(range(len(names)))
    assert constant("probes/open_files.h", r"^#define STRING_MAX (\d+)\b") == syscall_signatures.STRING_MAX
    in_c = dict(re.findall(r"\b([A-Z_]+) = (\d+)\b", "".join(bits)))
    del in_c["INTRODUCED"], in_c["MOVING"]  # the probe's own
    assert in_c == {name: str(getattr(calls_records, name)) for name in in_c} and len(in_c) == 12


def test_what_is_told_of_traffic_in_c_and_in_python() -> None:
    text = REPO.joinpath("probes/traffic.h").read_text()
    assert constant("probes/traffic.h", r"^#define CALLS (\d+)\b") == traffic_records.CALLS
    in_c = {}
    for body in re.findall(r"^enum \{([^}]*)\};", text, re.MULTILINE):
        at = 0
        for name, value in re.findall(r"\b([A-Z][A-Z_0-9]+)\b(?: = (\d+))?", re.sub(r"/\*.*?\*/", "", body)):
            at = int(value or at)
            in_c[name] = at
            at += 1
    del in_c["NO_CALL"], in_c["NOBODY"]  # 0
    assert in_c == {name: getattr(traffic_records, name) for name in in_c} and len(in_c) == 41
    kinds = [getattr(traffic_records, kind.upper().replace("-", "_")) for kind in traffic_records.KINDS[1:]]
    assert kinds == list(range(1, len(kinds) + 1))


def test_a_comm_is_copied_up_to_its_nul() -> None:
    """Kernels before 5.17 leave the rest of an earlier, longer name behind it."""
    text = probe_text("lifecycle")
    assert re.findall(r"READ\([^,]*comm\b", text) == []
    assert len(re.findall(r"bpf_probe_read_kernel_str\(event\.comm,", text)) == 3


def constant(path: str, pattern: str) -> int:
    [number] = re.findall(pattern, (REPO / path).read_text(), re.MULTILINE)
    return int(number)


def test_the_room_for_reads_in_c_and_in_python() -> None:
    assert constant("probes/task.c", r"^#define READS (\d+)\b") == READS
    [mask] = re.findall(r"^#define ROOM_MASK (\w+)", probe_text("task"), re.MULTILINE)
    assert int(mask, 16) == ROOM - 1
    assert f'"%0 &= {ROOM - 1}"' in probe_text("task") and f'"%0 &= {ROOM - 8}"' in probe_text("task")


def test_counters_of_one_cpu_in_c_and_in_python() -> None:
    in_c = constant("probes/kintro.h", r"^#define COUNTERS (\d+)\b")
    assert constant("kintro/sources/probe.py", r"^COUNTERS = (\d+)\b") == in_c
    assert in_c * 8 % 64 == 0  # whole cache lines


@pytest.mark.parametrize("probe", RECORDS)
def test_each_counter_has_a_slot_of_its_own(probe: str) -> None:
    text = probe_text(probe)
    counters = re.findall(r"^COUNTER\(\w+, (\d+)\);", text, re.MULTILINE)
    rings = [int(number) for number in re.findall(r"^RING\(\w+, (\d+), \d+\);", text, re.MULTILINE)]
    slots = [int(slot) for slot in counters] + [slot for n in rings for slot in (2 * n, 2 * n + 1)]
    assert len(counters) == len(re.findall(r"^COUNTER\(", text, re.MULTILINE))
    assert len(rings) == len(re.findall(r"^RING\(", text, re.MULTILINE))
    assert len(set(slots)) == len(slots)
    assert max(slots) < constant("probes/kintro.h", r"^#define COUNTERS (\d+)\b")


def test_limits_of_argv_fit_their_masks() -> None:
    text = probe_text("lifecycle")
    limits = re.findall(r"^#define (\w+_MAX) (\d+)", text, re.MULTILINE)
    defined = {name: int(number) for name, number in limits}
    assert defined["ARGV_MAX"] <= 65535 and "&= 65535" in text
    assert defined["FILENAME_MAX"] < 8191 and "&= 8191" in text


# Verbs


def parsers() -> dict[str, argparse.ArgumentParser]:
    [verbs] = [action for action in parser()._actions if isinstance(action, argparse._SubParsersAction)]
    return dict(verbs.choices)


def options(verb: str) -> list[str]:
    return [option for action in parsers()[verb]._actions for option in action.option_strings]


def says(text: str, option: str) -> bool:
    return re.search(rf"(?<![\w-]){re.escape(option)}(?![\w-])", text) is not None


def test_each_module_of_a_verb_is_one() -> None:
    helpers = {"__init__", "lab_dialogue", "maps_views", "output", "saving", "signals", "tracing"}
    modules = {path.stem for path in (PACKAGE / "cli").glob("*.py")} - helpers
    assert modules == {verb.replace("-", "_") for verb in VERBS}
    assert list(parsers()) == list(VERBS)


@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_says_what_it_does_and_shows_how(verb: str) -> None:
    part = parsers()[verb]
    assert part.description and len(part.description) > 40
    assert part.epilog and "examples:\n" in part.epilog
    assert f"kintro {verb}" in part.epilog.partition("examples:")[2]
    for action in part._actions:
        assert action.help or action.choices, f"{action.option_strings or action.dest} has no help"


@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_has_a_page_that_names_every_option(verb: str) -> None:
    page = (REPO / "docs" / f"{verb}.md").read_text()
    wanted = [option for option in options(verb) if option not in ("-h", "--help")]
    missing = [option for option in wanted if not says(page, option)]
    assert missing == []


@pytest.mark.parametrize("readme", ["README.md", "README.zh-CN.md"])
def test_a_readme_leads_to_every_page_that_is_there(readme: str) -> None:
    linked = set(re.findall(r"\]\(([^)#:]+)\)", REPO.joinpath(readme).read_text()))
    assert linked >= {f"docs/{verb}.md" for verb in VERBS}
    assert all(REPO.joinpath(path).exists() for path in linked)


@pytest.mark.parametrize("verb", VERBS)
def test_a_page_has_examples_and_no_option_that_is_not_there(verb: str) -> None:
    page = (REPO / "docs" / f"{verb}.md").read_text()
    assert "## Examples" in page
    known = {option for other in VERBS for option in options(other)} | {"--version"}
    shown = re.findall(r"^(?:\$ )?(?:sudo )?kintro ([a-z-]+)([^#\n]*)", page, re.MULTILINE)
    assert any(name == verb for name, _ in shown)
    for name, rest in shown:
        ours = re.split(r"\s{2,}| -- ", rest)[0]
        assert name in VERBS
        assert [word for word in re.findall(r"(?<!\S)--[a-z-]+", ours) if word not in known] == []


@pytest.mark.parametrize("verb", [verb for verb in VERBS if "--json" in options(verb)])
def test_a_verb_with_json_has_a_test_of_it(verb: str) -> None:
    """A test, or what it calls in its file, that gives both the verb and --json to kintro."""
    words = {
        path: set(re.findall(r'"[\w-]+"', path.read_text()))
        for path in (REPO / "tests").rglob("*.py")
        if path != Path(__file__)
    }
    tested = [path for path, found in words.items() if {f'"{verb}"', '"--json"'} <= found]
    assert tested


def test_one_version() -> None:
    assert f'\nversion = "{__version__}"\n' in (REPO / "pyproject.toml").read_text()
