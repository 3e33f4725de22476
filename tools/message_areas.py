"""Additional text for the messages on the troubleshooting page: introductions to the areas, and notes."""

AREAS = {
    "CFG": (
        "Configuration",
        "These messages begin with the file and the key, such as `/etc/mender/mender.conf: UpdatePollIntervalSeconds: "
        "must be a whole number`. All errors are reported at once, and the exit code is 78. A key may be in either of "
        "the two files. `mender-python-client config explain KEY` describes a key; the "
        "[reference](../reference/configuration.md) lists them all.",
    ),
    "USE": ("Wrong usage", "The exit code is 64. `mender-python-client COMMAND --help` describes a command."),
    "FIL": (
        "Permissions of files",
        "The client runs these files as root, or trusts their content. Anyone who can write to one of them, or to one"
        " of its parent directories, can become root. The remedy is the command that fixes it. "
        "[Why](../decisions/0023-files-of-other-users.md). If the [client isn't root](unprivileged.md), change "
        "nothing: run the command as the client's user. If others could read a secret, replace the secret.",
    ),
    "STO": (
        "Files, directories and disks",
        "These messages end with the system's error message: `No space left on device`, `Read-only file system`, "
        "`Permission denied`. Free some space, check whether the file system became read-only because the disk is "
        "failing (`dmesg`), or correct owner and mode. The daemon retries as long as it runs; no decision is lost.",
    ),
    "DMN": ("The daemon", "Starting and signalling the daemon, and its service manager."),
    "LOG": ("Logs", "Log files and syslog."),
    "CON": (
        "Remote access",
        "`mender-python-client connect` and `mender-connect.conf`. [Remote access](remote-access.md) has the details.",
    ),
    "BUS": (
        "Add-ons on D-Bus",
        "`mender-python-client dbus`. [Add-ons](add-ons.md) has the details.",
    ),
    "IDN": (
        "Identity, device type and artifact name",
        "Run the identity script by hand: it must print lines `key=value`, the same ones at every boot. To the "
        "server, another identity is another device: [keys and "
        "identity](keys.md#when-the-identity-or-the-key-changes) lists the causes, and how to go back. Without a "
        "device type, the server offers no updates; without an artifact name, the device reports `unknown`, and "
        "updates still work.",
    ),
    "SCR": (
        "Scripts and programs",
        "A script of the device, or a program that the client needs, such as `openssl`. Run it by hand, as the "
        "client's user. `setup --install-scripts` and `--install-sub-updater` install the client's own scripts.",
    ),
    "INV": (
        "Inventory",
        "The rest of the inventory is still sent. Each inventory script must print lines `key=value`.",
    ),
    "KEY": (
        "The device key",
        "A key is a PEM file with one private key: RSA, ECDSA or Ed25519. `openssl pkey -in FILE -noout -text` prints"
        " it. The passphrase or PIN is the first line of the file that `--passphrase-file` or `pin-source` names. "
        "[Keys in hardware](keys.md#keys-in-hardware) describes how openssl finds a token; after a wrong PIN, correct"
        " it before you restart the client.",
    ),
    "CLK": ("The clock", "Set it, by NTP, a battery or `date -s`. The client notices and continues."),
    "NET": (
        "Network",
        "The client retries automatically: after a minute at first, later at longer intervals, at most "
        "`RetryPollIntervalSeconds`. `doctor` shows which step fails: name, port, proxy or TLS. `getent hosts NAME` "
        "must print an address; `curl -v` shows what answers. A path with a small MTU causes time-outs: short "
        "requests work, long ones hang. [Behind a proxy](proxy.md). A download link that leads to the device itself, "
        "or from https to http, is not followed: [why](tls-and-keys.md#redirects).",
    ),
    "TLS": (
        "Certificates",
        "[TLS and keys](tls-and-keys.md) has the details. `openssl s_client -connect HOST:443 -showcerts` shows what "
        "the server presents, `openssl x509 -in FILE -noout -subject -dates` what is in a file. The name or IP "
        "address in `ServerURL` must be a subject alternative name of the certificate. Trust a private authority only"
        " if you have its certificate from its owner. If the dates look right, this device's clock is wrong.",
    ),
    "AUT": ("Authorisation", "A device pending acceptance is not a fault: accept it on the server."),
    "SRV": (
        "The server",
        "The number is the HTTP status. 5xx and 429 are usually temporary. 400, 403, 404 and 413 mean that this is "
        "another server, an older one, or a gateway with rules of its own: check its log.",
    ),
    "DEP": (
        "Deployments",
        "The deployment has ended; the next one is not affected. Its log on the server has the details.",
    ),
    "DWN": (
        "Downloads",
        "Artifacts are often stored on another host than the server: the storage. The device must be able to reach it"
        " too, and trust its certificate. Downloaded data is kept. `DownloadMinimumRate` and `DownloadStallSeconds` "
        "define what is too slow.",
    ),
    "ART": (
        "The Artifact",
        "An Artifact that is refused never reaches the sub-updater, and the deployment fails. Downloading it again "
        "doesn't help. `mender-python-client artifact verify FILE` on a workstation reports the same; `artifact show` "
        "prints device types and depends. With `ArtifactVerifyKey` an Artifact needs a valid signature: "
        "[sign it](artifacts.md#sign).",
    ),
    "UPD": (
        "Installing",
        "The sub-updater is missing, can't be run, or failed; check `sub-updater.log` in the data directory. The "
        "[contract](sub-updater.md#the-report) requires a report before the lock is removed.",
    ),
    "MOD": (
        "Update modules",
        "An update module is missing, can't be run, took too long or failed. Its output is in the deployment log, "
        "prefixed with the state and the payload type.",
    ),
    "SSC": (
        "State scripts",
        "A state script can't be run, took too long or failed. Its output is in the log, prefixed with its name.",
    ),
    "GAT": (
        "Gates",
        "A gate of `UpdateGates` can't be evaluated and stays closed, or its conditions don't apply: see [control when "
        "devices update](update-gates.md).",
    ),
    "REP": ("Reports", "`report` with exit code 75 is not a fault: the outcome is stored, and the daemon sends it."),
    "SET": (
        "Setup",
        "[The first device](first-device.md) and [migrating](from-the-archived-client.md) describe what `setup` needs. "
        "Nothing was changed.",
    ),
    "GTW": (
        "The gateway",
        "A fault of one device doesn't affect the others. [The guide](gateway.md) describes the files.",
    ),
    "API": (
        "In a program that embeds the client",
        "The program calls the functions in the wrong order: see [the guide](embed.md).",
    ),
}
"""Heading and introduction of each area, by the letters of its codes."""

NOTES = {
    "CFG11": "The key has no effect; a misspelt key looks the same as a key of another client. `doctor` reports a "
    "similar name as a fault.",
    "CFG06": "`python3 -m json.tool FILE` shows where.",
    "KEY05": "`bootstrap --key-type` requested another type than the existing key has.",
    "ART01": "No known tool writes such a file. If `artifact write` or `mender-artifact` did, "
    "[report it](../../CONTRIBUTING.md): the Artifact is needed to see why.",
    "SET13": "The database of the Go or C++ client can't be read.",
}
"""Explanations beyond the remedy, by code."""
