"""Which IP addresses are on the public internet. The list is our own: `ipaddress.is_global` differs between Python
versions, and does not look into addresses that carry another one.

Sources: the special-purpose address registries of IANA for IPv4 and IPv6; RFC 6052, 8215, 3056, 4380, 4291.
"""

import ipaddress

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

SPECIAL_V4 = tuple(
    map(
        ipaddress.IPv4Network,
        (
            "0.0.0.0/8",  # this network
            "10.0.0.0/8",  # private
            "100.64.0.0/10",  # of carriers, and the metadata services of some clouds
            "127.0.0.0/8",  # loopback
            "169.254.0.0/16",  # link-local, and the metadata services of most clouds
            "172.16.0.0/12",  # private
            "192.0.0.0/24",  # of protocols
            "192.0.2.0/24",  # documentation
            "192.31.196.0/24",  # AS112
            "192.52.193.0/24",  # AMT
            "192.88.99.0/24",  # 6to4 relays
            "192.168.0.0/16",  # private
            "192.175.48.0/24",  # AS112
            "198.18.0.0/15",  # benchmarks
            "198.51.100.0/24",  # documentation
            "203.0.113.0/24",  # documentation
            "224.0.0.0/4",  # multicast
            "240.0.0.0/4",  # reserved, and broadcast
        ),
    )
)
GLOBAL_V6 = ipaddress.IPv6Network("2000::/3")  # all other addresses are special: loopback, local, multicast, unassigned
SPECIAL_V6 = tuple(
    map(
        ipaddress.IPv6Network,
        (
            "2001::/23",  # of protocols: Teredo, benchmarks, ORCHID
            "2001:db8::/32",  # documentation
            "2620:4f:8000::/48",  # AS112
            "3fff::/20",  # documentation
        ),
    )
)
MAPPED, COMPATIBLE = ipaddress.IPv6Network("::ffff:0:0/96"), ipaddress.IPv6Network("::/96")
TRANSLATED = ipaddress.IPv6Network("::ffff:0:0:0/96")
NAT64, NAT64_LOCAL = ipaddress.IPv6Network("64:ff9b::/96"), ipaddress.IPv6Network("64:ff9b:1::/48")
SIX_TO_FOUR, TEREDO = ipaddress.IPv6Network("2002::/16"), ipaddress.IPv6Network("2001::/32")


def parse(text: str) -> Address:
    """The address without its zone. An IPv4 address that is mapped into IPv6 counts as itself: it is the same host."""
    found = ipaddress.ip_address(text.partition("%")[0])
    return getattr(found, "ipv4_mapped", None) or found


def is_public(address: Address) -> bool:
    """Whether the address, and one that it carries, are on the public internet."""
    if isinstance(address, ipaddress.IPv4Address):
        return not any(address in network for network in SPECIAL_V4)
    if (inner := carried(address)) is not None:
        # A gateway connects to the address inside. NAT64 is the only one of these methods that networks still use.
        return address in NAT64 and is_public(inner)
    return address in GLOBAL_V6 and not any(address in network for network in SPECIAL_V6)


def carried(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    """The IPv4 address inside of an IPv6 address, by whichever of the transition methods."""
    bits = int(address)
    if any(address in network for network in (MAPPED, COMPATIBLE, TRANSLATED, NAT64)):
        return ipaddress.IPv4Address(bits & 0xFFFFFFFF)
    if address in NAT64_LOCAL:
        return ipaddress.IPv4Address((bits >> 64 & 0xFFFF) << 16 | bits >> 40 & 0xFFFF)  # around eight zero bits
    if address in SIX_TO_FOUR:
        return ipaddress.IPv4Address(bits >> 80 & 0xFFFFFFFF)
    if address in TEREDO:
        return ipaddress.IPv4Address(~bits & 0xFFFFFFFF)
    return None
