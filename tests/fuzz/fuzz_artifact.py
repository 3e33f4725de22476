"""Feeds broken Artifacts to the reader: only ``ArtifactError`` may be raised, in little time and memory.

    python tests/fuzz/fuzz_artifact.py --cases 200000 [--seed N]

Each case is made from a real or a built Artifact by a few mutations, and is determined by its seed alone: a failure
prints the command that repeats it. Blind changes seldom get past a digest or a checksum, so half of the cases
repair what verifies the part that was changed.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from array import array
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from core.artifact.forge import (
    DATA,
    REAL,
    Forge,
    Trickle,
    full_counts,
    info,
    outer,
    pack,
    padded,
    tar,
    tar_file,
    type_info,
)
from fuzz.mutations import ODD, mutate_bytes
from fuzz.running import Bounds, Result, run_cases
from mender_client.core.artifact import ArtifactReader, BlockIndex, Expander, Limits, Readable
from mender_client.core.artifact.block_index import MEMBER_BYTES, count_blocks, encode_index
from mender_client.errors import ArtifactError

BOUNDS = Bounds(seconds=60.0, memory_bytes=48 << 20)
"""A case takes a few milliseconds; on a busy machine it may be delayed by a second. Memory may contain an xz
dictionary that a mutation enlarged, and a little more."""
LARGE_BYTES = 50_000
"""Above this size an Artifact isn't read in tiny pieces: a few of these would take longer than all others together."""
LIMITS = Limits(payload_bytes=4 << 20, window_bytes=16 << 20)

FIELDS = [
    *((0, 100), (100, 8), (108, 8), (116, 8), (124, 12), (136, 12)),  # name to time
    *((148, 8), (156, 1), (157, 100), (257, 8), (345, 155)),  # checksum to prefix
]
KINDS = ("none", "gzip", "xz", "zstd")


def seeds() -> list[bytes]:
    """Provide the Artifacts that the mutations start from: the reference tool's, and generated ones."""
    real = [(DATA / name).read_bytes() for name in REAL]
    return real + [Forge(compression=compression).build() for compression in KINDS]


def mutate_block(rng: random.Random, content: bytes) -> bytes:
    """Change a field of a tar header and correct its checksum."""
    blocks = [at for at in range(0, len(content), 512) if content[at + 257 : at + 262] == b"ustar"]
    if not blocks:
        return content
    changed = bytearray(content)
    at = rng.choice(blocks)
    offset, length = rng.choice(FIELDS)
    digits = (rng.choice((rng.randrange(256), 0x30 + rng.randrange(10), 0)) for _ in range(length))
    value = bytes(digits)[: rng.randrange(length + 1)]
    value = rng.choice((value, rng.choice(ODD)[:length], b"x"[:length], b"g"[:length]))
    changed[at + offset : at + offset + len(value)] = value
    if offset != 148:
        block = changed[at : at + 512]
        block[148:156] = b" " * 8
        changed[at + 148 : at + 156] = b"%06o\0 " % sum(block)
    return bytes(changed)


def forged(rng: random.Random) -> bytes:
    """Change a part of a generated Artifact, with all digests around it corrected."""
    compression = rng.choice(KINDS)
    content = rng.randbytes(rng.choice((0, 1, 511, 512, 513, 3000)))
    parts = Forge(compression=compression, files=[("file", content)])
    change = rng.choice((mutate_bytes, mutate_block))
    match rng.randrange(6):
        case 0:
            return replace(parts, header=change(rng, parts.header_stored())).build()
        case 1:
            return replace(parts, payload=change(rng, parts.payload_stored())).build()
        case 2:
            members = tar(tar_file("header-info", info()), tar_file("headers/0000/type-info", type_info()))
            return replace(parts, header=pack(change(rng, members), compression)).build()
        case 3:
            payload = pack(change(rng, tar(tar_file("file", content))), compression)
            return replace(parts, payload=payload).build()
        case 4:
            key = rng.choice(("info", "type_info", "meta_data"))
            text = {"info": info(), "type_info": type_info(), "meta_data": b'{"a":[1,{"b":2.5}]}'}[key]
            return replace(parts, **{key: mutate_bytes(rng, text)}).build()  # type: ignore[arg-type]  # all are bytes
        case _:
            manifest = "".join(f"{line}\n" for line in parts.lines()).encode()
            return replace(parts, manifest=mutate_bytes(rng, manifest)).build()


def indexed(rng: random.Random) -> bytes:
    """Change the index of a payload, its members, or its content in a way that it can still be parsed."""
    content = rng.randbytes(rng.choice((1, 30_000))) + bytes(rng.choice((0, 100_000)))
    archive = tar(tar_file("file", content))
    begin = rng.choice((0, 512, 512, rng.randrange(2000)))
    parts = [archive[:begin]] * bool(begin)
    parts += [archive[at : at + MEMBER_BYTES] for at in range(begin, len(archive), MEMBER_BYTES)]
    members = [pack(part, "gzip") for part in parts]
    hashes = rng.randbytes(8 * count_blocks(len(archive), begin))
    index = encode_index(len(archive), begin, array("H", map(len, members)), full_counts(len(archive), begin), hashes)
    match rng.randrange(6):
        case 0:
            index = mutate_bytes(rng, index)
        case 1:
            index = change_head(rng, index)
        case 2:
            index = rng.choice((index * 2, index[: rng.randrange(len(index))], pack(b"", "gzip") + index, b""))
        case 3:
            members = rng.choice((rng.sample(members, len(members)), members[1:], members * 2))
        case 4:
            members[0] = mutate_bytes(rng, members[0])
        case _:
            pass
    payload = index + b"".join(members)
    return Forge(compression="gzip", files=[("file", content)], payload=payload).build()


def change_head(rng: random.Random, index: bytes) -> bytes:
    """Change a number in the head of an index."""
    at = 16 + 4 * rng.randrange(8)
    number = int.from_bytes(index[at : at + 4], "little")
    changed = rng.choice((0, 1, number + 1, number - 1, number ^ 1 << rng.randrange(32), rng.randrange(1 << 32), -1))
    return index[:at] + (changed % (1 << 32)).to_bytes(4, "little") + index[at + 4 :]


def shuffled(rng: random.Random) -> bytes:
    """Reorder, duplicate or drop members of a generated Artifact."""
    members = Forge(compression=rng.choice(KINDS), signature=b"c2ln").members()
    picked = rng.choices(members, k=rng.randrange(8)) if rng.randrange(2) else rng.sample(members, len(members))
    tail = bytes(rng.choice((0, 512, 1024, 1024, 1536)))
    return outer(picked, tail=tail) + padded(rng.choice(ODD))[: rng.choice((0, 9))]


def make_case(seed: int, originals: Sequence[bytes]) -> bytes:
    """Make the case of a seed."""
    rng = random.Random(seed)
    kind = rng.randrange(10)
    if kind < 2:
        return indexed(rng)
    if kind < 5:
        return forged(rng)
    if kind == 5:
        return shuffled(rng)
    change: Callable[[random.Random, bytes], bytes] = mutate_block if kind < 8 else mutate_bytes
    content = change(rng, rng.choice(originals))
    return content[: rng.randrange(len(content) + 1)] if rng.randrange(20) == 0 else content


class Unwilling:
    """An ``Expander`` that checks its arguments and lets the payload be decompressed as it is read."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def index_ends_at(self, offset: int) -> None:
        assert offset <= len(self._content)

    def no_index(self, problem: str) -> None:
        assert problem.isprintable(), ascii(problem)

    def expand(self, index: BlockIndex, start: int, end: int) -> Readable | None:
        assert end - start == index.offsets()[-1]
        assert index.blocks == count_blocks(index.size, index.begin)
        assert index.size == index.member_span(len(index.lengths) - 1)[1]
        return None


def try_case(content: bytes, seed: int) -> str:
    """Verify a case, with and without reading its index; return the message of the refusal without its particulars."""
    few = 7 if len(content) < LARGE_BYTES else 1000
    piece = random.Random(seed).choice((1 << 20, 4096, few))
    plain = verify(content, piece, seed, None)
    looked_at = verify(content, piece, seed, Unwilling(content))
    assert (plain == "accepted") == (looked_at == "accepted"), (plain, looked_at)
    return " ".join(word for word in plain.split(";")[0].split()[3:] if word.isalpha()) or plain


def verify(content: bytes, piece: int, seed: int, expander: Expander | None) -> str:
    """Verify a case; return the message of the refusal."""
    try:
        ArtifactReader(
            Trickle(content, piece), limits=LIMITS, accept_augmented=seed % 2 == 0, expander=expander
        ).finish()
    except ArtifactError as error:
        return str(error)
    return "accepted"


def run(cases: int, first_seed: int, *, memory: bool = True) -> Result:
    """Try a number of cases.

    Args:
        cases: how many.
        first_seed: the seed of the first; the next ones follow.
        memory: measure the memory of each case; three times slower.
    """
    originals = seeds()
    return run_cases(
        cases,
        first_seed,
        make=lambda seed: make_case(seed, originals),
        attempt=try_case,
        bounds=BOUNDS,
        memory_every=1 if memory else 0,
    )


def main(arguments: Sequence[str]) -> int:
    """The command line; returns 1 if there was a failure."""
    parser = argparse.ArgumentParser(description="Throw broken Artifacts at the reader.")
    parser.add_argument("--cases", type=int, default=200_000)
    parser.add_argument("--seed", type=int, default=0, help="the seed of the first case")
    parser.add_argument("--memory", action="store_true", help="watch the memory of each case, too")
    options = parser.parse_args(arguments)
    begin = time.perf_counter()
    result = run(options.cases, options.seed, memory=options.memory)
    for message, count in result.outcomes.most_common():
        print(f"{count:9d}  {message}")
    seconds = time.perf_counter() - begin
    print(f"{result.cases} cases in {seconds:.0f} s, the slowest {result.slowest_seconds:.3f} s")
    for failure in result.failures[:20]:
        print(f"FAILED {failure}; repeat with --cases 1 --seed {failure.split()[1].rstrip(':')}")
    return 1 if result.failures else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
