"""The last word of ``setup``: would this device work? One short look, until ``doctor`` takes its place."""

from __future__ import annotations

from mender_client.core.ports import KeyStore
from mender_client.errors import MenderError, NotAcceptedError

from .assemble import assemble
from .config import Config
from .exitcodes import ExitCode
from .guard import look_at_files
from .paths import Paths


def give_verdict(config: Config, paths: Paths, key: KeyStore) -> ExitCode:
    """Look at what a client needs, ask the server once for access, and say how it stands.

    Args:
        config: the settings, which are right.
        paths: where everything lies.
        key: the device key.

    Returns:
        DONE when the server lets the device in, or waits for somebody who accepts it; else FAILED.
    """
    world = None
    try:
        problems = look_at_files(config, paths).problems
        if problems:
            raise MenderError("; ".join(problems))
        world = assemble(config, paths, key=key)
        provides = world.device.provides()
        print(f"device type {provides.device_type}, Artifact {provides.artifact_name}")
        server = world.session.authorise().server_url
    except NotAcceptedError:
        print(f"waiting: {config.server_urls[-1]} has not accepted this device; accept it there")
        return ExitCode.DONE
    except MenderError as error:
        print(f"not working yet: {error}")
        return ExitCode.FAILED
    finally:
        if world is not None:
            world.close()
    print(f"accepted by {server}")
    return ExitCode.DONE
