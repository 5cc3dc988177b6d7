"""A real Prometheus over one gateway, with the rules and the scrape configuration that Tollgate ships."""

import json
import re
import shutil
import subprocess
import threading
import urllib.parse
import urllib.request
from pathlib import Path

DASHBOARDS = Path(__file__).resolve().parents[2] / "dashboards"
SCRAPE_S = 2


class Prometheus:
    """The process; `with` starts it on a port of its own and ends it."""

    def __init__(self, folder, gateway_url):
        self.folder = Path(folder)
        self.folder.mkdir(parents=True)
        shutil.copy(DASHBOARDS / "rules.yml", self.folder)
        shipped = (DASHBOARDS / "prometheus.yml").read_text()
        # The shipped file, for this gateway and with short intervals: a minute of traffic must fill the panels.
        ours = re.sub(r"(\w+_interval): \w+", rf"\1: {SCRAPE_S}s", shipped.replace("127.0.0.1:8080", gateway_url[7:]))
        assert gateway_url[7:] in ours and f"scrape_interval: {SCRAPE_S}s" in ours, "prometheus.yml has another shape now"
        (self.folder / "prometheus.yml").write_text(ours)

    def __enter__(self):
        command = ["prometheus", "--config.file=prometheus.yml", "--storage.tsdb.path=data", "--log.format=json",
                   "--web.listen-address=127.0.0.1:0"]
        self.process = subprocess.Popen(command, cwd=self.folder, text=True, stderr=subprocess.PIPE)
        said = []
        for line in self.process.stderr:
            said.append(line)
            address = re.search(r'"address":"(127\.0\.0\.1:[1-9]\d*)"', line)
            if address:
                self.url = f"http://{address[1]}"
                break
        else:
            raise RuntimeError("Prometheus did not start:\n" + "".join(said[-10:]))
        # Its log must go on being read, or its pipe fills and it stands still.
        threading.Thread(target=self.process.stderr.read, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(30)

    def get(self, path, **parameters):
        """One call of its HTTP API; the error it names is the exception's text."""
        url = f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(parameters, doseq=True)}"
        try:
            with urllib.request.urlopen(url, timeout=30) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            raise RuntimeError(json.load(error).get("error", error)) from None

    def instant(self, query, at):
        """The series of an instant query, each with one sample."""
        return [{"metric": series["metric"], "values": [series["value"]]}
                for series in self.get("query", query=query, time=at)["result"]]

    def span(self, query, start, end):
        """The series of a range query."""
        return self.get("query_range", query=query, start=start, end=end, step=SCRAPE_S)["result"]
