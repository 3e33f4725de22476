"""Effects on the device: one file for each way to install an Artifact; see ``core.ports.Installer``."""
