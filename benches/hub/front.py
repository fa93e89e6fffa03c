"""A hub's API, as much as `hf upload` and `hf download` of models need, in front of a chunk store. Nothing is checked.

usage: front.py PORT CAS_URL KNOWN.json     (digests and Xet hashes of what will be uploaded)
"""

import hashlib
import json
import re
import socketserver
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

PORT, CAS = int(sys.argv[1]), sys.argv[2]
KNOWN = json.loads(Path(sys.argv[3]).read_text())
ENTRIES = {}
COMMITS = ["0" * 40]


class Api(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1

    def log_message(self, *_):
        pass

    def say(self, value, status=200, headers=None):
        body = json.dumps(value).encode()
        self.send_response(status)
        for name, text in (headers or {}).items():
            self.send_header(name, text)
        if "Content-Length" not in (headers or {}):
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
        self.wfile.flush()

    def body(self):
        if self.headers.get("Transfer-Encoding") == "chunked":
            parts = []
            while size := int(self.rfile.readline(), 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def do_GET(self):
        if re.search(r"/xet-(read|write)-token/", self.path):
            expires = int(time.time()) + 3600
            headers = {"X-Xet-Cas-Url": CAS, "X-Xet-Access-Token": "t", "X-Xet-Token-Expiration": str(expires)}
            self.say({"casUrl": CAS, "accessToken": "t", "exp": expires}, headers=headers)
        elif match := re.match(r"/api/models/([^/]+/[^/]+)(?:/revision/[^/?]+)?(?:\?.*)?$", self.path):
            siblings = [{"rfilename": path} for path in ENTRIES]
            self.say({"id": match[1], "sha": COMMITS[-1], "siblings": siblings})
        elif "/tree/" in self.path:
            self.say(list(ENTRIES.values()))
        elif match := re.match(r"/([^/]+/[^/]+)/resolve/[^/]+/([^?]+)", self.path):
            self.head(match[1], unquote(match[2]))
        else:
            self.say({"error": "nothing here"}, 404)

    do_HEAD = do_GET

    def head(self, repo, path):
        entry = ENTRIES.get(path)
        commit = {"X-Repo-Commit": COMMITS[-1]}
        if entry is None:
            return self.say({"error": path}, 404, commit | {"X-Error-Code": "EntryNotFound"})
        etag, size = f'"{entry["lfs"]["oid"]}"', str(entry["size"])
        route = f"http://127.0.0.1:{PORT}/api/models/{repo}/xet-read-token/{COMMITS[-1]}"
        self.say(None, headers=commit | {
            "ETag": etag, "X-Linked-Etag": etag, "X-Linked-Size": size, "Content-Length": size,
            "X-Xet-Hash": entry["xetHash"], "Link": f'<{route}>; rel="xet-auth"',
        })

    def do_POST(self):
        body = self.body()
        if self.path == "/api/repos/create":
            name = json.loads(body)["name"]
            self.say({"url": f"http://127.0.0.1:{PORT}/admin/{name}"})
        elif "/preupload/" in self.path:
            files = json.loads(body)["files"]
            self.say({"files": [{"path": f["path"], "uploadMode": "lfs", "shouldIgnore": False} for f in files]})
        elif "/commit/" in self.path:
            self.commit(body)
        else:
            self.say({"errors": [], "warnings": []})

    def commit(self, body):
        for line in body.splitlines():
            line = json.loads(line)
            if line["key"] == "lfsFile":
                value = line["value"]
                digest, size = value["oid"], value["size"]
                ENTRIES[value["path"]] = {
                    "type": "file", "path": value["path"], "oid": hashlib.sha1(digest.encode()).hexdigest(), "size": size,
                    "lfs": {"oid": digest, "size": size, "pointerSize": 134}, "xetHash": KNOWN[digest],
                }
        COMMITS.append(hashlib.sha1(str(len(COMMITS)).encode()).hexdigest())
        url = f"http://127.0.0.1:{PORT}/admin/x/commit/{COMMITS[-1]}"
        self.say({"commitOid": COMMITS[-1], "commitUrl": url, "success": True})


socketserver.TCPServer.request_queue_size = 128
ThreadingHTTPServer(("127.0.0.1", PORT), Api).serve_forever()
