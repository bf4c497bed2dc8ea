"""Address spaces as tables and trees for people."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from kintro.observers.memory import Group, Sums, dirty_bytes, sums, whole
from kintro.observers.memory_records import AddressSpace, Frame, Region
from kintro.renderers.text import printable, short_size
from kintro.shapes import Cell, Column, Tree, TreeRow

_FAINT = ("gap", "vdso", "vvar", "vsyscall")
_AMOUNTS: dict[str, Callable[[Region], int | None]] = {
    "SIZE": lambda region: region.mapping.size_bytes,
    "RSS": lambda region: region.usage.rss_bytes if region.usage else None,
    "PSS": lambda region: region.usage.pss_bytes if region.usage else None,
    "DIRTY": dirty_bytes,
    "SWAP": lambda region: region.usage.swap_bytes if region.usage else None,
}


def amount(value: int | None) -> str:
    return "?" if value is None else short_size(value)


def columns(regions: Sequence[Region], wide: bool) -> tuple[Column, ...]:
    """Of the table of regions. Only a wide one has both ends of a range; swap is there if any is used."""
    digits = max((len(f"{region.mapping.end:x}") for region in regions), default=12)
    kinds = max((len(region.kind) for region in regions), default=4)
    swap = any(region.usage and region.usage.swap_bytes for region in regions)
    return (
        Column("ADDRESSES" if wide else "START", 2 * digits + 1 if wide else digits, not wide),
        *(Column(name, 6, True) for name in _AMOUNTS if name != "SWAP" or swap or wide),
        Column("PERM", 4),
        Column("KIND", kinds),
        Column("WHAT", None),
    )


def row(region: Region, made_of: Sequence[Column]) -> tuple[Cell, ...]:
    """The cells of one region for those columns."""
    mapping = region.mapping
    wx = {"w", "x"} <= set(mapping.perms)
    meaning = "faint" if region.kind in _FAINT else ""
    texts = {
        "ADDRESSES": f"{mapping.start:x}-{mapping.end:x}",
        "START": f"{mapping.start:x}",
        **{name: amount(of(region)) for name, of in _AMOUNTS.items()},
        "KIND": region.kind,
        "WHAT": printable(region.what),
    }
    cells = {name: Cell(text, meaning) for name, text in texts.items()}
    cells["PERM"] = Cell(mapping.perms, "bad" if wx else meaning)
    return tuple(cells[column.title] for column in made_of)


def heading(space: AddressSpace) -> str:
    """One line on whose address space it is and how far it reaches."""
    exe = f", {printable(space.exe)}" if space.exe else ""
    frame = space.frame
    return (
        f"{printable(space.comm)} ({space.pid}){exe}: user space to 0x{frame.task_size:x}, "
        f"pages of {short_size(frame.page_bytes)}"
    )


def totals(space: AddressSpace) -> str:
    """One line of sums over the whole process."""
    total = whole(space)
    plural = "" if total.mappings == 1 else "s"
    text = f"{total.mappings} mapping{plural}, {short_size(total.size_bytes)} in all"
    if total.rss_bytes is None:
        return f"{text}; what is in memory only root or its owner may read"
    return (
        f"{text}; in memory {amount(total.rss_bytes)} (pss {amount(total.pss_bytes)}, "
        f"uss {amount(total.uss_bytes)}, dirty {amount(total.dirty_bytes)}), swap {amount(total.swap_bytes)}"
        + (f", hugetlb apart {amount(total.hugetlb_bytes)}" if total.hugetlb_bytes else "")
    )


GROUP_COLUMNS = tuple(Column(name, 6, True) for name in ("SIZE", "RSS", "PSS", "USS", "DIRTY", "SWAP"))


def tree(found: Iterable[Group], name: str) -> Tree:
    """Groups with their regions below, most in memory first."""
    rows: list[TreeRow] = []
    for group in found:
        label = f"{printable(group.name)} ({group.sums.mappings})"
        rows.append(TreeRow(0, False, _sum_cells(group.sums), label))
        for number, region in enumerate(group.regions, start=1):
            mapping = region.mapping
            text = f"{mapping.start:x} {mapping.perms} {region.kind} {printable(region.what)}".rstrip()
            last = number == len(group.regions)
            rows.append(TreeRow(1, last, _sum_cells(sums([region])), text))
    return Tree(GROUP_COLUMNS, name.upper(), tuple(rows))


def _sum_cells(of: Sums) -> tuple[Cell, ...]:
    values = (of.size_bytes, of.rss_bytes, of.pss_bytes, of.uss_bytes, of.dirty_bytes, of.swap_bytes)
    return tuple(Cell(amount(value)) for value in values)


FRAME_COLUMNS = (
    Column("FROM", 16, True),
    Column("TO", 16, True),
    Column("SIZE", 6, True),
    Column("HOW", 8),
    Column("WHAT", None),
)


def frame_rows(frame: Frame) -> list[tuple[Cell, ...]]:
    """The whole 64-bit space from 0 to the top, each stretch with how it is known."""
    stretches = [(0, frame.task_size, "tried", f"user space ({frame.task_size_source})")]
    if frame.task_size_source.startswith("inferred"):
        stretches[0] = (0, frame.task_size, "inferred", f"user space ({frame.task_size_source})")
    if frame.mmap_min_addr:
        first = (0, frame.mmap_min_addr, "read", "never mapped (vm.mmap_min_addr)")
        stretches[:1] = [first, (frame.mmap_min_addr, *stretches[0][1:])]
    stretches += [(region.start, region.end, region.source, region.name) for region in frame.kernel]
    return [
        (
            Cell(f"{start:x}"),
            Cell(f"{end - 1:x}"),
            Cell(short_size(end - start)),
            Cell(how),
            Cell(what, "faint" if "hole" in what or "never" in what else ""),
        )
        for start, end, how, what in stretches
    ]
