"""A way to a server that counts what goes through it, each way."""

import socket
import threading


class Counter:
    """Listens on a port of its own and passes everything on to `target`, both ways."""

    def __init__(self, target):
        self.target = target
        self.sent = self.received = 0
        self.lock = threading.Lock()
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.endpoint = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            server = socket.create_connection(self.target)
            for one, other, is_up in ((client, server, True), (server, client, False)):
                threading.Thread(target=self.carry, args=(one, other, is_up), daemon=True).start()

    def carry(self, one, other, is_up):
        buffer = memoryview(bytearray(256 * 1024))
        try:
            while count := one.recv_into(buffer):
                with self.lock:
                    if is_up:
                        self.sent += count
                    else:
                        self.received += count
                other.sendall(buffer[:count])
            other.shutdown(socket.SHUT_WR)
        except OSError:
            # One side has hung up; so will the other, when it is told.
            for end in (one, other):
                try:
                    end.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass

    def take(self):
        """What was sent and received since the last call, bytes."""
        with self.lock:
            counted = (self.sent, self.received)
            self.sent = self.received = 0
        return counted

    def close(self):
        self.listener.close()
