"""The sub-updater of support/, run as the client and as a boot run it."""

from __future__ import annotations

import os
import subprocess

import pytest

from support.device import FAKE_CLIENT, MODULE, NEW, OLD, SIZE, Device

STATE_OF_1_0_0 = (
    "step",
    "deployment",
    "artifact",
    "from",
    "to",
    "part_a",
    "part_b",
    "client",
    "returns",
    "pid",
    "boot_id",
)
"""The variables that the sub-updater of 1.0.0 stores, in its order."""


def check_success(device: Device) -> None:
    """Asserts that the new system runs, is committed, and was reported."""
    assert device.reports == ["success"]
    assert device.is_quiet
    assert (device.root / "dev/part-b").read_bytes() == NEW
    assert (device.root / "dev/part-a").read_bytes() == OLD
    assert device.boot_variables == {
        "other": "kept",
        "mender_boot_part": "B",
        "mender_boot_part_hex": "B",
        "upgrade_available": "0",
        "bootcount": "0",
        "running": "B",
    }
    assert device.lines("etc/mender/artifact_info") == ["artifact_name=new-2", "artifact_group=lab"]
    assert device.lines("fake/starts") == ["start"]


def check_failure(device: Device) -> None:
    """Asserts that the old system runs, will still run after a boot, and that the failure was reported."""
    assert device.reports == ["failure"]
    assert device.is_quiet
    assert (device.root / "dev/part-a").read_bytes() == OLD
    variables = device.boot_variables
    assert (variables["mender_boot_part"], variables["running"]) == ("A", "A")
    assert variables["upgrade_available"] == "0"
    assert device.lines("etc/mender/artifact_info") == ["artifact_group=lab", "artifact_name=old-1"]
    assert device.lines("fake/starts") == ["start"]


def test_success(device: Device) -> None:
    """An image that boots and is healthy is committed, named, reported, and the client is started."""
    assert device.hand_over() == 0
    assert device.reports == []
    assert device.boot_variables["upgrade_available"] == "1"
    device.settle()
    check_success(device)
    assert device.calls == [f"cat {device.root}/dev/artifact ", "report success 0 "]
    assert device.lines("fake/statuses") == ["rebooting"]


@pytest.mark.parametrize("code", ["64", "75"], ids=["an older client", "no network"])
def test_reboot_that_cannot_be_reported(device: Device, code: str) -> None:
    """The device reboots whether or not the client can report that."""
    device.write("fake/rebooting-code", f"{code}\n")
    device.hand_over()
    device.settle()
    check_success(device)


@pytest.mark.parametrize("codes", ["0", "21\n21\n0", "64"], ids=["open", "later", "an older client"])
def test_gate_before_the_reboot(device: Device, codes: str) -> None:
    """The device reboots when the client permits it, however often it has to be asked; an older client has no gates."""
    device.write("fake/gate-codes", f"{codes}\n")
    device.hand_over()
    device.settle()
    check_success(device)


def test_refused_reboot(device: Device) -> None:
    """If the reboot is refused, the boot variables are restored, and the failure has the reason."""
    device.write("fake/gate-codes", "1\n")
    device.hand_over()
    assert device.boot_variables["upgrade_available"] == "0"
    device.settle()
    check_failure(device)
    assert device.reasons == ["cannot go on: refused by anna; still running from A"]


def test_reboot_while_it_waits(device: Device) -> None:
    """A device that is rebooted by somebody while the update waits for the reboot tries the new system."""
    device.write_script(
        "usr/bin/mender-python-client", FAKE_CLIENT.replace('"gate reboot")', '"gate reboot")\n        kill -9 0')
    )
    device.hand_over()
    device.write_script("usr/bin/mender-python-client", FAKE_CLIENT)
    device.boot()
    device.settle()
    check_success(device)


def test_second_update_goes_back_to_the_first_partition(device: Device) -> None:
    """The passive partition is the one that isn't running, whichever that is."""
    device.hand_over()
    device.settle()
    device.write("var/lib/mender/update.lock", "deployment-2\n")
    device.hand_over(MENDER_DEPLOYMENT_ID="deployment-2", MENDER_ARTIFACT_NAME="new-3")
    device.settle()
    assert device.reports == ["success", "success"]
    assert (device.boot_variables["running"], device.is_quiet) == ("A", True)
    assert (device.root / "dev/part-a").read_bytes() == NEW


def test_boot_loader_rolls_back(device: Device) -> None:
    """A new system that never boots is abandoned by the boot loader and reported as a failure."""
    device.hand_over()
    device.boot("--panic")
    device.boot()
    check_failure(device)
    assert "rolled back: running from A" in device.log
    assert device.reasons == ["B did not start, or not as far as its check; rolled back: running from A"]


def test_health_check_fails(device: Device) -> None:
    """A new system that fails its health check rolls back by itself, and the log has the reason."""
    device.configure("HEALTH_CHECK='echo no gateway; exit 3'")
    device.hand_over()
    device.settle()
    check_failure(device)
    assert "no gateway" in device.log
    assert device.reasons == ["the health check failed (exit 3): echo no gateway; exit 3; rolled back: running from A"]


def test_health_check_sees_the_update(device: Device) -> None:
    """The health check gets the deployment, the Artifact's name and the root."""
    device.configure(
        """HEALTH_CHECK='[ "$MENDER_DEPLOYMENT_ID $MENDER_ARTIFACT_NAME" = "deployment-1 new-2" ] """
        """&& grep -q running=B "$MENDER_ROOT/boot.env"'"""
    )
    device.hand_over()
    device.settle()
    check_success(device)


def test_ended_health_check_counts_as_failed(device: Device) -> None:
    """A health check that is ended by the boot service's time limit has failed."""
    device.configure("HEALTH_CHECK='kill -TERM $PPID; kill -TERM $$'")
    device.hand_over()
    device.settle()
    check_failure(device)


def test_artifact_info_that_cannot_be_written_rolls_back(device: Device) -> None:
    """A new system that can't store its name isn't committed, since it would be installed again and again."""
    device.hand_over()
    (device.root / "etc/mender/artifact_info.new").mkdir()
    device.settle()
    check_failure(device)
    [reason] = device.reasons
    assert reason.startswith(f"cannot write {device.root}/etc/mender/artifact_info, and it does not contain ")
    assert "artifact_name=new-2: " in reason
    assert "s a directory" in reason
    assert reason.endswith("; rolled back: running from A")


def test_health_check_of_several_lines(device: Device) -> None:
    """A reason of several lines can't become another line of the state file."""
    device.configure("HEALTH_CHECK='step=success", "false'")
    device.hand_over()
    device.settle()
    check_failure(device)
    assert device.reasons == ["the health check failed (exit 1): step=success false; rolled back: running from A"]


def test_image_that_carries_its_name(device: Device) -> None:
    """An artifact_info with the right name isn't written, as on a read-only system."""
    device.hand_over()
    device.write("etc/mender/artifact_info", "artifact_name=new-2\n")
    (device.root / "etc/mender/artifact_info.new").mkdir()
    device.settle()
    assert device.reports == ["success"]


def test_wrong_digest(device: Device) -> None:
    """An image that the client couldn't verify completely is never booted."""
    device.write("fake/cat-code", "1\n")
    assert device.hand_over() == 1
    check_failure(device)
    assert not (device.root / "fake/reboot").exists()
    assert device.reasons == [
        f"cannot read the image from {device.root}/dev/artifact: see the lines above; still running from A"
    ]


def test_partition_too_small(device: Device) -> None:
    """An image larger than the partition is refused, and the partition keeps its size."""
    (device.root / "fake/payload").write_bytes(b"n" * (SIZE + 1))
    assert device.hand_over() == 1
    check_failure(device)
    assert (device.root / "dev/part-b").stat().st_size == SIZE
    assert "larger than its 4096 bytes" in device.log


def test_full_disk(device: Device) -> None:
    """A write error of the partition is a failure that names the partition."""
    device.install_module("ulimit -f 1")
    assert device.hand_over() == 1
    check_failure(device)
    assert [f"cannot write to {device.root}/dev/part-b: File too large; still running from A"] == device.reasons


def test_equal_blocks(device: Device) -> None:
    """Blocks that are on the partition already aren't written again."""
    (device.root / "dev/part-b").write_bytes(NEW)
    device.hand_over()
    device.settle()
    check_success(device)
    assert f"wrote 0 blocks of 64 KiB to {device.root}/dev/part-b; 1 were equal already" in device.log


def test_empty_image(device: Device) -> None:
    """An empty image is never booted."""
    (device.root / "fake/payload").write_bytes(b"")
    assert device.hand_over() == 1
    check_failure(device)
    assert ["cannot use the image: it is empty; still running from A"] == device.reasons


def test_module_is_missing(device: Device) -> None:
    """A sub-updater without the update module reports what is missing, and changes nothing."""
    before = device.boot_variables
    (device.root / MODULE).unlink()
    assert device.hand_over() == 1
    check_failure(device)
    assert device.reasons == [f"cannot find {device.root}/{MODULE}: copy support/modules/v3/rootfs-image there"]
    assert (before, b"x" * SIZE) == (device.boot_variables, (device.root / "dev/part-b").read_bytes())


def test_module_of_somebody_else(device: Device) -> None:
    """A module of the same name that doesn't know the sub-updater's commands is refused."""
    device.write_script(MODULE, "exit 0\n")
    assert device.hand_over() == 1
    check_failure(device)
    assert device.reasons == [f"cannot use {device.root}/{MODULE}: it is not the one of mender-python-client"]


@pytest.mark.parametrize("fault", ["missing", "broken"])
def test_new_system_without_a_working_module(device: Device, fault: str) -> None:
    """A new system without the module, or a Python for it, is abandoned for the old one, which gives the reason."""
    device.hand_over()
    if fault == "missing":
        (device.root / MODULE).unlink()
    else:
        device.write_script(MODULE, "echo no Python >&2; exit 127\n")
    device.boot()
    assert (device.boot_variables["running"], device.reports) == ("B", [])
    device.install_module()
    device.settle()
    check_failure(device)
    why = f"cannot find {device.root}/{MODULE}: copy support/modules/v3/rootfs-image there"
    assert device.reasons == [f"{why if fault == 'missing' else 'no Python'}; rolled back: running from A"]


def test_module_that_is_missing_for_ever(device: Device) -> None:
    """A system that can't be left is rebooted three times, then it keeps running, and nothing is reported."""
    device.hand_over()
    (device.root / MODULE).unlink()
    codes = []
    while (device.root / "fake/reboot").exists():
        # the boot loader starts B again and again
        device.write("boot.env", "mender_boot_part=B\nupgrade_available=1\nbootcount=0\n")
        codes.append(device.boot())
    assert codes == [0, 0, 0, 75]
    assert device.reports == []
    assert (device.data / "update.lock").exists()


def test_boot_without_a_module(device: Device) -> None:
    """Without an update in progress, a boot needs no module and never ends in a reboot."""
    (device.data / "update.lock").unlink()
    (device.root / MODULE).unlink()
    assert device.boot() == 0
    assert not (device.root / "fake/reboot").exists()


def test_payload_file_is_named(device: Device) -> None:
    """PAYLOAD_FILE picks one of several payload files."""
    device.configure("PAYLOAD_FILE='root fs.ext4'")
    device.hand_over()
    assert device.calls == [f"cat {device.root}/dev/artifact root fs.ext4"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"MENDER_ROOTFS_PART_A": ""}, "set RootfsPartA and RootfsPartB in mender.conf"),
        ({"MENDER_ROOTFS_PART_A": "", "MENDER_ROOTFS_PART_B": ""}, "set RootfsPartA and RootfsPartB in mender.conf"),
        ({"MENDER_ROOTFS_PART_B": "/dev/missing"}, "it is not a partition"),
        ({"MENDER_ARTIFACT_NAME": ""}, "MENDER_ARTIFACT_NAME is not set"),
        ({"MENDER_ARTIFACT_NAME": "new\nstep=success"}, "contains a line break"),
    ],
)
def test_incomplete_environment(device: Device, changes: dict[str, str], message: str) -> None:
    """An unusable setup is a failure with a remedy, and nothing is changed."""
    before = device.boot_variables
    assert device.hand_over(**changes) == 1
    check_failure(device)
    assert message in device.log
    assert message in device.reasons[0]
    assert device.boot_variables == before


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["BOOT_TOOL="], "cannot use MENDER_ROOT without BOOT_TOOL and REBOOT_COMMAND"),
        (["REBOOT_COMMAND="], "cannot use MENDER_ROOT without BOOT_TOOL and REBOOT_COMMAND"),
        (["BOOT_TOOL=lilo"], "cannot use BOOT_TOOL 'lilo'"),
        (["BOOT_ENV_FILE=/missing"], "cannot write BOOT_ENV_FILE '/missing'"),
        (["DATA_DIR=/elsewhere"], "set DATA_DIR in"),
    ],
)
def test_unusable_configuration(device: Device, lines: list[str], message: str) -> None:
    """A sub-updater.conf that would fail at boot fails the update before anything is written."""
    device.configure(*lines)
    assert device.hand_over() == 1
    check_failure(device)
    assert message in device.log


def test_configuration_with_a_syntax_error(device: Device) -> None:
    """A sub-updater.conf that isn't shell doesn't swallow the outcome."""
    device.write("etc/mender/sub-updater.conf", "if then\n")
    assert device.hand_over() == 1
    assert device.reports == ["failure"]
    assert device.is_quiet
    assert "correct its shell syntax" in device.log


def test_failing_line_in_configuration(device: Device) -> None:
    """A command that fails in sub-updater.conf ends neither the script nor the update."""
    device.configure("false", ': "$not_set"')
    device.hand_over()
    device.settle()
    check_success(device)


def test_reboot_command_fails(device: Device) -> None:
    """When the device can't reboot, the boot loader is set back and the failure reported at once."""
    device.configure("REBOOT_COMMAND='exit 1'")
    assert device.hand_over() == 1
    check_failure(device)
    assert device.reasons == ["cannot reboot: check REBOOT_COMMAND; still running from A"]


def test_reboot_command_that_boots_and_fails(device: Device) -> None:
    """A reboot command that comes back with an error after the boot doesn't undo what the boot did."""
    device.configure("""REBOOT_COMMAND='"$MENDER_ROOT/usr/share/mender/boot-loader" "$MENDER_ROOT"; exit 1'""")
    assert device.hand_over() == 0
    check_success(device)


def test_report_is_kept(device: Device) -> None:
    """On exit 75 the client runs again, the lock stays its own, and later boots report nothing more."""
    device.write("fake/report-codes", "75\n")
    device.hand_over()
    device.settle()
    assert device.reports == ["success"]
    assert device.lines("fake/starts") == ["start"]
    assert (device.data / "update.lock").exists()
    device.boot()
    assert (device.data / "update.lock").exists()
    (device.data / "update.lock").unlink()
    device.boot()
    assert device.is_quiet
    assert device.reports == ["success"]


def test_next_update_after_a_kept_report(device: Device) -> None:
    """Leftovers of a kept report don't affect the next update, nor its power cut."""
    device.write("fake/report-codes", "75\n0\n")
    device.hand_over()
    device.settle()
    device.write("var/lib/mender/update.lock", "deployment-2\n")
    device.boot()
    assert device.reports == ["success", "failure"]
    assert device.is_quiet
    assert device.boot_variables["mender_boot_part"] == "B"


def test_report_is_tried_again(device: Device) -> None:
    """A report that fails is tried again, three times in all."""
    device.write("fake/report-codes", "1\n1\n0\n")
    device.hand_over()
    device.settle()
    check_success(device)
    assert [call for call in device.calls if call.startswith("report")] == [
        "report success 1 ",
        "report success 1 ",
        "report success 0 ",
    ]


def test_report_never_succeeds(device: Device) -> None:
    """An outcome that can't be reported is never lost: the state stays, and the next boot reports the same one."""
    device.configure("REPORT_TRIES=2")
    device.write("fake/report-codes", "1\n")
    device.hand_over()
    device.boot("--panic")
    assert device.boot() == 75
    assert device.reports == []
    assert (device.data / "update.lock").exists()
    assert device.lines("fake/starts") == ["start"]
    device.write("fake/report-codes", "0\n")
    device.boot()
    assert device.reports == ["failure"]
    assert {"B did not start, or not as far as its check; rolled back: running from A"} == set(device.reasons)
    assert device.is_quiet


def test_stored_outcome_never_changes(device: Device) -> None:
    """A stored failure is reported as such, even if the boot loader starts the new system after all."""
    device.write("fake/report-codes", "1\n")
    device.hand_over()
    device.boot("--panic")
    device.boot()
    device.write("fake/report-codes", "0\n")
    device.write("boot.env", "mender_boot_part=B\nupgrade_available=0\n")
    device.boot()
    assert device.reports == ["failure"]
    assert device.is_quiet
    assert not (device.root / "fake/reboot").exists()


def test_lock_removed_by_the_client(device: Device) -> None:
    """An update that the client has given up isn't reported, and isn't retried for ever."""
    device.hand_over()
    (device.data / "update.lock").unlink()
    device.settle()
    assert device.reports == []
    assert device.is_quiet
    assert "the client has no update in progress (exit 2)" in device.log


def test_lock_of_another_is_left_alone(device: Device) -> None:
    """A sub-updater whose deployment is over neither reports for the next one nor removes its lock."""
    device.hand_over()
    device.write("var/lib/mender/update.lock", "deployment-2\n")
    device.write("fake/report-codes", "1\n")
    device.settle()
    assert device.reports == []
    assert device.lines("var/lib/mender/update.lock") == ["deployment-2"]
    assert not (device.data / "sub-updater.state").exists()
    assert "the client has no update in progress (exit 1)" in device.log


def test_boot_without_an_update(device: Device) -> None:
    """A boot with nothing to do does nothing and prints nothing."""
    (device.data / "update.lock").unlink()
    assert device.boot() == 0
    assert (device.reports, device.lines("fake/starts")) == ([], [])
    assert device.log == "boot loader: starting A\n"


def test_lock_without_a_state(device: Device) -> None:
    """A power cut between the client's lock and the first step ends as a failure, not as a permanent lock."""
    device.boot()
    check_failure(device)
    assert device.reasons == ["deployment deployment-1 was interrupted before its first step"]


def test_lock_that_is_a_link(device: Device) -> None:
    """The content of a lock that isn't a deployment id is passed on neither to the log nor to the client."""
    device.write("shadow", "root:$6$secret:1::\n")
    lock = device.data / "update.lock"
    lock.unlink(missing_ok=True)
    lock.symlink_to(device.root / "shadow")
    device.boot()
    check_failure(device)
    assert "deployment  was interrupted before its first step" in device.log
    assert "secret" not in device.log + "".join(device.calls)
    assert device.lines("shadow") == ["root:$6$secret:1::"]


def test_boot_loader_that_never_goes_back(device: Device) -> None:
    """A boot loader that ignores the rollback is asked three times, then the failure is reported."""
    device.configure("HEALTH_CHECK=false")
    device.hand_over()
    device.boot()
    for _ in range(5):
        if not device.is_quiet:
            # The variables as if the boot loader's own copy had never been written.
            device.write("boot.env", "mender_boot_part=B\nupgrade_available=0\nbootcount=0\n")
            device.boot()
    assert device.reports == ["failure"]
    assert "the boot loader did not return to A after 3 reboots" in device.log


def lose_the_data_partition(device: Device) -> None:
    """The new system doesn't find its data partition: the mount point is empty."""
    for name in ("sub-updater.state", "update.lock"):
        (device.data / name).rename(device.root / name)


def find_the_data_partition(device: Device) -> None:
    """The data partition is available again."""
    for name in ("sub-updater.state", "update.lock"):
        (device.root / name).rename(device.data / name)


def test_trial_boot_without_the_data_partition(device: Device) -> None:
    """A new system that does not find its state returns to the old one, which reports the failure."""
    device.hand_over()
    lose_the_data_partition(device)
    device.boot()
    assert device.boot_variables["running"] == "B"
    assert (device.root / "fake/reboot").exists()
    assert "in a trial boot: returning to the old system" in device.log
    find_the_data_partition(device)
    device.settle()
    check_failure(device)


def test_trial_boot_with_a_lock_and_without_a_state(device: Device) -> None:
    """A lock alone is no reason to stay in a system that hasn't been checked."""
    device.hand_over()
    (device.data / "sub-updater.state").unlink()
    device.settle()
    check_failure(device)


def test_trial_boot_without_the_data_partition_for_ever(device: Device) -> None:
    """A boot loader that never returns isn't asked endlessly; then the system keeps running."""
    device.hand_over()
    lose_the_data_partition(device)
    boots, code = 0, 0
    while (device.root / "fake/reboot").exists():
        boots += 1
        assert boots < 10, device.log
        # the boot loader starts B again and again, and counts nothing
        device.write("boot.env", (device.root / "boot.env").read_text().replace("running=A", "running=B"))
        (device.root / "fake/reboot").unlink()
        environment = {"PATH": device.environment["PATH"], "MENDER_ROOT": str(device.root)}
        code = device.run("usr/share/mender/install", "--boot", environment=environment)
    assert code == 75
    assert "the boot loader does not return to the old system: still running from this one" in device.log


def test_boot_beside_a_running_update(device: Device) -> None:
    """The boot step ignores an update whose process is alive, in case it is started by hand."""
    (device.root / "fake/payload").unlink()
    os.mkfifo(device.root / "fake/payload")
    update = subprocess.Popen(
        [str(device.root / "usr/share/mender/install"), str(device.root / "dev/artifact")],
        env=device.environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    with (device.root / "fake/payload").open("wb") as payload:  # opens when the client reads: it is at work
        device.boot()
        assert device.hand_over() == 1
        assert device.reports == []
        assert (device.data / "update.lock").exists()
        payload.write(NEW)
    assert update.wait() == 0
    device.settle()
    check_success(device)


def test_data_directory_elsewhere(device: Device) -> None:
    """DATA_DIR in sub-updater.conf gives the boot step a data directory in another place."""
    elsewhere = device.root / "data"
    elsewhere.mkdir()
    (device.data / "update.lock").rename(elsewhere / "update.lock")
    device.configure('DATA_DIR="$MENDER_ROOT/data"')
    device.hand_over(MENDER_DATA_DIR=str(elsewhere))
    device.settle()
    assert device.reports == ["success"]
    assert list(elsewhere.iterdir()) == [elsewhere / "sub-updater.log"]
    assert device.calls[-1] == "report success 0 data "


def test_state_directory_elsewhere(device: Device) -> None:
    """With STATE_DIR the state, and the log of the boot step, are in a separate directory."""
    own = device.root / "own"
    own.mkdir()
    device.configure("STATE_DIR=/own")
    device.hand_over()
    assert (own / "sub-updater.state").exists()
    assert not (device.data / "sub-updater.state").exists()
    device.settle()
    assert device.reports == ["success"]
    assert [own / "sub-updater.log"] == list(own.iterdir())


def test_state_of_another_version(device: Device) -> None:
    """The new system's sub-updater finishes what one of 1.0.0 has begun, and vice versa."""
    device.hand_over()
    lines = dict(line.split("=", 1) for line in device.lines("var/lib/mender/sub-updater.state"))
    assert ["version", *STATE_OF_1_0_0, "reason"] == list(lines)
    lines |= {"part_a": f"{device.root}/dev/part-a", "part_b": f"{device.root}/dev/part-b"}
    state = "".join(f"{name}={lines[name]}\n" for name in ("version", *STATE_OF_1_0_0))
    device.write("var/lib/mender/sub-updater.state", state)
    device.settle()
    check_success(device)


def test_client_from_the_state(device: Device) -> None:
    """A client outside the PATH is found again after the reboot, by the path that it passed."""
    device.configure("CLIENT=")
    device.hand_over()
    device.settle()
    check_success(device)


def test_client_that_has_moved(device: Device) -> None:
    """If the client is elsewhere in the new system, the one in the PATH reports."""
    device.configure("CLIENT=", 'PATH="$PATH:$MENDER_ROOT/moved"')
    device.hand_over()
    (device.root / "usr/bin").rename(device.root / "moved")
    device.settle()
    check_success(device)


@pytest.mark.parametrize(("cat_code", "outcome"), [("0", "success"), ("1", "failure")])
def test_log_cannot_be_written(device: Device, cat_code: str, outcome: str) -> None:
    """A full disk on which no log line can be written stops neither an update nor its report."""
    device.write("fake/cat-code", cat_code)
    (device.data / "sub-updater.log").symlink_to("/dev/full")
    device.hand_over()
    if outcome == "success":
        device.write("boot.env", device.root.joinpath("boot.env").read_text().replace("running=A", "running=B"))
        boot = {"PATH": device.shell.path, "MENDER_ROOT": str(device.root)}
        assert device.run("usr/share/mender/install", "--boot", environment=boot) == 0
    assert device.reports == [outcome]
    assert device.is_quiet


def test_usage(device: Device) -> None:
    """A call that is neither a hand-over nor a boot is a usage error."""
    environment = device.environment
    assert device.run("usr/share/mender/install", environment=environment) == 64
    assert device.run("usr/share/mender/install", "--help", environment=environment) == 64
