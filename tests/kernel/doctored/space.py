"""Address spaces of which somebody has the facts wrong."""

DOCTORED = {
    "A1": [
        lambda seen: seen._replace(death=seen.death._replace(signal=0)),
        lambda seen: seen._replace(death=seen.death._replace(signal=9)),
        lambda seen: seen._replace(death=seen.death._replace(address=0)),
        lambda seen: seen._replace(fault_address=0),
        lambda seen: seen._replace(port=seen.death._replace(signal=0)),
    ],
    "A2": [
        lambda seen: seen._replace(pointer_bytes=seen.pointer_bytes // 2),
        lambda seen: seen._replace(auxv_bytes=seen.auxv_bytes // 2),
        lambda seen: seen._replace(highest_pointer=seen.highest_pointer // 2),
        lambda seen: seen._replace(user_border=2 * (seen.highest_pointer + 1)),
    ],
    "A3": [
        lambda seen: seen._replace(accepted=seen.refused - (1 << 30)),
        lambda seen: seen._replace(accepted=seen.accepted // 2, refused=seen.refused // 2),
        lambda seen: seen._replace(refused=seen.refused - (1 << 20), accepted=seen.accepted - (1 << 20)),
        lambda seen: seen._replace(highest=seen.refused + 4096),
        lambda seen: seen._replace(processes=0),
        lambda seen: seen._replace(kernel_lowest=seen.accepted),
    ],
    "A4": [
        lambda seen: seen._replace(resident_bytes=(4096, *seen.resident_bytes[1:])),
        lambda seen: seen._replace(resident_bytes=(0, seen.mapped_bytes, seen.mapped_bytes)),
        lambda seen: seen._replace(write_faults=0),
        lambda seen: seen._replace(apart=0),
        lambda seen: seen._replace(process_bytes=(seen.process_bytes[1],) * 2),
    ],
    "A5": [
        lambda seen: seen._replace(found=(seen.found[0],) * 2),
        lambda seen: seen._replace(frames_differ=False),
        lambda seen: seen._replace(borders=(seen.borders[0], seen.borders[1] // 2)),
        lambda seen: seen._replace(refused=None),
    ],
}

PLAIN = {
    "A1": [
        lambda seen: seen._replace(vdso_bytes=0),
        lambda seen: seen._replace(vdso_start=b"\x00\x00\x00\x00"),
    ],
    "A2": [
        lambda seen: seen._replace(va_bits=64),
        lambda seen: seen._replace(va_bits=None),
        lambda seen: seen._replace(hole=seen.hole._replace(signal=0)),
        lambda seen: seen._replace(hole_faults=1),
        lambda seen: seen._replace(hole_faults=None, hole=seen.hole._replace(code=1)),
    ],
    "A3": [
        lambda seen: seen._replace(min_addr=0),
        lambda seen: seen._replace(bottom=seen.bottom | {"zero": None}),
        lambda seen: seen._replace(bottom=seen.bottom | {"allowed": "EPERM"}),
    ],
    "A4": [
        lambda seen: seen._replace(alike=0),
        lambda seen: seen._replace(read_faults=0),
        lambda seen: seen._replace(resident_bytes=(*seen.resident_bytes[:2], seen.mapped_bytes)),
    ],
    "A5": [lambda seen: seen._replace(permitted=None)],
}
