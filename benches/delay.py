#!/usr/bin/env python3
"""A proxy that holds every byte back: delay.py LISTEN PORT MILLISECONDS, each way.

What arrives is kept with the time at which it may go on, so that the delay costs no throughput. Python
alone, no packages; loopback only.
"""
import collections
import selectors
import socket
import sys
import time

PIECE = 1 << 18
MOST = 64 << 20  # bytes on their way, in one direction


class Way:
    """One direction of a connection."""

    def __init__(self, source, sink):
        self.source, self.sink = source, sink
        self.waiting = collections.deque()
        self.bytes = 0
        self.ended = self.closed = False

    def take(self, delay):
        try:
            piece = self.source.recv(PIECE)
        except BlockingIOError:
            return
        except OSError:
            piece = b""
        self.ended |= not piece
        self.bytes += len(piece)
        self.waiting.append((time.monotonic() + delay, memoryview(piece)))

    def give(self):
        """Sends what is due; when the next is, or None."""
        while self.waiting and not self.closed:
            due, piece = self.waiting[0]
            if due > time.monotonic():
                return due
            if not piece:
                self.closed = True
                try:
                    self.sink.shutdown(socket.SHUT_WR)
                except OSError:
                    pass
                break
            try:
                sent = self.sink.send(piece)
            except BlockingIOError:
                return None
            except OSError:
                self.closed = self.ended = True
                break
            self.bytes -= sent
            self.waiting.popleft()
            if sent < len(piece):
                self.waiting.appendleft((due, piece[sent:]))
                return None
        return None


def wanted(ways):
    """What is waited for, by socket: events, and the ways that read from it."""
    now, sockets = time.monotonic(), {}
    for way in ways:
        if not way.ended and way.bytes < MOST:
            events, reading = sockets.setdefault(way.source, (0, []))
            sockets[way.source] = (events | selectors.EVENT_READ, reading + [way])
        if way.waiting and way.waiting[0][0] <= now:
            events, reading = sockets.setdefault(way.sink, (0, []))
            sockets[way.sink] = (events | selectors.EVENT_WRITE, reading)
    return sockets


def main():
    listen, port, delay = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]) / 1000
    selector = selectors.DefaultSelector()
    listener = socket.create_server(("127.0.0.1", listen), backlog=100)
    selector.register(listener, selectors.EVENT_READ)
    ways = []
    while True:
        due = [d for d in (way.give() for way in ways) if d]
        ways = [way for way in ways if not way.closed]
        sockets = wanted(ways)
        for key in list(selector.get_map().values()):
            if key.fileobj is not listener and key.fileobj not in sockets:
                selector.unregister(key.fileobj)
        for sock, (events, reading) in sockets.items():
            if sock in selector.get_map():
                selector.modify(sock, events, reading)
            else:
                selector.register(sock, events, reading)
        timeout = max(0, min(due) - time.monotonic()) if due else None
        for key, events in selector.select(timeout):
            if key.fileobj is listener:
                client, _ = listener.accept()
                server = socket.create_connection(("127.0.0.1", port))
                for end in (client, server):
                    end.setblocking(False)
                    end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                ways += [Way(client, server), Way(server, client)]
            elif events & selectors.EVENT_READ:
                for way in key.data:
                    way.take(delay)


main()
