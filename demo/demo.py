#!/usr/bin/env python3
"""Shows two complete updates on one machine: ``make demo``.

A Mender server (the dev server, over TLS), a device that is a directory, and the real client and the real sub-updater
(with ``--modules``, the real update module) as processes. The demo writes only to one temporary directory, removes it
at the end, and uses no fixed port.

Exit code: 0 if the server received exactly the expected statuses and the device runs the expected system, otherwise 1;
130 after Ctrl-C.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shlex
import sys
import sysconfig
import tempfile
from collections.abc import Sequence
from pathlib import Path

from board import build_board, fill_partitions
from device import Device
from processes import StopSignals, adopt_orphans
from releases import IMAGE_BYTES, Release, make_image, read_release, write_release
from story import MODULES, SUB_UPDATER, Form, Stage, Story
from timeline import BOLD, DIM, RED, Style, Timeline

from mender_client.errors import DeviceError, MenderError
from mender_devserver import DevServer

DEVICE_TYPE = "demo-board"
WELCOME = """\
A Mender server and a device, both on this machine. The client (mender-python-client daemon) and {installer} \
are the real programs. The device is a directory, its two partitions are files in that directory, \
and a "reboot" runs a simulated boot loader again."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo and return its exit code."""
    options = _parse(arguments)
    sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr] # it is a TextIOWrapper here
    signals = StopSignals()
    timeline = Timeline(sys.stdout, Style.of(sys.stdout))
    try:
        return _play(options, timeline, signals)
    except BrokenPipeError:
        # the reader of our output has gone; prevent an error message of the interpreter at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except MenderError as error:
        sys.stdout.flush()
        sys.stderr.write(f"demo: {error}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("\ndemo: stopped; everything is cleaned up\n")
        return 130


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="demo.py",
        description="Update a simulated device from a Mender server: once with success, once with a failure.",
    )
    parser.add_argument(
        "--artifact",
        type=Path,
        metavar="FILE",
        help="deploy this .mender file first; the device is adapted to it (default: one is written)",
    )
    parser.add_argument(
        "--modules",
        dest="form",
        action="store_const",
        const=MODULES,
        default=SUB_UPDATER,
        help="install with the update module rootfs-image and a state script, not with the sub-updater",
    )
    parser.add_argument(
        "--client",
        type=Path,
        metavar="PROGRAM",
        help="the client to run on the device, such as a zipapp (default: the installed one)",
    )
    parser.add_argument(
        "--keep", action="store_true", help="leave server and device running at the end, and print how to use them"
    )
    return parser.parse_args(arguments)


def _play(options: argparse.Namespace, timeline: Timeline, signals: StopSignals) -> int:
    client = options.client.absolute() if options.client else _program("mender-python-client")
    if not os.access(client, os.X_OK):
        raise DeviceError(f"cannot run {client}: give the path of a program")
    adopt_orphans()
    with contextlib.ExitStack() as stack:
        with signals.held_back():
            directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mender-demo-"))).resolve()
        good = _first_release(options.artifact, directory, options.form)
        bad = write_release(directory, _other_name("release-3", good), good.device_type, is_healthy=False)
        with signals.held_back():
            server = stack.enter_context(DevServer(directory / "server"))
        device = _make_device(directory, client, server, good, options.form)
        stack.callback(device.close)
        # last in, first out: signals are ignored before anything is torn down
        stack.callback(signals.pass_over)
        _greet(timeline, directory, good, options.form, is_given=options.artifact is not None)
        stage = Stage(server, device, timeline)
        story = Story(stage, good, bad, options.form)
        story.tell()
        is_good = story.verdict()
        timeline.text()
        timeline.text(_conclusion(timeline, is_good=is_good), BOLD)
        if options.keep:
            _keep(stage, directory, good, bad)
        return 0 if is_good else 1


def _program(name: str) -> Path:
    path = Path(sysconfig.get_path("scripts")) / name
    if not path.exists():
        raise DeviceError(f"cannot find {path}: run the demo with 'make demo', which installs it")
    return path


def _first_release(artifact: Path | None, directory: Path, form: Form) -> Release:
    if artifact is None:
        return write_release(directory, "release-2", DEVICE_TYPE, is_healthy=True)
    release = read_release(artifact.resolve())
    if form is MODULES and release.payload_type != "rootfs-image":
        raise DeviceError(
            f"cannot use {artifact}: its payload type is {release.payload_type!r}, and the only update module of this "
            "demo is 'rootfs-image'; leave out --modules"
        )
    return release


def _other_name(name: str, release: Release) -> str:
    return name if name != release.name else f"{name}-demo"


def _make_device(directory: Path, client: Path, server: DevServer, release: Release, form: Form) -> Device:
    """Create a device that meets what the release depends on, including its device type."""
    installed = {"artifact_name": _other_name("release-1", release), **release.needs}
    board = build_board(
        directory / "device",
        client=client,
        server_url=server.url,
        certificate=server.certificate,
        device_type=release.device_type,
        provides=installed,
        has_modules=form is MODULES,
    )
    first_image = make_image(installed["artifact_name"], is_healthy=True)
    fill_partitions(board, image=first_image, size_bytes=max(2 * IMAGE_BYTES, release.image_bytes))
    return Device(board, client)


def _greet(timeline: Timeline, directory: Path, release: Release, form: Form, *, is_given: bool) -> None:
    timeline.text(WELCOME.format(installer=form.installer))
    timeline.text(f"Everything is in {directory}, which is removed at the end.", DIM)
    if is_given:
        timeline.text(f"The first update is {release.path}: {release.name} for {release.device_type}.")
        if release.payload_type != "rootfs-image":
            timeline.text(
                f"Its payload type is {release.payload_type!r}. The sub-updater of the demo ignores the type and "
                "writes the only file of the payload to the partition."
            )


def _conclusion(timeline: Timeline, *, is_good: bool) -> str:
    if is_good:
        return f"All checks passed, in {timeline.seconds:.0f} s."
    return "Some checks failed: see the lines marked NOT."


def _keep(stage: Stage, directory: Path, good: Release, bad: Release) -> None:
    """Leave everything running until Ctrl-C."""
    more = write_release(directory, _other_name("release-4", good), good.device_type, is_healthy=True)
    stage.timeline.text()
    stage.timeline.text("Server and device keep running; Ctrl-C stops and removes both. In another terminal:", BOLD)
    stage.timeline.verbatim(_hints(stage, directory, more, bad))
    stage.timeline.chapter("4. Your turn", "What you do is shown here.")
    with contextlib.suppress(KeyboardInterrupt):
        while True:
            try:
                stage.for_seconds(60.0)
            except DeviceError as error:
                stage.timeline.device("client", str(error), colour=RED)
    stage.timeline.text("\nStopped; server and device are removed.")


def _hints(stage: Stage, directory: Path, more: Release, bad: Release) -> str:
    """Suggestions of what to try, as commands that can be copied."""
    program, server_directory = str(_program("mender-devserver")), str(directory / "server")

    def devserver(*words: str) -> str:
        return shlex.join([program, *words, "--directory", server_directory])

    device = stage.device
    hints = {
        "list the devices, and show their inventory": [
            devserver("devices"),
            devserver("inventory", stage.device_id[:8]),
        ],
        "deploy another update, which succeeds": [devserver("upload", str(more.path)), devserver("deploy", more.name)],
        "deploy the failing update again": [devserver("deploy", bad.name)],
        "show the status of the last deployment, and its log if it failed": [devserver("status"), devserver("log")],
        "interrupt the next download": [
            devserver("fault", "add", "--kind", "artifact", "--drop-after-bytes", "1000000")
        ],
        "list the files of the device, and run a command of the client on it": [
            shlex.join(["ls", "-R", str(device.board.root)]),
            shlex.join([*device.client_command, "show-artifact"]),
        ],
        f"restart the client (process {device.daemon_pid})": [
            f"kill {device.daemon_pid}",
            shlex.join(device.daemon_command),
        ],
    }
    return "\n".join(
        line for what, commands in hints.items() for line in ("", f"  # {what}", *(f"  {one}" for one in commands))
    )


if __name__ == "__main__":
    sys.exit(main())
