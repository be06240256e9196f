"""A server of the tool, on loopback and a free port, for the scripts that send it requests."""

import os
import re
import subprocess
import threading
import urllib.request


class Server:
    """Runs `attention serve` as long as a `with` block."""

    def __init__(self, tool, model, *arguments, key=None):
        self.command = [tool, "serve", model, "--port", "0", *arguments]
        self.environment = dict(os.environ, **({"ATTENTION_API_KEY": key} if key else {}))
        self.key = key

    def __enter__(self):
        self.process = subprocess.Popen(
            self.command, env=self.environment, stderr=subprocess.PIPE, text=True)
        self.lines = []
        for line in self.process.stderr:
            self.lines.append(line)
            if match := re.search(r"http://127\.0\.0\.1:(\d+)", line):
                self.port = int(match[1])
                self.url = f"http://127.0.0.1:{self.port}"
                break
        else:
            raise SystemExit("the server does not start: " + "".join(self.lines))
        # Read on, so that the server can write.
        threading.Thread(target=lambda: self.lines.extend(self.process.stderr), daemon=True).start()
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait(90)

    def terminate(self):
        self.process.terminate()

    def wait(self):
        return self.process.wait(90)

    @property
    def memory(self):
        """The resident memory, in MB."""
        with open(f"/proc/{self.process.pid}/status") as file:
            return int(re.search(r"VmRSS:\s+(\d+)", file.read())[1]) / 1000

    def metrics(self):
        """The numbers of `/metrics` by name, those with labels summed."""
        headers = {"Authorization": f"Bearer {self.key}"} if self.key else {}
        request = urllib.request.Request(self.url + "/metrics", headers=headers)
        values = {}
        for line in urllib.request.urlopen(request, timeout=10).read().decode().splitlines():
            if match := re.fullmatch(r"attention_(\w+)(?:\{[^}]*\})? (\S+)", line):
                values[match[1]] = values.get(match[1], 0) + float(match[2])
        return values
