#!/usr/bin/env python3
"""Packs programs into an image that containerd imports: an OCI archive of one layer, the same bytes for the same input.

    image.py ARCHIVE NAME PROGRAM...    each PROGRAM becomes /<its file name>; the first is the entry point

A program that is not static brings the libraries of this machine that it asks for, and nothing else.
"""
import hashlib
import io
import json
import platform
import re
import subprocess
import sys
import tarfile
from pathlib import Path

ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


def add(archive, name, content, mode=0o644):
    """Adds a file without owner and time, which would differ from build to build."""
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(content), mode
    archive.addfile(entry, io.BytesIO(content))


def libraries_of(program):
    """The files that the dynamic linker would map, and the linker itself; none for a static program."""
    asked = subprocess.run(["ldd", program], capture_output=True, text=True, check=False)
    if asked.returncode != 0:
        return set()
    missing = re.findall(r"^\s*(\S+) => not found", asked.stdout, re.MULTILINE)
    if missing:
        sys.exit(f"{program} needs {', '.join(missing)}, which this machine does not have")
    return set(re.findall(r"(/\S+) \(0x", asked.stdout))


def layer_of(programs):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for program in programs:
            add(archive, program.name, program.read_bytes(), 0o755)
        for library in sorted(set().union(*map(libraries_of, programs))):
            add(archive, library.lstrip("/"), Path(library).read_bytes(), 0o755)
    return buffer.getvalue()


class Blobs:
    """The contents of the archive, by their digests."""

    def __init__(self):
        self.by_digest = {}

    def keep(self, media_type, content):
        """Keeps a content, and gives the descriptor by which others refer to it."""
        digest = hashlib.sha256(content).hexdigest()
        self.by_digest[digest] = content
        kind = "application/vnd.oci.image." + media_type
        return {"mediaType": kind, "digest": "sha256:" + digest, "size": len(content)}

    def keep_json(self, media_type, value):
        return self.keep(media_type, json.dumps(value, sort_keys=True).encode())


def pack(path, name, programs):
    blobs = Blobs()
    # Not compressed: it never leaves this machine.
    layer = blobs.keep("layer.v1.tar", layer_of(programs))
    config = blobs.keep_json("config.v1+json", {
        "architecture": ARCHITECTURES[platform.machine()],
        "os": "linux",
        "config": {"Entrypoint": ["/" + programs[0].name], "User": "65532"},
        "rootfs": {"type": "layers", "diff_ids": [layer["digest"]]},
    })
    manifest = blobs.keep_json("manifest.v1+json", {"schemaVersion": 2, "config": config, "layers": [layer]})
    manifest["annotations"] = {"io.containerd.image.name": name}
    with tarfile.open(path, "w") as archive:
        add(archive, "oci-layout", b'{"imageLayoutVersion": "1.0.0"}')
        add(archive, "index.json", json.dumps({"schemaVersion": 2, "manifests": [manifest]}).encode())
        for digest, content in blobs.by_digest.items():
            add(archive, "blobs/sha256/" + digest, content)


if __name__ == "__main__":
    if len(sys.argv) < 4:
        sys.exit(__doc__)
    pack(sys.argv[1], sys.argv[2], [Path(argument) for argument in sys.argv[3:]])
