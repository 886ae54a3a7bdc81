#!/usr/bin/env python3
"""Whose code a program spends its time in, by perf's samples: the kernel, each library, and of a Rust program each crate and each of our own files.

whose.py SAMPLES PROGRAM [MICROSECONDS]    samples of perf record, the program's file, and what a request cost in all

A Rust program is inlined across its crates, so a function says little about whose code it is. The debug information says for each
address which functions were inlined there, one within the other. Code of the standard library counts for who called it.
"""

import collections
import re
import subprocess
import sys

CRATE = re.compile(r"/registry/src/[^/]+/(.+?)-\d")
STANDARD = re.compile(r"/rustc/|/rustlib/|/library/(core|alloc|std)/")
SAMPLE = re.compile(r"^\s*([0-9a-f]+) .*\((.*)\)$")
MAPPED = re.compile(r"PERF_RECORD_MMAP2 .*: \[0x([0-9a-f]+)\(0x([0-9a-f]+)\) @ (?:0x)?([0-9a-f]+) .*\]: \S*x\S* (.*)$")
LEAST = 0.3
"""Percent below which nobody is named."""


def lines(*command, given=None):
    """What a command prints."""
    return subprocess.run(command, input=given, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True).stdout.splitlines()


def segments(program):
    """Of each part of the file: where it begins in the file, how long it is, and the address it was linked for."""
    for line in lines("readelf", "--program-headers", "--wide", program):
        fields = line.split()
        if fields and fields[0] == "LOAD":
            offset, address, _, size = (int(field, 16) for field in fields[1:5])
            yield offset, size, address


def linked(address, mapped, parts):
    """For which address a place in memory was linked; None outside the program."""
    for start, length, offset in mapped:
        for begin, size, linked_for in parts:
            at = address - start + offset
            if start <= address < start + length and begin <= at < begin + size:
                return at - begin + linked_for
    return None


def owner(frames):
    """Whose code it is: of the innermost frame that is not of the standard library."""
    for frame in frames:
        if crate := CRATE.search(frame):
            return crate[1]
        if not STANDARD.search(frame) and not frame.startswith("?"):
            path = frame.rsplit(":", 1)[0]
            return next((path[path.find(ours) :] for ours in ("src/", "benches/") if ours in path), path)
    return "the standard library"


def owners(program, addresses):
    """Whose code is at each of these addresses of the program."""
    found, current = {}, None
    given = "\n".join(f"{address:#x}" for address in addresses)
    for line in lines("addr2line", "--exe", program, "--inlines", "--addresses", given=given):
        if line.startswith("0x"):
            current = found.setdefault(int(line, 16), [])
        else:
            current.append(line)
    return {address: owner(frames) for address, frames in found.items()}


def main(samples, program, microseconds=None):
    parts, mapped = list(segments(program)), []
    counts, inside = collections.Counter(), collections.Counter()
    for line in lines("perf", "script", "--input", samples, "--fields", "ip,sym,dso", "--show-mmap-events"):
        if found := MAPPED.search(line):
            start, length, offset = (int(found[number], 16) for number in (1, 2, 3))
            if found[4] == program:
                mapped.append((start, length, offset))
        elif found := SAMPLE.match(line):
            address, where = int(found[1], 16), found[2]
            if where != program:
                counts["the kernel" if where.startswith("[") else where.rsplit("/", 1)[-1]] += 1
                continue
            inside[linked(address, mapped, parts)] += 1
    counts["nobody knows"] += inside.pop(None, 0)
    whose = owners(program, inside)
    for address, count in inside.items():
        counts[whose.get(address, "nobody knows")] += count
    everything = sum(counts.values())
    if not everything:
        sys.exit(f"{samples} has no samples")
    rest = 0
    for name, count in counts.most_common():
        share = count / everything
        if share * 100 < LEAST:
            rest += count
            continue
        print_share(name, share, microseconds)
    print_share("all others", rest / everything, microseconds)


def print_share(name, share, microseconds):
    cost = f"{share * float(microseconds):7.2f} us" if microseconds else ""
    print(f"{share * 100:7.2f} % {cost}  {name}")


if __name__ == "__main__":
    if len(sys.argv) not in (3, 4):
        sys.exit(__doc__)
    main(*sys.argv[1:])
