import pytest

from inferonnx.client.address import parse_url
from inferonnx.errors import UsageError


@pytest.mark.parametrize(
    ("url", "host", "port", "prefix", "authority"),
    [
        ("https://a.example.org", "a.example.org", 443, "", "a.example.org"),
        ("https://A.Example.org./", "a.example.org", 443, "", "a.example.org"),
        ("https://localhost:8443", "localhost", 8443, "", "localhost:8443"),
        ("https://127.0.0.1:1/v/w/", "127.0.0.1", 1, "/v/w", "127.0.0.1:1"),
        ("https://[::1]:8443", "::1", 8443, "", "[::1]:8443"),
        ("https://[2001:DB8:0::1]", "2001:db8::1", 443, "", "[2001:db8::1]"),
    ],
)
def test_a_url_is_taken_apart(url, host, port, prefix, authority):
    address = parse_url(url)
    assert (address.host, address.port, address.prefix) == (host, port, prefix)
    assert address.authority == authority
    assert parse_url(str(address)) == address


@pytest.mark.parametrize(
    "url",
    [
        "",
        "models:8443",
        "http://models:8443",
        "https://",
        "https://:8443",
        "https://models:port",
        "https://models:70000",
        "https://models:0",
        "https://user:secret@models",
        "https://models?x=secret",
        "https://models/?",
        "https://models#secret",
        "https://mod\nels",
        "https://mod els",
        "https://models/a b",
        "https://models//",
        "https://models/a//b",
        "https://mödels",
        "https://[::1",
        "https://[::x]",
        "https://[fe80::1%25eth0]",
        "https://-models",
        "https://a..b",
        f"https://{'a' * 64}",
        f"https://{'a.' * 127}aa",
    ],
)
def test_other_urls_are_refused_and_not_repeated(url):
    with pytest.raises(UsageError, match="the URL of the server can't be used") as caught:
        parse_url(url)
    assert "secret" not in caught.value.message
