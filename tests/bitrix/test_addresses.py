"""Which addresses the app connects to: the corpus, which does not depend on the version of Python."""

import ipaddress

import pytest

from b24app.bitrix import http
from b24app.bitrix.addresses import carried


def words(text):
    return text.split()


PRIVATE = words("""
0.0.0.0 0.1.2.3 10.0.0.1 10.255.255.255 100.64.0.1 100.100.100.200 100.127.255.255 127.0.0.1 127.255.255.254
169.254.0.1 169.254.169.254 172.16.0.1 172.31.255.255 192.0.0.1 192.0.0.8 192.0.0.170 192.0.2.1 192.31.196.1
192.52.193.1 192.88.99.1 192.168.0.1 192.168.255.255 192.175.48.1 198.18.0.1 198.19.255.255 198.51.100.1 203.0.113.1
224.0.0.1 239.255.255.255 240.0.0.1 255.255.255.255
:: ::1 ::127.0.0.1 ::169.254.169.254 ::8.8.8.8 ::ffff:127.0.0.1 ::ffff:10.0.0.1 ::ffff:169.254.169.254
::ffff:0:127.0.0.1 ::ffff:0:8.8.8.8 64:ff9b::127.0.0.1 64:ff9b::10.0.0.1 64:ff9b::169.254.169.254 64:ff9b::224.0.0.1
64:ff9b:1::1 64:ff9b:1:7f00:0:100:: 64:ff9b:1:808:8:800:: 64:ff9b:2::8.8.8.8
2002:7f00:1:: 2002:a9fe:a9fe:: 2002:a00:1::1 2002:808:808::1 2001:0:0:0:0:0:80ff:fffe 2001::1 2001:2::1 2001:10::1
2001:20::1 2001:db8::1 3fff::1 3fff:fff:ffff::1 5f00::1 100::1 100:0:0:1::1 fc00::1 fd12:3456::1 fe80::1 fe80::1%eth0
febf::1 fec0::1 feff::1 ff00::1 ff02::1 ff0e::1 4000::1 1000::1 2620:4f:8000::1
""")
PUBLIC = words("""
1.1.1.1 8.8.8.8 9.255.255.255 11.0.0.0 93.184.216.34 100.63.255.255 100.128.0.0 126.255.255.255 128.0.0.1 172.15.255.255
172.32.0.0 192.0.1.0 192.167.255.255 192.169.0.0 198.17.255.255 198.20.0.0 203.0.112.255 223.255.255.255
::ffff:8.8.8.8 64:ff9b::8.8.8.8 2001:4860:4860::8888 2606:4700:4700::1111 2a00:1450:4001::1 2001:200::1 2003::1 3ffe::1
""")


@pytest.mark.parametrize("address", PRIVATE)
def test_a_special_address_is_refused(address):
    assert not http.Egress().admits(address)


@pytest.mark.parametrize("address", PUBLIC)
def test_a_public_address_is_admitted(address):
    assert http.Egress().admits(address)


@pytest.mark.parametrize("address", ["10.1.2.3", "::ffff:10.1.2.3", "fd00::5"])
def test_an_operators_networks_are_admitted(address):
    egress = http.Egress.parse(["10.1.0.0/16", "fd00::/8"], local=False)
    assert egress.admits(address)
    assert not egress.admits("10.2.0.1")
    assert not egress.admits("64:ff9b::10.1.2.3")


@pytest.mark.parametrize(
    "address, inner",
    [
        *(("::ffff:1.2.3.4", "1.2.3.4"), ("::1.2.3.4", "1.2.3.4"), ("::ffff:0:1.2.3.4", "1.2.3.4")),
        *(("64:ff9b::1.2.3.4", "1.2.3.4"), ("64:ff9b:1:102:3:400::", "1.2.3.4"), ("2002:102:304::1", "1.2.3.4")),
        *(("2001:0:4136:e378:8000:63bf:3fff:fdd2", "192.0.2.45"), ("2a00::1", None)),
    ],
)
def test_a_carried_address_is_found(address, inner):
    assert carried(ipaddress.IPv6Address(address)) == (ipaddress.IPv4Address(inner) if inner else None)


@pytest.mark.parametrize(
    "url, is_admitted",
    [
        ("https://acme.bitrix24.com/rest/", True),
        ("https://acme.bitrix24.com:443/rest/", True),
        ("https://box.example:8443/rest/", True),
        *(("https://box.example:22/rest/", False), ("https://box.example:25/rest/", False)),
        ("https://box.example:444/rest/", True),
        *(("https://box.example:6379/rest/", False), ("https://box.example:0/rest/", False)),
        ("https://box.example:99999/rest/", False),
    ],
)
def test_ports_of_other_services_are_refused(url, is_admitted):
    assert http.Egress().admits_url(url) is is_admitted
