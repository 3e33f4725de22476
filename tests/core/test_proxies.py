"""The proxy settings of the environment, as a value."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mender_client.core.proxies import Proxies, Proxy, read_proxies
from mender_client.errors import ConfigError

HTTP, HTTPS = "http://web:1", "http://secure:2"
BOTH = {"http_proxy": HTTP, "https_proxy": HTTPS}


def chosen(environment: dict[str, str], url: str) -> str:
    """The proxy for an address, as text; empty for a direct connection."""
    scheme, _, rest = url.partition("://")
    host, _, port = rest.rpartition(":")
    proxy = read_proxies(environment).choose(scheme, host, int(port))
    return "" if proxy is None else str(proxy)


WAYS = {
    "none": ({}, "https://a:443", ""),
    "https": (BOTH, "https://a:443", "http://secure:2 (https_proxy)"),
    "http": (BOTH, "http://a:80", "http://web:1 (http_proxy)"),
    "all": ({"all_proxy": HTTP}, "https://a:443", "http://web:1 (all_proxy)"),
    "one before all": ({**BOTH, "all_proxy": "http://c:3"}, "https://a:443", "http://secure:2 (https_proxy)"),
    "upper case": ({"HTTPS_PROXY": HTTPS}, "https://a:443", "http://secure:2 (HTTPS_PROXY)"),
    "upper case for http": ({"HTTP_PROXY": HTTP}, "http://a:80", "http://web:1 (HTTP_PROXY)"),
    "lower case wins": ({"HTTPS_PROXY": HTTP, **BOTH}, "https://a:443", "http://secure:2 (https_proxy)"),
    "empty means none": ({"HTTPS_PROXY": HTTP, "https_proxy": ""}, "https://a:443", ""),
    "of a visitor": ({"HTTP_PROXY": HTTP, "REQUEST_METHOD": "GET"}, "http://a:80", ""),
    "not of a visitor": ({"http_proxy": HTTP, "REQUEST_METHOD": "GET"}, "http://a:80", "http://web:1 (http_proxy)"),
    "without a scheme": ({"http_proxy": "web:1"}, "http://a:80", "http://web:1 (http_proxy)"),
    "without a port": ({"http_proxy": "http://web/"}, "http://a:80", "http://web:80 (http_proxy)"),
    "version 6": ({"http_proxy": "http://[fe80::1]:3"}, "http://a:80", "http://[fe80::1]:3 (http_proxy)"),
    "to this device": (BOTH, "https://127.0.0.1:443", ""),
    "to this device by version 6": (BOTH, "https://[::1]:443", ""),
    "to this device by name": (BOTH, "http://LOCALHOST:80", ""),
}


@pytest.mark.parametrize("name", WAYS)
def test_ways(name: str) -> None:
    """The variables select the proxy for a server; connections to this device itself are direct."""
    environment, url, way = WAYS[name]
    assert way == chosen(environment, url)


EXEMPT = [
    ("*", "https://a.example:443"),
    ("b, *", "https://a.example:443"),
    ("a.example", "https://a.example:443"),
    ("a.example", "https://A.Example.:443"),
    ("example", "https://a.example:443"),
    (".example", "https://a.example:443"),
    (".a.example", "https://a.example:443"),
    ("*.example", "https://a.example:443"),
    ("A.EXAMPLE", "https://a.example:443"),
    ("b,a.example", "https://a.example:443"),
    ("b a.example", "https://a.example:443"),
    ("a.example:443", "https://a.example:443"),
    ("10.0.0.1", "https://10.0.0.1:443"),
    ("10.0.0.1:443", "https://10.0.0.1:443"),
    ("10.0.0.0/8", "https://10.99.0.1:443"),
    ("10.0.0.7/8", "https://10.99.0.1:443"),
    ("fd00::/8", "https://[fd00::1]:443"),
    ("[fd00::1]", "https://[fd00::1]:443"),
    ("fd00::1", "https://[fd00:0::1]:443"),
    ("[fd00::1]:443", "https://[fd00::1]:443"),
    ("fe80::/10", "https://[fe80::1%eth0]:443"),
    ("fe80::1%eth0", "https://[fe80::1%eth0]:443"),
    ("[fe80::1%eth0]:443", "https://[fe80::1]:443"),
    ("10.0.0.0/255.0.0.0", "https://10.99.0.1:443"),
    ("192.168., a.example", "https://a.example:443"),
]
NOT_EXEMPT = [
    ("", "https://a.example:443"),
    ("a.example", "https://ba.example:443"),
    ("a.example", "https://a.example.org:443"),
    ("a.example:444", "https://a.example:443"),
    ("10.0.0.0/8", "https://11.0.0.1:443"),
    ("10.0.0.0/8", "https://a.example:443"),
    ("0.0.0.0/0", "https://[fd00::1]:443"),
    ("10.0.0.1:80", "https://10.0.0.1:443"),
    ("[fd00::1]:80", "https://[fd00::1]:443"),
]


@pytest.mark.parametrize(("exempt", "url"), EXEMPT)
def test_exempt(exempt: str, url: str) -> None:
    """``no_proxy`` holds hosts with their subdomains, addresses, networks, each with or without a port, and ``*``."""
    assert chosen({**BOTH, "no_proxy": exempt}, url) == ""


@pytest.mark.parametrize(("exempt", "url"), NOT_EXEMPT)
def test_not_exempt(exempt: str, url: str) -> None:
    """Hosts that ``no_proxy`` doesn't list go through the proxy."""
    assert "http://secure:2 (https_proxy)" == chosen({**BOTH, "NO_PROXY": exempt}, url)


def test_credentials() -> None:
    """User name and password are percent-decoded, sent, and never shown."""
    proxy = read_proxies({"http_proxy": "http://us%40er:p%3Aa%2Fss%C3%A9@web:1"}).http
    assert proxy is not None
    assert proxy.authorization == "Basic " + base64.b64encode("us@er:p:a/ssé".encode()).decode()
    assert "http://web:1 (http_proxy)" == str(proxy)
    assert proxy.authorization not in repr(proxy)


MALFORMED = [
    ("https_proxy", "https://secret:1"),
    ("https_proxy", "socks5://secret:1"),
    ("HTTPS_PROXY", "http://"),
    ("http_proxy", "http://secret:99999"),
    ("http_proxy", "http://user:12/secret@web:1"),
    ("http_proxy", "http://user:12#secret@web:1"),
    ("http_proxy", "http://user:12?secret@web:1"),
    ("http_proxy", "http://web:1/secret"),
    ("http_proxy", "http://sec ret:1"),
    ("http_proxy", "http://secr\u00e9t:1"),
    ("all_proxy", "http://[secret:1"),
]


@pytest.mark.parametrize(("variable", "value"), MALFORMED)
def test_malformed(variable: str, value: str) -> None:
    """An invalid variable raises a ConfigError that names it without its value."""
    with pytest.raises(ConfigError, match=rf"^{variable}: ") as caught:
        read_proxies({variable: value})
    assert "secret" not in str(caught.value)
    assert 1 == len(caught.value.problems)


ODD = ["192.168.", "169.254/16", "10.0.0.0/99", "host/8", "a:b:c", "300.1.1.1", ".", "10.0.0.0/0.0.255.0", "::/x"]


@pytest.mark.parametrize("entry", ODD)
def test_odd_exemption(entry: str) -> None:
    """An invalid entry of ``no_proxy`` is named in a warning; the other entries and the proxies stay in effect."""
    proxies = read_proxies({**BOTH, "no_proxy": f"b.example,{entry} c.example"})
    assert [f"no_proxy: the entry {entry!r} is ignored"] == [one.text for one in proxies.warnings]
    assert [None, None] == [proxies.choose("https", host, 443) for host in ("b.example", "c.example")]
    assert proxies.choose("https", "192.168.0.1", 443) is not None


def test_all_faults_at_once() -> None:
    """Every malformed variable is named."""
    with pytest.raises(ConfigError) as caught:
        read_proxies({"http_proxy": "x://", "https_proxy": "x://", "no_proxy": "/"})
    assert ["http_proxy", "https_proxy"] == [str(text).partition(":")[0] for text in caught.value.problems]


@given(st.text(max_size=30), st.text(max_size=30))
def test_any_text(proxy: str, exempt: str) -> None:
    """Any values of the variables are accepted or raise ConfigError."""
    try:
        proxies = read_proxies({"http_proxy": proxy, "no_proxy": exempt})
    except ConfigError:
        return
    assert isinstance(proxies, Proxies)
    assert proxies.http is None or isinstance(proxies.http, Proxy)
    proxies.choose("http", "a.example", 80)
