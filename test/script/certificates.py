"""Certificates for the tests, made by the openssl command in a test's directory: an authority and
what it (or a stranger) has signed."""

import subprocess
from datetime import datetime, timedelta, timezone
from pathlib import Path


def openssl(*arguments, data=b""):
    done = subprocess.run(["openssl", *map(str, arguments)], input=data, capture_output=True,
                          check=False)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


class Authority:
    """A certificate authority with a directory; `path` is its certificate."""

    def __init__(self, directory, name="authority"):
        self.directory = Path(directory) / name
        self.directory.mkdir(parents=True)
        self.path = self.directory / "ca.pem"
        self.key = self.directory / "ca.key"
        openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                "-keyout", self.key, "-out", self.path, "-days", "30", "-subj", f"/CN={name}",
                "-addext", "basicConstraints=critical,CA:TRUE",
                "-addext", "keyUsage=critical,keyCertSign,cRLSign")
        for name, text in (("index.txt", ""), ("serial", "1000\n")):
            (self.directory / name).write_text(text)
        (self.directory / "ca.conf").write_text(
            f"[ca]\ndefault_ca = own\n[own]\ndir = {self.directory}\n"
            "database = $dir/index.txt\nserial = $dir/serial\nnew_certs_dir = $dir\n"
            "default_md = sha256\npolicy = any\nunique_subject = no\ncopy_extensions = copy\n"
            "[any]\ncommonName = supplied\n")

    def issue(self, name, names="DNS:localhost,IP:127.0.0.1", expired=False, kind="ec"):
        """(certificate path, key path); `names` is a subjectAltName."""
        certificate, key = self.directory / f"{name}.pem", self.directory / f"{name}.key"
        request = self.directory / f"{name}.csr"
        new = (["-newkey", "rsa:2048"] if kind == "rsa" else
               ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"])
        openssl("req", "-new", *new, "-nodes", "-keyout", key, "-out", request,
                "-subj", f"/CN={name}", "-addext", f"subjectAltName={names}")
        now = datetime.now(timezone.utc)
        begin, end = (now - timedelta(days=3),
                      now - timedelta(days=1) if expired else now + timedelta(days=7))
        openssl("ca", "-batch", "-notext", "-config", self.directory / "ca.conf", "-cert", self.path,
                "-keyfile", self.key, "-in", request, "-out", certificate,
                "-startdate", begin.strftime("%Y%m%d%H%M%SZ"), "-enddate", end.strftime("%Y%m%d%H%M%SZ"))
        return certificate, key
