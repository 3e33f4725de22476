"""Effects on the device: one file for each way to apply an Artifact. Each implements ``core.ports.Installer``."""
