"""What the standard library gives, at its best: `ThreadingHTTPServer` over a dict behind a
lock, with keep-alive, TCP_NODELAY and one write per answer. `python -m benchmarks.stock_server`
prints its port.
"""

from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from benchmarks.siblings import LockedDict

STORE = LockedDict()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1

    def do_GET(self) -> None:
        value = STORE.get(self.path.encode())
        self.answer(404 if value is None else 200, value or b"")

    def do_PUT(self) -> None:
        STORE.set(self.path.encode(), self.rfile.read(int(self.headers["Content-Length"])))
        self.answer(204, b"")

    def answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        """Say nothing."""


class Server(ThreadingHTTPServer):
    def handle_error(self, request: object, client_address: object) -> None:
        """A client that goes away is nothing to print a stack for."""


if __name__ == "__main__":
    with Server(("127.0.0.1", 0), Handler) as server:
        print(f"http://127.0.0.1:{server.server_port}", flush=True)
        server.serve_forever()
