#!/usr/bin/env python3
"""A small fake of Google Cloud Storage's XML API: what drover's client uses of it, in memory.

Put (with `x-goog-if-generation-match: 0` for create-only), put in parts, metadata, get with a range,
head, delete, and listing by pages (`list-type=2`). Any bucket exists, any credentials do. Of the JSON
API it has what a bucket is set to: `GET` and `PATCH /storage/v1/b/BUCKET`, `GET` and `PUT .../iam`.
Usage: gcs.py PORT
"""

import hashlib, json, re, sys, threading, time, urllib.parse
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from xml.sax.saxutils import escape

# More objects than that in a test's directory make it fetch a second page.
PAGE = 10

objects = {}  # (bucket, key) -> (bytes, generation, time, metadata)
uploads = {}  # id -> (metadata, {number: bytes})
settings = {}  # path of the JSON API -> what was set
generations = 0
lock = threading.Lock()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def where(self):
        url = urllib.parse.urlsplit(self.path)
        bucket, _, key = url.path.lstrip("/").partition("/")
        query = dict(urllib.parse.parse_qsl(url.query, keep_blank_values=True))
        return urllib.parse.unquote(bucket), urllib.parse.unquote(key), query

    def answer(self, status, body=b"", headers=None):
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def refuse(self, status, code):
        body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>{code}</Message></Error>"
        self.answer(status, body.encode(), {"Content-Type": "application/xml"})

    def setting(self):
        """What a bucket is set to, and its policy, each under its own path."""
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        path = urllib.parse.urlsplit(self.path).path
        if body:
            with lock:
                settings[path] = settings.get(path, {}) | json.loads(body)
        name = path.split("/")[4]
        # As a new bucket is: soft deletion for a week, no versions.
        new = {"kind": "storage#bucket", "name": name, "iamConfiguration": {}}
        new |= {"softDeletePolicy": {"retentionDurationSeconds": "604800"}}
        found = ({} if path.endswith("/iam") else new) | settings.get(path, {})
        self.answer(200, json.dumps(found).encode(), {"Content-Type": "application/json"})

    do_PATCH = setting

    @staticmethod
    def describe(stored):
        body, generation, modified, metadata = stored
        return metadata | {
            "ETag": '"%s"' % hashlib.md5(body).hexdigest(),
            "Last-Modified": formatdate(modified, usegmt=True),
            "x-goog-generation": str(generation),
        }

    def metadata(self):
        return {k: v for k, v in self.headers.items() if k.lower().startswith("x-goog-meta-")}

    def do_POST(self):
        global generations
        bucket, key, query = self.where()
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        with lock:
            generations += 1
            if "uploads" in query:
                upload = f"upload{generations}"
                uploads[upload] = (self.metadata(), {})
                name, field = "InitiateMultipartUploadResult", f"<UploadId>{upload}</UploadId>"
                headers = {}
            else:
                found = uploads.pop(query["uploadId"], None)
                if found is None:
                    return self.refuse(404, "NoSuchUpload")
                body = b"".join(part for _, part in sorted(found[1].items()))
                objects[bucket, key] = (body, generations, time.time(), found[0])
                headers = self.describe(objects[bucket, key])
                name = "CompleteMultipartUploadResult"
                field = f"<ETag>{escape(headers['ETag'])}</ETag>"
        headers["Content-Type"] = "application/xml"
        self.answer(200, f"<?xml version='1.0'?><{name}>{field}</{name}>".encode(), headers)

    def do_PUT(self):
        global generations
        if self.path.startswith("/storage/v1/b/"):
            return self.setting()
        bucket, key, query = self.where()
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if "uploadId" in query:
            with lock:
                found = uploads.get(query["uploadId"])
                if found is None:
                    return self.refuse(404, "NoSuchUpload")
                found[1][int(query["partNumber"])] = body
            return self.answer(200, b"", {"ETag": '"%s"' % hashlib.md5(body).hexdigest()})
        condition = self.headers.get("x-goog-if-generation-match")
        with lock:
            found = objects.get((bucket, key))
            if condition is not None and int(condition) != (found[1] if found else 0):
                return self.refuse(412, "PreconditionFailed")
            generations += 1
            stored = objects[bucket, key] = (body, generations, time.time(), self.metadata())
        self.answer(200, b"", self.describe(stored))

    def do_GET(self):
        if self.path.startswith("/storage/v1/b/"):
            return self.setting()
        bucket, key, query = self.where()
        if not key:
            return self.list(bucket, query)
        with lock:
            stored = objects.get((bucket, key))
        if stored is None:
            return self.refuse(404, "NoSuchKey")
        body, headers = stored[0], self.describe(stored)
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if not asked:
            return self.answer(200, body, headers)
        start = int(asked[1])
        end = min(int(asked[2]) + 1 if asked[2] else len(body), len(body))
        if start >= end:
            return self.refuse(416, "InvalidRange")
        headers["Content-Range"] = f"bytes {start}-{end - 1}/{len(body)}"
        self.answer(206, body[start:end], headers)

    do_HEAD = do_GET

    def do_DELETE(self):
        bucket, key, query = self.where()
        if "uploadId" in query:
            uploads.pop(query["uploadId"], None)
            return self.answer(204)
        with lock:
            found = objects.pop((bucket, key), None)
        if found is None:
            return self.refuse(404, "NoSuchKey")
        self.answer(204)

    def list(self, bucket, query):
        prefix, after = query.get("prefix", ""), query.get("continuation-token", "")
        with lock:
            keys = sorted(k for b, k in objects if b == bucket and k.startswith(prefix) and k > after)
            page = [(key, objects[bucket, key]) for key in keys[:PAGE]]
        parts = ["<?xml version='1.0'?><ListBucketResult>"]
        for key, stored in page:
            modified = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(stored[2]))
            parts.append(
                f"<Contents><Key>{escape(key)}</Key><Size>{len(stored[0])}</Size>"
                f"<LastModified>{modified}</LastModified>"
                f"<ETag>{escape(self.describe(stored)['ETag'])}</ETag></Contents>"
            )
        if len(keys) > PAGE:
            parts.append(f"<NextContinuationToken>{escape(page[-1][0])}</NextContinuationToken>")
        parts.append("</ListBucketResult>")
        self.answer(200, "".join(parts).encode(), {"Content-Type": "application/xml"})


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler)
    server.daemon_threads = True
    server.serve_forever()
