"""A TCP proxy that can be cut and records the traffic."""

import contextlib
import socket
import threading
from collections import deque

CHUNK = 64 * 1024
REMEMBERED = 20_000  # chunks


class Wire:
    """Forwards `port` to `target` (host, port) and back, until it is cut."""

    def __init__(self, target):
        self.target = target
        self.seen = deque(maxlen=REMEMBERED)
        self.is_up = True
        self.pairs = set()
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self):
        """Close every connection and reject new ones until `mend`."""
        self.is_up = False
        for one in list(self.pairs):
            close(one)

    def mend(self):
        self.is_up = True

    def break_connections(self):
        """Close every connection; accept new ones."""
        self.cut()
        self.mend()

    def close(self):
        self.is_up = False
        self.listener.close()
        self.cut()

    def _accept(self):
        while True:
            try:
                near, _ = self.listener.accept()
            except OSError:
                return
            if not self.is_up:
                close(near)
                continue
            try:
                far = socket.create_connection(self.target)
            except OSError:
                close(near)
                continue
            self.pairs |= {near, far}
            for source, sink in ((near, far), (far, near)):
                threading.Thread(target=self._pass_on, args=(source, sink), daemon=True).start()

    def _pass_on(self, source, sink):
        with contextlib.suppress(OSError):
            while chunk := source.recv(CHUNK):
                self.seen.append(chunk)
                sink.sendall(chunk)
        close(source)
        close(sink)
        self.pairs -= {source, sink}


def close(connection):
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
    connection.close()
