"""The servers that are compared, each a process of its own that starts empty and is measured from outside."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

HERE = Path(__file__).resolve().parent
TICKS = os.sysconf("SC_CLK_TCK")
COMMIT = "0123456789abcdef0123456789abcdef01234567"


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(port, process, name):
    for _ in range(200):
        if process.poll() is not None:
            sys.exit(f"{name} ended at its start with exit code {process.returncode}")
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.05)
    sys.exit(f"{name} does not listen on port {port}")


def busy_s():
    """Seconds of all processors that anybody has used since the start of the machine, without waiting for disks."""
    user, nice, system, _idle, _wait, irq, soft, steal, *_ = Path("/proc/stat").read_text().split("\n")[0].split()[1:]
    return sum(map(int, (user, nice, system, irq, soft, steal))) / TICKS


class Server:
    """A server with its data in a folder that is emptied at its start and its end."""

    name = ""

    def __init__(self, folder):
        self.folder = Path(folder) / self.name
        self.processes = []
        self.token = "hf_none"

    def __enter__(self):
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        self.endpoint = self.start()
        return self

    def __exit__(self, *_):
        for process in self.processes:
            process.send_signal(signal.SIGTERM)
        for process in self.processes:
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
        self.processes.clear()
        shutil.rmtree(self.folder, ignore_errors=True)

    def run(self, command, **options):
        process = subprocess.Popen([str(word) for word in command], **options)
        self.processes.append(process)
        return process

    def pids(self):
        """The processes and what they have started."""
        found = [process.pid for process in self.processes]
        for pid in found:
            children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
            found.extend(map(int, children))
        return found

    def forget_peak(self):
        for pid in self.pids():
            Path(f"/proc/{pid}/clear_refs").write_text("5")

    def peak_mb(self):
        """The most memory that all processes together have had since `forget_peak`, or more: their peaks, added."""
        total = 0
        for pid in self.pids():
            lines = Path(f"/proc/{pid}/status").read_text().splitlines()
            total += sum(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
        return total / 1024

    def cpu_s(self):
        stats = [Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split() for pid in self.pids()]
        return sum(int(stat[11]) + int(stat[12]) for stat in stats) / TICKS

    def get(self, path, method="GET"):
        """Headers and body of an answer."""
        request = urllib.request.Request(self.endpoint + path, method=method)
        request.add_header("Authorization", f"Bearer {self.token}")
        with urllib.request.urlopen(request) as answer:
            return answer.headers, answer.read()

    def post(self, path, value):
        body = value if isinstance(value, bytes) else json.dumps(value).encode()
        request = urllib.request.Request(self.endpoint + path, data=body, method="POST")
        request.add_header("Authorization", f"Bearer {self.token}")
        request.add_header("Content-Type", "application/json")
        try:
            with urllib.request.urlopen(request) as answer:
                return json.loads(answer.read() or b"null")
        except urllib.error.HTTPError as error:
            sys.exit(f"{path}: {error.code} {error.read()[:300]}")


class Sinew(Server):
    name = "sinew"

    def __init__(self, folder, binary):
        super().__init__(folder)
        self.binary = binary

    def start(self):
        command = [self.binary, "serve", "--data", self.folder / "data", "--host", "127.0.0.1", "--port", "0", "--json"]
        process = self.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        text = ""
        while not text.endswith("}\n"):
            line = process.stdout.readline()
            if not line:
                sys.exit(f"{self.binary} ended at its start with exit code {process.wait()}")
            text += line
        said = json.loads(text)
        self.token = said["token"]
        return said["endpoint"]

    def tree(self, repo):
        """Every file of a model as the hub lists it."""
        files, cursor = [], ""
        while cursor is not None:
            headers, body = self.get(f"/api/models/{repo}/tree/main?recursive=true&expand=false{cursor}")
            files += [entry for entry in json.loads(body) if entry["type"] == "file"]
            link = headers.get("Link")
            cursor = f"&cursor={link.split('cursor=')[1].split('>')[0]}" if link else None
        return files


class Cas(Server):
    """Hugging Face's chunk store for tests, behind the hub's API in `front.py`. `known` are digests and Xet hashes of
    what will be uploaded, which that store does not tell."""

    name = "local_cas_server"

    def __init__(self, folder, binary, known):
        super().__init__(folder)
        self.binary, self.known = binary, known

    def start(self):
        port = free_port()
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        store = self.run([self.binary, "--data-directory", self.folder / "data", "--port", port], **quiet)
        wait_for(port, store, self.name)
        known = self.folder / "known.json"
        known.write_text(json.dumps(self.known))
        front_port = free_port()
        front = self.run([sys.executable, HERE / "front.py", front_port, f"http://127.0.0.1:{port}", known])
        wait_for(front_port, front, "front.py")
        return f"http://127.0.0.1:{front_port}"


class Nginx(Server):
    """Serves files as they are, with recorded answers of a hub around them, so that `hf download` takes it for one.
    `repos` maps names to the folder of the files and the hub's listing of them."""

    name = "nginx"

    def __init__(self, folder, binary, repos):
        super().__init__(folder)
        self.binary, self.repos = binary, repos

    def start(self):
        port = free_port()
        (self.folder / "etags").write_text("".join(self.etags()))
        blocks = "".join(self.repo(name, *about) for name, about in self.repos.items())
        folder = self.folder
        (folder / "nginx.conf").write_text(f"""
            daemon off; master_process on; worker_processes auto; pid {folder}/pid; error_log {folder}/error.log;
            {"user root;" if os.getuid() == 0 else ""}
            events {{ worker_connections 1024; }}
            http {{
                access_log off; sendfile on; tcp_nopush on; etag off; default_type application/octet-stream;
                keepalive_requests 100000; map_hash_max_size 65536; map_hash_bucket_size 256;
                client_body_temp_path {folder}/1; proxy_temp_path {folder}/2; fastcgi_temp_path {folder}/3;
                uwsgi_temp_path {folder}/4; scgi_temp_path {folder}/5;
                map $file $digest {{ include {folder}/etags; }}
                server {{ listen 127.0.0.1:{port}; {blocks} }}
            }}""")
        command = [self.binary, "-p", folder, "-e", folder / "error.log", "-c", folder / "nginx.conf"]
        wait_for(port, self.run(command), self.name)
        return f"http://127.0.0.1:{port}"

    def etags(self):
        for _, listing in self.repos.values():
            for entry in listing:
                digest = entry["lfs"]["oid"] if "lfs" in entry else entry["oid"]
                yield f'"{entry["path"]}" {digest};\n'

    def repo(self, name, files, listing):
        """The listing says nothing of Xet, which nginx does not speak."""
        answers = self.folder / name
        answers.mkdir(parents=True)
        plain = [{key: value for key, value in entry.items() if key != "xetHash"} for entry in listing]
        (answers / "tree.json").write_text(json.dumps(plain))
        siblings = [{"rfilename": entry["path"]} for entry in listing]
        (answers / "info.json").write_text(json.dumps({"id": name, "sha": COMMIT, "siblings": siblings}))
        return f"""
            location ~ ^/api/models/{name}/revision/ {{ default_type application/json; alias {answers}/info.json; }}
            location ~ ^/api/models/{name}/tree/ {{ default_type application/json; alias {answers}/tree.json; }}
            location ~ ^/{name}/resolve/[^/]+/(?<file>.+)$ {{
                alias {files}/$file;
                add_header ETag '"$digest"'; add_header X-Repo-Commit {COMMIT};
            }}"""
