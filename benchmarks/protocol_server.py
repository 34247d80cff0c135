"""The least a Python server can do: an asyncio.Protocol that splits at spaces, checks nothing and
stores in a dict. `python -m benchmarks.protocol_server` prints where it is."""

import asyncio

STORE: dict[bytes, bytes] = {}
GOT = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n%b\r\n%b"


class Least(asyncio.Protocol):
    def __init__(self) -> None:
        self.pending = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        data = self.pending + data
        head, found, rest = data.partition(b"\r\n\r\n")
        if not found:
            self.pending = data
            return
        method, path, _ = head.split(b" ", 2)
        close = b"Connection: close\r\n" if b"Connection: close" in head else b""
        if method == b"PUT":
            start = head.index(b"Content-Length: ") + 16
            length = int(head[start:].partition(b"\r\n")[0])
            if len(rest) < length:
                self.pending = data
                return
            STORE[path] = rest[:length]
            self.transport.write(b"HTTP/1.1 204 No Content\r\n%b\r\n" % close)
        else:
            value = STORE.get(path)
            if value is None:
                self.transport.write(
                    b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n%b\r\n" % close
                )
            else:
                self.transport.write(GOT % (len(value), close, value))
        self.pending = b""
        if close:
            self.transport.close()


async def main() -> None:
    server = await asyncio.get_running_loop().create_server(Least, "127.0.0.1", 0, backlog=1024)
    port = server.sockets[0].getsockname()[1]
    print(f"http://127.0.0.1:{port}", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
