"""Checks of files and directories: the configuration, who may write and read what, and room."""

from __future__ import annotations

import errno
import os
import pwd
import stat
from collections.abc import Iterator
from pathlib import Path

from mender_client.app.file_checks import check_configuration_files, look_at_files
from mender_client.core.keyvalue import parse_key_values
from mender_client.errors import ConfigError, MenderError
from mender_client.system.files import read_text
from mender_client.system.journal import JsonJournal

from .context import DiagnosticContext
from .findings import CheckResult, fault, ok, parted, skipped, warning

_MIB = 1024 * 1024


def configuration(context: DiagnosticContext) -> Iterator[CheckResult]:
    """Both files can be read, and every key is known and right."""
    findings = context.findings
    for problem in findings.problems:
        yield fault(problem.text, problem.remedy or "correct it; 'config explain KEY' lists the valid values")
    for odd in findings.warnings:
        remedy = odd.remedy or "remove it, or look for the right name with 'config explain'"
        # a misspelt name is a setting that has no effect although somebody relies on it
        yield (fault if "did you mean" in remedy else warning)(odd.text, remedy)
    if not findings.problems and not findings.warnings:
        servers = ", ".join(context.config.server_urls)
        yield ok(f"{context.paths.config} and {context.paths.fallback_config}: no errors; server {servers}")


def permissions(context: DiagnosticContext) -> Iterator[CheckResult]:
    """Nobody else can change what decides about updates, or read a secret."""
    if stranger := _owner_of_another_client(context):
        directory = context.paths.data
        yield fault(
            f"{directory} belongs to user {stranger}",
            f"if the client runs as that user, look as that user: 'runuser -u {stranger} -- mender-python-client "
            f"doctor'; if it runs as root: 'chown -R root {directory}'",
        )
        return
    problems: list[str] = []
    warnings: list[str] = []
    try:
        check_configuration_files(context.paths)
    except ConfigError as error:
        problems += map(str, error.problems)
    found = look_at_files(context.config, context.paths)
    problems += found.problems
    for line in found.warnings:
        # a key that others can read may be in two places already
        (problems if "key: another user can read" in line.lower() else warnings).append(line)
    yield from (fault(*parted(problem)) for problem in problems)
    yield from (warning(*parted(line)) for line in warnings)
    if not problems and not warnings:
        yield ok("nobody else can change or read what is private")


def _owner_of_another_client(context: DiagnosticContext) -> str:
    """Whom the data directory belongs to when root looks and it isn't root's; for that user all may be as it should."""
    try:
        owner = context.paths.data.stat().st_uid
    except OSError:
        return ""
    if os.geteuid() != 0 or owner in context.trust.owners:
        return ""
    try:
        return pwd.getpwuid(owner).pw_name
    except KeyError:
        return str(owner)


def data_directory(context: DiagnosticContext) -> Iterator[CheckResult]:
    """The client can write its memory, and an Artifact has room."""
    directory = context.paths.data
    if not directory.is_dir():
        yield fault(f"{directory} is missing", "run 'mender-python-client setup', or start the daemon, which makes it")
        return
    try:
        _try_to_write(directory)
    except OSError as error:
        yield fault(
            f"cannot write to {directory}: {error.strerror}", _WRITE_REMEDIES.get(error.errno or 0, _ANY_REMEDY)
        )
        return
    state = os.statvfs(directory)
    free, reserve = state.f_bavail * state.f_frsize, context.config.download_reserve_bytes
    said = f"{free // _MIB} MiB are free in {directory}"
    if state.f_files and not state.f_favail:
        yield fault(f"no file can be made in {directory}: it has no inodes left", "remove some files there")
    elif free <= reserve:
        yield fault(
            f"{said}, and {reserve // _MIB} MiB must stay free (DownloadReserveBytes): no Artifact has room",
            "free some space there",
        )
    else:
        yield ok(f"{said}; an Artifact may have {(free - reserve) // _MIB} MiB")


_ANY_REMEDY = "check its owner and mode, and the disk"
_WRITE_REMEDIES = {
    errno.ENOSPC: "free some space there",
    errno.EDQUOT: "free some space there",
    errno.EROFS: "make the file system writable: remount it, or check the disk if it went read-only by itself",
    errno.EACCES: "check its owner and mode, or run this as the client's user",
}


def _try_to_write(directory: Path) -> None:
    """Write a block to a file without a name, which is gone when it is closed."""
    try:
        descriptor = os.open(directory, os.O_TMPFILE | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    except OSError as error:
        if error.errno not in (errno.EOPNOTSUPP, errno.EISDIR):
            raise
        name = directory / f".doctor.{os.urandom(8).hex()}.tmp"
        descriptor = os.open(name, os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_WRONLY | os.O_CLOEXEC, 0o600)
        name.unlink()
    try:
        os.write(descriptor, bytes(65536))
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def device_type(context: DiagnosticContext) -> Iterator[CheckResult]:
    """The device knows what it is."""
    path = context.config.device_type_file
    file = context.paths.below_root(path) if path else context.paths.device_type
    remedy = f"write a line device_type=TYPE into {file}"
    try:
        pairs = parse_key_values(read_text(file)).pairs
    except MenderError as error:
        yield fault(*parted(str(error), remedy))
        return
    found = next((value.strip() for key, value in pairs if key.strip() == "device_type"), "")
    yield ok(found) if found else fault(f"{file} has no line device_type=TYPE", remedy)


def artifact_info(context: DiagnosticContext) -> Iterator[CheckResult]:
    """The device knows what it runs."""
    file = context.paths.artifact_info
    remedy = f"write a line artifact_name=NAME into {file}; the sub-updater does that after each update"
    try:
        pairs = parse_key_values(read_text(file)).pairs
    except MenderError as error:
        yield warning(f"{parted(str(error))[0]}: the server is told 'unknown'", remedy)
        return
    found = next((value.strip() for key, value in pairs if key.strip() == "artifact_name"), "")
    yield (
        ok(found) if found else warning(f"{file} has no line artifact_name=NAME: the server is told 'unknown'", remedy)
    )


def install_script(context: DiagnosticContext) -> Iterator[CheckResult]:
    """There is a sub-updater, and it may be run."""
    program = context.paths.sub_updater
    problem = context.trust.program_problem(program)
    yield (
        fault(*parted(problem, f"put the device's sub-updater at {program}, mode 755")) if problem else ok(str(program))
    )


def partitions(context: DiagnosticContext) -> Iterator[CheckResult]:
    """The two root partitions are there, where they are configured."""
    config = context.config
    named = [("RootfsPartA", config.rootfs_part_a), ("RootfsPartB", config.rootfs_part_b)]
    if not config.rootfs_part_a and not config.rootfs_part_b:
        yield skipped("RootfsPartA and RootfsPartB are not set: the sub-updater must know its way")
        return
    problems = [f"{key} is not set, and the other one is" for key, path in named if not path]
    problems += [f"{key}: {why}" for key, path in named if path and (why := _partition_fault(context, path))]
    if not problems and config.rootfs_part_a == config.rootfs_part_b:
        problems = ["RootfsPartA and RootfsPartB are the same: an update would write over the running system"]
    yield from (fault(problem, f"correct it in {context.paths.config}") for problem in problems)
    if not problems:
        yield ok(f"A is {config.rootfs_part_a}, B is {config.rootfs_part_b}")


def _partition_fault(context: DiagnosticContext, path: str) -> str:
    file = context.paths.below_root(path)
    try:
        mode = file.stat().st_mode
    except OSError as error:
        return f"cannot find {file}: {error.strerror}"
    is_rehearsal = context.paths.root != Path("/") and stat.S_ISREG(mode)
    return "" if stat.S_ISBLK(mode) or is_rehearsal else f"{file} is no block device"


def journal(context: DiagnosticContext) -> Iterator[CheckResult]:
    """The client's memory can be used, and the server has heard everything in it."""
    memory = JsonJournal(context.paths.journal)
    try:
        record, problem = memory.peek()
    except MenderError as error:
        yield fault(*parted(str(error)))
        return
    if problem:
        yield fault(
            f"cannot use {context.paths.journal}: {problem}",
            "start the daemon, which sets it aside; then look on the server whether an update was under way",
        )
    elif record.outbox:
        yield warning(
            f"the server has not heard {len(record.outbox)} message(s) yet",
            "they go out with the next contact; if the server can be reached, look at the daemon's log",
        )
    else:
        yield ok("the server has heard everything")
    for aside in memory.set_aside():
        yield warning(
            f"{aside} is a damaged memory that was set aside", "look at it if an update is missing; remove it"
        )
