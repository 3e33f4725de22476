"""The configured device key: in a file or in a token, encrypted or not."""

from __future__ import annotations

from pathlib import Path

from mender_client import TYPE_CHECKING
from mender_client.core.devicekey import KeyType, fingerprint
from mender_client.core.model import NewKey
from mender_client.dataclass import replace
from mender_client.errors import ConfigError, Diagnostic
from mender_client.system.crypto import choose_backend
from mender_client.system.journal import JsonJournal
from mender_client.system.keys import DeviceKey, no_passphrase

from .config import Config
from .paths import Paths

if TYPE_CHECKING:
    from mender_client.system.keys import Passphrase
    from mender_client.system.token import TokenKey


def device_key(config: Config, paths: Paths, passphrase: Passphrase = no_passphrase) -> DeviceKey | TokenKey:
    """The key store of the generated key, or of the one that the configuration names.

    Raises:
        ConfigError: the URI of the key can't be used.
    """
    named = config.auth_private_key
    if named.startswith("pkcs11:"):
        return _token_key(config, paths, passphrase)
    return DeviceKey(paths.below_root(named) if named else paths.key, choose_backend(), passphrase)


def _token_key(config: Config, paths: Paths, passphrase: Passphrase) -> TokenKey:
    # imported only where a token is configured, to save memory
    from mender_client.core.tokenuri import parse_token_uri
    from mender_client.system.token import TokenKey

    from .passphrase import check_secret_file

    try:
        uri = parse_token_uri(config.auth_private_key)
    except ValueError as error:
        remedy = "write a URI such as pkcs11:token=LABEL;object=LABEL?pin-source=/FILE"
        raise ConfigError([Diagnostic("KEY24", f"Security.AuthPrivateKey: {error}", remedy)]) from error
    if uri.pin_file:
        uri = replace(uri, pin_file=str(paths.below_root(uri.pin_file)))
        check_secret_file("Security.AuthPrivateKey (pin-source)", Path(uri.pin_file), paths)
    return TokenKey(uri, passphrase, engine=config.ssl_engine)


def prepare_key(
    key: DeviceKey | TokenKey, paths: Paths, *, is_forced: bool = False, kind: KeyType | None = None
) -> bool:
    """Generate the device key unless there is one, and record the reason, so that it can be reported later.

    Args:
        key: the key store.
        paths: the device's files.
        is_forced: generate a new key even if there is one.
        kind: the required type of the key, None for any.

    Returns:
        Whether a new key was generated.

    Raises:
        KeyFileError: the key can't be used or generated.
        StorageError: the key can't be written.
    """
    is_new = key.ensure(replace=is_forced, kind=kind)
    if is_new:
        made = fingerprint(key.public_key_pem())
        journal = JsonJournal(paths.journal)
        if journal.load().accepted is not None:  # otherwise it replaces no accepted key
            journal.update(lambda record: replace(record, new_key=NewKey(made, is_forced)))
    return is_new
