"""Which network interface has an address: Gloo itself takes that of the host's name, 127.0.1.1 on Debian."""

from __future__ import annotations

import os
import socket
import struct

_SIOCGIFADDR = 0x8915  # netdevice(7)


def reach_gloo_at(address: str) -> None:
    """Let this process's Gloo groups meet at the IPv4 `address`, unless GLOO_SOCKET_IFNAME says where.

    Gloo chooses if no interface has the address, as on one host with nodes at 127.0.0.2 and so on.
    """
    if name := interface_of(address):
        os.environ.setdefault("GLOO_SOCKET_IFNAME", name)


def interface_of(address: str) -> str | None:
    """Find the interface's name; None if there is none, or if this is not Linux."""
    try:
        import fcntl
    except ImportError:
        return None
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        for _, name in socket.if_nameindex():
            try:
                answer = fcntl.ioctl(asking, _SIOCGIFADDR, struct.pack("256s", name.encode()[:15]))
            except OSError:  # it has no address
                continue
            if socket.inet_ntoa(answer[20:24]) == address:
                return name
    return None
