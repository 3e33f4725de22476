"""Checks of files and directories: configuration, permissions, free space, and the sub-updater's requirements."""

from __future__ import annotations

import errno
import os
import pwd
import stat
from collections.abc import Iterator
from pathlib import Path

from mender_client.app.file_checks import check_configuration_files, look_at_files
from mender_client.app.installer import chooses_sub_updater, installer_problems, installer_reason
from mender_client.app.paths import Paths
from mender_client.app.setting_faults import find_log_faults, find_verify_key_faults
from mender_client.core.keyvalue import parse_key_value_file
from mender_client.core.model import INCONSISTENT, Provides
from mender_client.errors import ConfigError, MenderError
from mender_client.system.calls import Calls
from mender_client.system.files import permission_remedy, read_text
from mender_client.system.scripts import StateScriptDirectory
from mender_client.system.snapshot import damaged_files, peek_record

from .context import DiagnosticContext, is_there
from .results import CheckResult, Verdict, fault, ok, reported, skipped, warning

_MIB = 1024 * 1024


def configuration(context: DiagnosticContext) -> Iterator[CheckResult]:
    """Both files can be read, every key is known and valid, and Artifacts can be verified."""
    findings = context.findings
    for problem in findings.problems:
        yield reported(Verdict.FAULT, problem, "correct it; 'config explain KEY' lists the valid values")
    for odd in findings.warnings:
        # a setting with a misspelt name has no effect, although somebody relies on it
        verdict = Verdict.FAULT if "did you mean" in odd.remedy else Verdict.WARNING
        yield reported(verdict, odd, "remove it, or find the right name with 'config explain'")
    problems, warnings = find_verify_key_faults(context.config, context.paths)
    problems = [*problems, *find_log_faults(context.config, context.paths)]
    yield from (reported(Verdict.FAULT, one) for one in problems)
    yield from (reported(Verdict.WARNING, one) for one in warnings)
    if not any((findings.problems, findings.warnings, problems, warnings)):
        servers = ", ".join(context.config.server_urls)
        both = (context.paths.config, context.paths.fallback_config)
        files = " and ".join(str(one) for one in both if os.path.exists(one))
        yield ok(f"{files}: no errors; server {servers}")


def permissions(context: DiagnosticContext) -> Iterator[CheckResult]:
    """No other user can change files that updates rely on, or read a secret."""
    if owner := _owner_of_another_client(context):
        directory = context.paths.data
        yield fault(
            f"{directory} belongs to user {owner}",
            f"if the client runs as that user, check as that user: 'runuser -u {owner} -- mender-python-client "
            f"doctor'; if it runs as root, run 'chown -R root {directory}'",
        )
        return
    is_there(context.paths.key)  # without access to the data directory, nothing is known about the files in it
    results: list[CheckResult] = []
    try:
        check_configuration_files(context.paths)
    except ConfigError as error:
        results += (reported(Verdict.FAULT, problem) for problem in error.problems)
    found = look_at_files(context.config, context.paths)
    results += (reported(Verdict.FAULT, problem) for problem in found.problems)
    for message in found.warnings:
        # a key that others can read may have been copied already
        is_readable_key = "key: another user can read" in message.text.lower()
        results.append(reported(Verdict.FAULT if is_readable_key else Verdict.WARNING, message))
    results += _unsafe_inventory_scripts(context)
    yield from sorted(results, key=lambda one: one.verdict is not Verdict.FAULT)
    if not results:
        yield ok(
            "no other user can change the configuration, keys, certificates or the data directory, or read a secret"
        )


def _unsafe_inventory_scripts(context: DiagnosticContext) -> Iterator[CheckResult]:
    directory = context.paths.inventory_directory
    scripts = sorted(directory.iterdir()) if directory.is_dir() else []
    for script in scripts:
        if script.is_file() and os.access(script, os.X_OK) and (problem := context.trust.permission_problem(script)):
            yield warning(f"{script} is not run: another user could have written it: {problem.text}", problem.remedy)


def _owner_of_another_client(context: DiagnosticContext) -> str:
    """The owner of the data directory if root runs the checks and it belongs to another user; else empty."""
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
    """The client can write its state and each of its files, and there is space for an Artifact."""
    directory = context.paths.data
    there = next(path for path in (directory, *directory.parents) if os.path.lexists(path))
    if not there.is_dir():
        yield fault(f"{there} is not a directory", "remove it, or name another data directory with --data")
        return
    if there != directory:
        yield fault(f"{directory} is missing", "run 'mender-python-client setup', or start the daemon: it creates it")
        return
    state = os.statvfs(directory)
    try:
        _try_to_write(directory)
    except OSError as error:
        if error.errno == errno.ENOSPC and state.f_files and not state.f_favail:
            yield fault(f"cannot create a file in {directory}: it has no inodes left", "remove some files there")
            return
        usual = _WRITE_REMEDIES.get(error.errno or 0, "check its owner and mode, and the disk")
        remedy = permission_remedy(error, directory) or usual
        yield fault(f"cannot write to {directory}: {error.strerror}", remedy)
        return
    yield from _unusable_files(context.paths)
    free, reserve = state.f_bavail * state.f_frsize, context.config.download_reserve_bytes
    space = f"{free // _MIB} MiB free in {directory}"
    if free <= reserve:
        yield fault(
            f"{space}, of which {reserve // _MIB} MiB must stay free (DownloadReserveBytes): no space for an Artifact",
            "free some space there",
        )
    else:
        yield ok(f"{space}, enough for an Artifact of up to {(free - reserve) // _MIB} MiB")


_WRITE_REMEDIES = {
    errno.ENOSPC: "free some space there",
    errno.EDQUOT: "free some space there",
    errno.EROFS: "make the file system writable: remount it; if it became read-only on its own, check the disk",
    errno.EACCES: "check its owner and mode, or run this as the client's user",
}


def _unusable_files(paths: Paths) -> Iterator[CheckResult]:
    """The files and directories of the client in whose place there is something else, or that it may not write."""
    journal = (paths.journal.with_name(paths.journal.name + suffix) for suffix in (".lock", ".sending"))
    artifact = (paths.artifact.with_name(paths.artifact.name + suffix) for suffix in ("", ".part", ".rewritten"))
    files = (paths.daemon_lock, paths.command_lock, paths.status, paths.sub_updater_log, *journal, *artifact)
    for file in filter(os.path.lexists, files):
        state = file.lstat()
        if not stat.S_ISREG(state.st_mode):
            yield fault(f"{file} is not a regular file", "remove it; the client makes a new one")
        elif not os.access(file, os.R_OK | os.W_OK):
            remedy = "if the client runs as this user, change the owner; otherwise, run this as the client's user"
            yield fault(f"{file} belongs to user {state.st_uid}, and this user cannot write it", remedy)
    tree = paths.module_tree
    for directory in (paths.artifact_scripts, *(one for one in (tree, *tree.parents) if paths.data in one.parents)):
        if os.path.lexists(directory) and not directory.is_dir():
            yield fault(f"{directory} is not a directory", "remove it; the client makes a new one")


def _try_to_write(directory: Path) -> None:
    """Write a block to an unnamed file, which disappears when it is closed."""
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
    """The device type is known."""
    if given := context.paths.given_device_type:
        yield ok(given)
        return
    path = context.config.device_type_file
    file = context.paths.below_root(path) if path else context.paths.device_type
    remedy = f"run 'mender-python-client setup --device-type TYPE', or write a line device_type=TYPE into {file}"
    try:
        pairs = parse_key_value_file(read_text(file))
    except MenderError as error:
        yield reported(Verdict.FAULT, error.diagnostic, remedy)
        return
    found = next((value for key, value in pairs if key == "device_type"), "")
    yield ok(found) if found else fault(f"{file} has no line device_type=TYPE", remedy)


def artifact_info(context: DiagnosticContext) -> Iterator[CheckResult]:
    """The name of the installed Artifact is known."""
    file = context.paths.artifact_info
    remedy = f"write a line artifact_name=NAME into {file}; the sub-updater does that after each update"
    try:
        pairs = parse_key_value_file(read_text(file))
    except MenderError as error:
        yield warning(f"{error.text}: the artifact name is reported as 'unknown'", remedy)
        return
    written = next((value for key, value in pairs if key == "artifact_name"), "")
    found = context.record.provides(Provides("", written)).artifact_name
    if found.endswith(INCONSISTENT):
        text = f"{found}: an update could be neither installed nor rolled back, so the installed software is unknown"
        yield warning(text, "install a complete Artifact, such as a root file system")
    elif found:
        yield ok(found)
    else:
        missing = f"{file} has no line artifact_name=NAME: the artifact name is reported as 'unknown'"
        yield warning(missing, remedy)


def install_script(context: DiagnosticContext) -> Iterator[CheckResult]:
    """Everything that installs updates can be run: the sub-updater, or each update module and each state script."""
    problems = [*installer_problems(context.config, context.paths, context.trust)]
    if not chooses_sub_updater(context.config, context.paths):
        scripts = StateScriptDirectory(
            path=context.paths.root_scripts, calls=Calls(environment={}), find_problem=context.trust.permission_problem
        )
        problems += scripts.problems()
    yield from (reported(Verdict.FAULT, problem) for problem in problems)
    if not problems:
        yield ok(installer_reason(context.config, context.paths))


def partitions(context: DiagnosticContext) -> Iterator[CheckResult]:
    """The two root partitions exist, if they are configured."""
    config = context.config
    named = [("RootfsPartA", config.rootfs_part_a), ("RootfsPartB", config.rootfs_part_b)]
    if not config.rootfs_part_a and not config.rootfs_part_b:
        who = (
            "the sub-updater must determine the partitions itself"
            if chooses_sub_updater(config, context.paths)
            else "the update module rootfs-image would need them"
        )
        yield skipped(f"RootfsPartA and RootfsPartB are not set: {who}")
        return
    problems = [f"{key} is not set, but the other one is" for key, path in named if not path]
    problems += [f"{key}: {why}" for key, path in named if path and (why := _partition_problem(context, path))]
    if not problems and config.rootfs_part_a == config.rootfs_part_b:
        problems = ["RootfsPartA and RootfsPartB are the same: an update would overwrite the running system"]
    yield from (fault(problem, f"correct it in {context.paths.config}") for problem in problems)
    if not problems:
        yield ok(f"A is {config.rootfs_part_a}, B is {config.rootfs_part_b}")


def _partition_problem(context: DiagnosticContext, path: str) -> str:
    file = context.paths.below_root(path)
    try:
        mode = file.stat().st_mode
    except OSError as error:
        return f"cannot find {file}: {error.strerror}"
    is_test = context.paths.root != Path("/") and stat.S_ISREG(mode)
    return "" if stat.S_ISBLK(mode) or is_test else f"{file} is not a block device"


def state_file(context: DiagnosticContext) -> Iterator[CheckResult]:
    """The state file can be used, and no report to the server is pending."""
    try:
        record, problem = peek_record(context.paths.journal)
    except MenderError as error:
        yield reported(Verdict.FAULT, error.diagnostic)
        return
    if problem:
        yield fault(
            f"cannot use {context.paths.journal}: {problem}",
            "start the daemon, which renames it; then check on the server whether an update was in progress",
        )
    elif record.outbox:
        yield warning(
            f"{len(record.outbox)} pending report(s)",
            "they are sent when the server is next reached; if it can be reached, see the daemon's log",
        )
    else:
        yield ok("no pending reports")
    remedy = "examine it if an update is missing, then remove it"
    for aside in damaged_files(context.paths.journal):
        yield warning(f"{aside} is a damaged state file that the daemon renamed", remedy)
