#!/usr/bin/env python3
"""Verifies a sealed evidence bundle, holdfast-bundle/1, with Python's standard library and ssh-keygen alone.

Written for those who have none of our software: FORMAT.md says what is checked and why. The exit codes and the codes of
findings are those of `holdfast verify`: 0 sealed and trusted, 1 tampered with, 3 partial and trusted, 4 consistent but
the signer is unknown, 64 usage, 65 no bundle or nothing verifiable, 74 input failed.

Of a bundle that is encrypted with age it checks the transport checkpoints over the file as it is, which needs no key.
What is inside is checked once it is decrypted: age -d -i KEY x.evidence.zip.age > x.evidence.zip

usage: verify.py BUNDLE [PART …] [--signers ALLOWED_SIGNERS] [--stream FILE.stream.jsonl] [--json]
"""
import argparse, base64, hashlib, json, mmap, os, re, struct, subprocess, sys, tempfile, unicodedata, uuid, zlib
from datetime import datetime, timedelta, timezone

NAMESPACE, FORMAT, DOS_EPOCH = "holdfast-bundle", "holdfast-bundle/1", 0x00210000
NAME_MAX, PART_MAX, LINE_MAX, KNOWN_MAX = 2048, 255, 64 << 10, 1 << 20
SMALL_MAX, HEADER_MAX, SET_MAX, SIDECAR_MAX = 64 << 10, 1 << 20, 1 << 30, 64 << 20
UNWRITTEN_MAX = 64 << 20
PHASES = ["start", "volatile", "memory", "system", "logs", "files", "final"]
STATUSES = "ok grew shrank changed truncated vanished denied error meta_only skipped redacted timed_out".split()
OPENING = ["bagit.txt", "uac.log", "bundle.json", "[root]/", "[root]/etc/", "[root]/run/", "[root]/var/"]
PARTS = ["", "manifest-sha256.txt", "checkpoint.json", "checkpoint.json.sig", "index.zipdir", "pad"]
BODY, BAG_INFO, PAYLOAD, FINAL, TAGS, SEALED = range(6)


class NoBundle(Exception):
    """There is nothing to verify."""


class Cut(Exception):
    """The data ends before the thing that was to be read."""


class Broken(Exception):
    """What follows cannot be read."""


def sha(data):
    return hashlib.sha256(data).hexdigest()


def parse(text):
    """JSON; what is nested deeper than Python goes is as wrong as what is no JSON."""
    try:
        return json.loads(text)
    except RecursionError as deep:
        raise ValueError("it is nested too deeply") from deep


def canonical(data, lf=True):
    """The JSON object in `data`, when it is written in the only allowed way; None otherwise."""
    try:
        value = json.loads(data.decode(), parse_constant=lambda name: 1 / 0)
        again = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
        return value if isinstance(value, dict) and again + (b"\n" if lf else b"") == data else None
    except (ValueError, ArithmeticError, RecursionError):
        return None


# ---- signatures ------------------------------------------------------------------------------------------------------

def keygen(args, data, files, utc=False):
    """Runs ssh-keygen -Y with each of `files` (option, content) in a file of its own."""
    with tempfile.TemporaryDirectory() as folder:
        command = ["ssh-keygen", "-Y"] + args
        for number, (option, content) in enumerate(files):
            path = os.path.join(folder, str(number))
            with open(path, "wb") as file:
                file.write(content)
            command += [option, path]
        env = dict(os.environ, TZ="UTC")
        return subprocess.run(command, input=data, capture_output=True, env=env, timeout=60).returncode == 0


def armoured(signature):
    """True when the armour is written as ssh-keygen writes it: other line breaks would be bytes that nobody signed."""
    begin, end = b"-----BEGIN SSH SIGNATURE-----\n", b"-----END SSH SIGNATURE-----\n"
    if not (signature.startswith(begin) and signature.endswith(end)):
        return False
    try:
        text = base64.b64encode(base64.b64decode(signature[len(begin):-len(end)].replace(b"\n", b""), validate=True))
    except ValueError:
        return False
    return signature == begin + b"".join(text[at:at + 70] + b"\n" for at in range(0, len(text), 70)) + end


def signed_by(header, data, signature):
    """None when the bundle's signer signed `data`; otherwise the code of the finding."""
    own = ("signer " + header["signer"] + "\n").encode() if header else b""
    if not armoured(signature):
        return "signature_bad"
    if header and keygen(["verify", "-n", NAMESPACE, "-I", "signer"], data, [("-f", own), ("-s", signature)]):
        return None
    itself = keygen(["check-novalidate", "-n", NAMESPACE], data, [("-s", signature)])
    return "signer_changed" if itself else "signature_bad"


# ---- the ZIP profile: headers written again from their values ---------------------------------------------------------

def stamp_fields(stamp):
    if stamp is None:
        return b""
    dos, mtime, uid, gid = stamp
    time = b"" if mtime is None else struct.pack("<HHBi", 0x5455, 5, 1, mtime)
    return time + struct.pack("<HHBBIBI", 0x7875, 11, 1, 4, uid, 4, gid)


def local_header(e):
    streamed = e["streamed"]
    extra = (struct.pack("<HH", 1, 16) + bytes(16) if streamed else b"") + stamp_fields(e["stamp"])
    crc, packed, size = (0, 0xffffffff, 0xffffffff) if streamed else (e["head_crc"], e["head_packed"], e["head_size"])
    name = e["name"].encode()
    return struct.pack("<4sHHHIIIIHH", b"PK\3\4", 45 if streamed else 20, 0x800 | (8 if streamed else 0), e["method"],
                       e["stamp"][0] if e["stamp"] else DOS_EPOCH, crc, packed, size, len(name), len(extra)) + name + extra


def central_header(e):
    wide = b"".join(struct.pack("<Q", v) for v in (e["size"], e["packed"], e["offset"]) if v >= 0xffffffff)
    extra = (struct.pack("<HH", 1, len(wide)) + wide if wide else b"") + stamp_fields(e["stamp"])
    name = e["name"].encode()
    return struct.pack("<4sHHHHIIIIHHHHHII", b"PK\1\2", 3 << 8 | 45, 45 if wide or e["streamed"] else 20,
                       0x800 | (8 if e["streamed"] else 0), e["method"], e["stamp"][0] if e["stamp"] else DOS_EPOCH,
                       e["crc"], min(e["packed"], 0xffffffff), min(e["size"], 0xffffffff), len(name), len(extra), 0, 0, 0,
                       e["mode"] << 16, min(e["offset"], 0xffffffff)) + name + extra


def end_records(count, size, offset):
    out = b""
    if count >= 0xffff or size >= 0xffffffff or offset >= 0xffffffff:
        out = struct.pack("<4sQHHIIQQQQ", b"PK\6\6", 44, 3 << 8 | 45, 45, 0, 0, count, count, size, offset)
        out += struct.pack("<4sIQI", b"PK\6\7", 0, offset + size, 1)
    return out + struct.pack("<4sHHHHIIH", b"PK\5\6", 0, 0, min(count, 0xffff), min(count, 0xffff),
                             min(size, 0xffffffff), min(offset, 0xffffffff), 0)


def dos_time(mtime):
    t = datetime(1970, 1, 1, tzinfo=timezone.utc) + timedelta(seconds=mtime)
    if not 1980 <= t.year <= 2107:
        return DOS_EPOCH
    return (t.year - 1980) << 25 | t.month << 21 | t.day << 16 | t.hour << 11 | t.minute << 5 | t.second // 2


def parse_extra(data):
    mtime = owner = None
    while len(data) >= 4:
        kind, size = struct.unpack_from("<HH", data)
        field, data = data[4:4 + size], data[4 + size:]
        if kind == 0x5455 and len(field) == 5 and field[0] == 1:
            mtime = struct.unpack("<i", field[1:])[0]
        if kind == 0x7875 and len(field) == 11 and field[0] == 1 and field[1] == 4 and field[6] == 4:
            owner = struct.unpack_from("<I", field, 2) + struct.unpack_from("<I", field, 7)
    return mtime, owner


# ---- names ------------------------------------------------------------------------------------------------------------

def unbearable(name):
    parts = (name[:-1] if name.endswith("/") else name).split("/")
    if len(name.encode()) > NAME_MAX or any(p in ("", ".", "..") or len(p.encode()) > PART_MAX for p in parts):
        return "it is too long, or leads out of the extraction folder"
    if name != name.rstrip() or re.search("[\u2028\u2029]|%(0[AaDd]|25)", name) or any(unicodedata.category(c) == "Cc" for c in name):
        return "it holds characters that the format escapes"
    return None


def place_of(name):
    """What an entry is, by its name: a tuple, or None when it may not stand anywhere."""
    if unbearable(name):
        return None
    if name in OPENING:
        return ("opening", OPENING.index(name))
    fixed = {"bag-info.txt": "bag_info", "manifest-sha256.txt": "payload", "tagmanifest-sha256.txt": "tags",
             "tagmanifest-sha256.txt.sig": "tag_sig", "data/": "folder", "memory/": "folder", "checkpoints/": "folder"}
    if name in fixed:
        return (fixed[name], 0)
    if name.startswith("checkpoints/"):
        m = re.fullmatch(r"checkpoints/([0-9]{6})/(.*)", name)
        return ("checkpoint", int(m[1]), PARTS.index(m[2])) if m and int(m[1]) and m[2] in PARTS else None
    if not name.startswith(("data/", "memory/", "[root]/")):
        return None
    if name.endswith("/"):
        return ("folder", 0)
    m = re.fullmatch(r"data/(items|custody)/([0-9]{6})\.jsonl", name)
    if m and int(m[2]):
        return (m[1], int(m[2]))
    return None if name.startswith(("data/items/", "data/custody/")) else ("evidence", 0)


def always_stored(place):
    return place and (place[0] in ("folder", "tags", "tag_sig") or place[0] == "checkpoint" and place[2] != 1)


# ---- the verification --------------------------------------------------------------------------------------------------

class Verifier:
    def __init__(self, data):
        self.data, self.at, self.hash, self.hashed = data, 0, hashlib.sha256(), 0
        self.findings, self.entries, self.names = [], [], {}
        self.header, self.bad_header, self.stage, self.cut_in = None, None, BODY, None
        self.tree, self.last_id, self.in_set, self.status = [], 0, 0, {}
        self.items, self.custody, self.events, self.last_event = 0, "0" * 64, 0, ""
        self.seq, self.prev, self.phase, self.since, self.block, self.gap = 0, None, 0, 0, None, False
        self.checkpoints, self.verified_to, self.boundary, self.stream_differs = [], 0, None, False
        self.tag_manifest, self.vouched, self.is_final, self.last_word = b"", 0, False, None
        self.clean_to, self.next_part, self.links = 0, None, []

    def found(self, code, subject, message, offset=None):
        if not any(f["code"] == code and f["subject"] == subject for f in self.findings):
            offset = self.at if offset is None else offset
            self.findings.append({"code": code, "subject": subject, "offset": offset, "message": message})

    def digest(self, end):
        """Digest of the bytes [0, end); `end` never goes back."""
        while self.hashed < end:
            piece = self.data[self.hashed:min(end, self.hashed + (1 << 20))]
            self.hash.update(piece)
            self.hashed += len(piece)
        return self.hash.copy().hexdigest()

    def walk(self):
        """Entry after entry, then the central directory. True when it ends with the end record and nothing after it."""
        if not self.data:
            raise NoBundle("it is empty")
        if self.data[:29] == b"-----BEGIN AGE ENCRYPTED FILE":
            raise NoBundle("it is encrypted with age: decrypt it first")
        if not b"PK\3\4".startswith(self.data[:4]):
            raise NoBundle("it does not begin as a ZIP file does")
        try:
            while True:
                if not self.findings:
                    self.clean_to = self.at
                magic = self.data[self.at:self.at + 4]
                if magic == b"PK\3\4":
                    self.entry()
                    if not self.header and not self.bad_header and len(self.entries) >= 16:
                        raise NoBundle("it is a ZIP file without a bundle.json at its beginning")
                elif magic == b"PK\1\2":
                    return self.directory()
                elif b"PK\3\4".startswith(magic) or b"PK\1\2".startswith(magic):
                    raise Cut(None)
                else:
                    self.found("damaged", "the file", "no entry begins here")
                    return False
        except Cut as cut:
            self.cut_in = cut.args[0]
        except Broken:
            pass
        return False

    def entry(self):
        start = self.at
        fixed = self.data[start:start + 30]
        if len(fixed) < 30:
            raise Cut(None)
        (_, _, flags, method, dos, crc, packed, size, name_len, extra_len) = struct.unpack("<4sHHHIIIIHH", fixed)
        raw = self.data[start + 30:start + 30 + name_len]
        head_len = 30 + name_len + extra_len
        if len(self.data) < start + head_len:
            text = raw.decode(errors="replace")
            if name_len > NAME_MAX or extra_len > 44 or any(unicodedata.category(c) == "Cc" for c in text):
                self.found("damaged", "the file", "no entry of the format begins here")
                raise Broken
            raise Cut(text)
        try:
            name = raw.decode()
        except UnicodeDecodeError:
            name = None
        if method not in (0, 8) or flags & 1 or name is None:
            self.found("non_canonical", raw.decode(errors="replace"), "it is encrypted, not deflated, or not named in UTF-8")
            if flags & 8 or packed == 0xffffffff:
                raise Broken
            self.at = min(len(self.data), start + head_len + packed)
            return
        mtime, owner = parse_extra(self.data[start + 30 + name_len:start + head_len])
        streamed = bool(flags & 8)
        e = {"name": name, "method": method, "streamed": streamed, "stamp": (dos, mtime) + owner if owner else None,
             "offset": start, "head_crc": crc, "head_packed": packed, "head_size": size, "item": 0}
        place = place_of(name)
        self.check_header(e, place, self.data[start:start + head_len])
        self.order(e, place)
        self.at = start + head_len
        e["data_offset"] = self.at
        keep = place and place[0] in ("opening", "items", "custody", "checkpoint", "payload", "tags", "tag_sig")
        content = self.content(e, keep)
        e["mode"] = 0o040755 if name.endswith("/") else 0o100644
        self.meaning(e, place, content)
        key = name[:-1] if name.endswith("/") else name
        self.names.setdefault(key, len(self.entries))
        self.entries.append(e)
        if place and place[0] == "checkpoint" and place[2] == 3:
            self.since = len(self.entries)
        if place and place[0] == "checkpoint" and place[2] >= 3 and not self.findings:
            self.verified_to = self.at
            self.items = dict(self.status)
            if place[2] == 4:
                self.boundary = self.at

    def find(self, name):
        at = self.names.get(name[:-1] if name.endswith("/") else name)
        return at if at is not None and self.entries[at]["name"] == name else None

    def check_header(self, e, place, raw):
        name, folder = e["name"], e["name"].endswith("/")
        if place is None:
            self.found("name_forbidden", name, unbearable(name) or "it may not stand there")
        if (name[:-1] if folder else name) in self.names:
            self.found("duplicate_name", name, "an earlier entry has this name")
        parent = re.match(r"(.*/)[^/]+/?$", name, re.S)
        if parent and self.find(parent[1]) is None:
            self.found("parent_missing", name, "its folder has no earlier entry of its own")
        sizes = (e["head_crc"], e["head_packed"], e["head_size"])
        stamp = e["stamp"]
        rules = [
            (local_header(e) == raw and not (e["streamed"] and e["method"] == 0), "its header is not as the format writes it"),
            (not folder or sizes == (0, 0, 0), "a folder holds nothing"),
            (not (folder or always_stored(place)) or (e["method"] == 0 and not e["streamed"]), "it must be stored"),
            (e["streamed"] or (sizes[1] == sizes[2] if e["method"] == 0 else sizes[1] < sizes[2]), "its sizes do not fit"),
            (e["streamed"] or sizes[2] <= KNOWN_MAX or always_stored(place), "it must be written with a descriptor"),
            (stamp is None or (name.startswith("[root]/") and not folder), "only files under [root] carry times and owners"),
            (stamp is None or stamp[1] is None or dos_time(stamp[1]) == stamp[0], "its two times differ"),
        ]
        for holds, message in rules:
            if not holds:
                self.found("non_canonical", name, message)
                break

    def order(self, e, place):
        number, name = len(self.entries), e["name"]
        if number < len(OPENING) and OPENING[number] != name:
            self.found("out_of_order", OPENING[number], f"the entry must be number {number + 1} in the file")
        kind = place[0] if place else None
        if kind == "checkpoint":
            self.begin_part(place[1], place[2])
        else:
            self.interrupt()
        steps = {(BODY, "bag_info"): BAG_INFO, (BAG_INFO, "payload"): PAYLOAD, (FINAL, "tags"): TAGS, (TAGS, "tag_sig"): SEALED}
        if (self.stage, kind) in steps:
            self.stage = steps[self.stage, kind]
        elif self.stage >= FINAL and not (self.stage == FINAL and kind == "checkpoint" and place[2] == 3):
            self.found("entry_added", name, "it comes after the final checkpoint")
        elif kind in ("bag_info", "payload", "tags", "tag_sig"):
            self.found("out_of_order", name, "it may only come at the end, in its order")
        elif BAG_INFO <= self.stage < FINAL and not (self.stage == PAYLOAD and kind in ("checkpoint", "folder")):
            self.found("out_of_order", name, "it comes after the bag's manifest was begun")

    def content(self, e, keep):
        """Reads, hashes and checks an entry's data, and its descriptor. Returns the content where it is kept."""
        crc, digest, size, kept, why = 0, hashlib.sha256(), 0, [], None
        begin, end = self.at, None if e["streamed"] else self.at + e["head_packed"]
        if e["method"] == 0 and e["streamed"]:
            self.found("damaged", e["name"], "a stored entry has no known size", e["offset"])
            raise Broken
        inflate, at = zlib.decompressobj(-15) if e["method"] == 8 else None, begin
        while True:
            limit = len(self.data) if end is None else min(end, len(self.data))
            piece = self.data[at:min(at + (64 << 10), limit)]
            if not piece and inflate is None:
                break
            try:
                out = inflate.decompress(piece, 1 << 20) if inflate else piece
            except zlib.error:
                why = "its compressed data cannot be read"
                break
            # At the end zlib may name the rest twice: as unused, and as a tail of the piece before.
            rest = b"" if not inflate else inflate.unused_data if inflate.eof else inflate.unconsumed_tail
            at += len(piece) - len(rest)
            crc, size = zlib.crc32(out, crc), size + len(out)
            digest.update(out)
            if keep and size <= SET_MAX:
                kept.append(out)
            if inflate and inflate.eof:
                break
            if inflate and end is not None and size > e["head_size"]:
                why = "it holds more than its size says"
                break
            if inflate and not out and at >= limit:
                if limit == end:
                    why = "its compressed data does not end"
                break
        if end is not None:
            if why is None and inflate and inflate.eof and at < end:
                why = "its compressed data ends before its size does"
            if len(self.data) < end and why is None:
                raise Cut(e["name"])
            self.at = min(end, len(self.data))
            packed = e["head_packed"]
            if why is None and (crc, size) != (e["head_crc"], e["head_size"]):
                why = f"its header says CRC-32 {e['head_crc']:08x}, its content has {crc:08x}"
            e.update(crc=e["head_crc"], size=e["head_size"])
        else:
            if why is None and not inflate.eof:
                raise Cut(e["name"])
            if why:
                at = self.find_descriptor(begin, e["name"])
            packed = at - begin
            want = struct.pack("<4sIQQ", b"PK\7\10", crc, packed, size)
            have = self.data[at:at + 24]
            if have != want:
                if want.startswith(have):
                    raise Cut(e["name"])
                why = why or "its descriptor does not fit its content"
            self.at = at + 24
            e.update(crc=crc, size=size)
        e.update(packed=packed, sha256=digest.hexdigest())
        if why:
            self.found("content_changed", e["name"], why, e["offset"])
        if keep and size > SET_MAX:
            self.found("limit", e["name"], "it is longer than this version takes", e["offset"])
        return b"".join(kept)

    def find_descriptor(self, begin, name):
        at = self.data.find(b"PK\7\10", begin)
        while at >= 0:
            if self.data[at + 8:at + 16] == struct.pack("<Q", at - begin):
                return at
            at = self.data.find(b"PK\7\10", at + 1)
        self.found("damaged", name, "its compressed data is damaged and its end cannot be found", begin)
        raise Broken

    def meaning(self, e, place, content):
        kind, name = (place[0], e["name"]) if place else (None, e["name"])
        small = kind == "opening" or kind == "tag_sig" or (kind == "checkpoint" and place[2] in (2, 3))
        if small and len(content) > (HEADER_MAX if name == "bundle.json" else SMALL_MAX):
            self.found("limit", name, "it is longer than this version takes", e["offset"])
        elif name == "bagit.txt" and content != b"BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n":
            self.found("content_changed", name, "it is not the bag declaration", e["offset"])
        elif name == "uac.log" and (content.count(b"\n") != 1 or not content.endswith(b"\n")):
            self.found("content_changed", name, "it is not one line", e["offset"])
        elif name == "bundle.json":
            self.read_header(content)
        elif kind in ("items", "custody"):
            if place[1] > self.seq + 1:
                self.found("checkpoint_missing", f"checkpoint {self.seq + 1}", "the set of a later one comes before it")
            elif place[1] <= self.seq:
                self.found("out_of_order", name, f"it comes after checkpoint {self.seq}")
            code = "item_mismatch" if kind == "items" else "custody_chain"
            if content and not content.endswith(b"\n"):
                self.found(code, name, "its last line does not end")
                if len(content) - content.rfind(b"\n") - 1 > LINE_MAX:
                    self.found("limit", name, "its last line is longer than this version takes")
            for number, line in enumerate(content.split(b"\n")[:-1], 1):
                (self.item if kind == "items" else self.event)(line, name, number)
        elif kind == "payload":
            self.manifest(name, content, 0, True, lambda x: x["name"].startswith("data/"))
        elif kind == "tags":
            self.tag_manifest = content
            self.manifest(name, content, 0, True, lambda x: x["mode"] != 0o120777 and not x["name"].startswith("data/"))
        elif kind == "tag_sig":
            code = signed_by(self.header, self.tag_manifest, content)
            if code:
                self.found(code, "the seal", "the tag manifest is not signed by the bundle's signer")
            if code:
                self.found("seal_bad", "the seal", "tagmanifest-sha256.txt is not signed by the bundle's signer")
        elif kind == "checkpoint":
            self.checkpoint_part(e, place, content)

    def read_header(self, content):
        try:
            header = parse(content)
            if header["format"] != FORMAT or (header["v"], header["type"]) != (1, "evidence-bundle"):
                raise ValueError(f"the format is not {FORMAT}")
            uuid.UUID(header["bundle"])
            if not re.fullmatch("agent:[a-z0-9-]{1,64}", header["signer_principal"]):
                raise ValueError("the principal is not agent:<id>")
            if not re.fullmatch("ssh-ed25519 [A-Za-z0-9+/=]+", header["signer"]) or not header["started"]:
                raise ValueError("the signer is no plain OpenSSH public key")
            if (header.get("part", 1) > 1) != (header.get("continues") is not None):
                raise ValueError("part and continues do not fit")
            beside = header.get("belongs_to")
            if beside is not None and uuid.UUID(beside) == uuid.UUID(header["bundle"]):
                raise ValueError("it belongs to itself")
            encryption = header.get("encryption")
            if encryption is not None and (not isinstance(encryption["scheme"], str)
                                           or not all(isinstance(line, str) for line in encryption["recipients"])):
                raise ValueError("encryption is of another form")
            header["host"] = dict(header["host"])
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            self.bad_header = str(error)
            return
        self.header = self.header or header
        if canonical(content) is None:
            self.found("non_canonical", "bundle.json", "it is not one line of JSON with sorted keys and no spaces")

    def item(self, line, name, number):
        if len(line) > LINE_MAX:
            self.found("limit", f"{name}, line {number}", "it is longer than this version takes")
            line = b""
        self.tree.append(line)
        self.in_set += 1
        subject, item = f"{name}, line {number}", canonical(line, lf=False)
        if item is None or not isinstance(item.get("id"), int) or item.get("status") not in STATUSES:
            self.found("item_mismatch", subject, "it is no item record in one canonical line")
            return
        self.status[item["status"]] = self.status.get(item["status"], 0) + 1
        if item["id"] != self.last_id + 1:
            self.found("item_gap", subject, f"item {item['id']} comes after item {self.last_id}")
        self.last_id = item["id"]
        wrong = self.describe(item)
        if wrong:
            self.found("item_mismatch", subject, f"item {item['id']}: {wrong}")

    def describe(self, item):
        first, stored = item.get("hardlink_of"), item.get("stored")
        if isinstance(first, dict):
            part, there = int(first["part"]), int(first["item"])
            if not 0 < part < (self.header or {}).get("part", 1) or there < 1:
                return "its content stands in no earlier part"
            self.links.append((item["id"], part, there))
        elif first is not None and not 0 < first < item["id"]:
            return "its content stands in no earlier item"
        if stored is None:
            return None
        at = self.find(stored)
        if at is None or stored.endswith("/"):
            return f"its content is in {stored!r}, which is not there before it"
        e = self.entries[at]
        if (item.get("sha256"), item.get("size")) != (e["sha256"], e["size"]):
            return f"{stored!r} has {e['size']} bytes with SHA-256 {e['sha256']}, which it does not say"
        if first is not None:
            return None
        if e["item"]:
            return f"item {e['item']} describes {stored!r} already"
        e["item"] = item["id"]
        if stored.startswith("[root]/"):
            meta = item.get("meta") or {}
            mode = int(meta.get("mode", "0100644"), 8) if re.fullmatch("[0-7]+", meta.get("mode", "0100644")) else 0o100644
            mode = 0o100644 if mode >> 16 else mode
            if meta.get("type") == "symlink":
                e["mode"] = 0o120777
                return None if e["method"] == 0 else "it is a symbolic link, and its entry is not stored"
            if mode & 0o170000 != 0o100000:
                return "it has content, and its mode is that of neither a file nor a link"
            e["mode"] = mode
        return None

    def event(self, line, name, number):
        self.events += 1
        subject, event = f"{name}, event {self.events}", canonical(line, lf=False) if len(line) <= LINE_MAX else None
        if event is None or not {"event", "prev_sha256", "seq"} <= set(event):
            self.found("custody_chain", subject, "it is no custody event in one canonical line")
        else:
            if event["prev_sha256"] != self.custody or event["seq"] != self.events:
                self.found("custody_chain", subject, "it does not follow from the line before it")
            self.last_event = event["event"]
            if event["event"] == "part_ended" and isinstance(event.get("next"), str):
                self.next_part = event["next"]
        self.custody = sha(line + b"\n")

    def manifest(self, name, content, first, first_is_known, wanted):
        """Holds a manifest against the entries from `first` on: it lists each that is wanted, in order, and nothing else."""
        listed = [n for n in range(first, len(self.entries))
                  if not self.entries[n]["name"].endswith("/") and wanted(self.entries[n])]
        due, wrong = 0, bool(content) and not content.endswith(b"\n")
        added = []
        for line in content.split(b"\n")[:-1]:
            m = re.fullmatch(rb"([0-9a-f]{64})  (.*)", line, re.S)
            try:
                named = m[2].decode() if m else None
            except UnicodeDecodeError:
                named = None
            if named is None:
                wrong = True
                continue
            is_due = due < len(listed) and self.entries[listed[due]]["name"] == named
            at = listed[due] if is_due else self.find(named)
            if at is None:
                self.found("entry_missing", named, f"{name} lists it, and it is not there")
                continue
            e = self.entries[at]
            if e["sha256"] != m[1].decode():
                self.found("content_changed", named, f"{name} lists it with another SHA-256", e["offset"])
            if at not in listed[due:]:
                wrong = True
                continue
            position = listed.index(at, due)
            if first_is_known:
                added += listed[due:position]
            first_is_known, due = True, position + 1
        for at in added + (listed[due:] if first_is_known else []):
            self.found("entry_added", self.entries[at]["name"], f"{name} does not list it", self.entries[at]["offset"])
        if wrong:
            self.found("manifest_mismatch", name, "its lines are not those of its entries, in their order")
        return content.count(b"\n")

    # -- checkpoints

    def interrupt(self):
        if self.block and self.block["part"] < 3:
            self.found("checkpoint_missing", f"checkpoint {self.block['seq']}", "it has no signed checkpoint.json")
        self.block = None

    def begin_part(self, seq, part):
        if not self.block or self.block["seq"] != seq:
            self.interrupt()
            self.gap = seq != self.seq + 1
            if seq > self.seq + 1:
                self.found("checkpoint_missing", f"checkpoint {self.seq + 1}", "it is not there")
            elif seq <= self.seq:
                self.found("out_of_order", f"checkpoint {seq}", f"it comes after checkpoint {self.seq}")
            in_order = part == 0
            self.seq, self.block = max(self.seq, seq), {"seq": seq, "part": part, "manifest": None, "json": None}
        else:
            before = self.block["part"]
            in_order = part == before + 1 if before < 3 else before < part
        if not in_order:
            self.found("checkpoint_missing", f"checkpoint {seq}", "a part of it is missing or out of order")
        self.block["part"] = part

    def checkpoint_part(self, e, place, content):
        part, name, block = place[2], e["name"], self.block
        if part == 1:
            lines = self.manifest(name, content, self.since, not self.gap, lambda x: x["mode"] != 0o120777
                                  and not x["name"].startswith("checkpoints/"))
            block["manifest"] = (name, sha(content), lines)
        elif part == 2:
            self.checkpoint(e, content)
        elif part == 3 and block["json"] is not None:
            code = signed_by(self.header, block["json"], content)
            if code:
                self.found(code, f"checkpoint {block['seq']}", "its signature is not by the bundle's signer")
            elif not self.findings:
                self.checkpoints.append(json.loads(block["json"]))
        elif part == 4:
            if content != self.expected_directory(e["data_offset"]):
                self.found("non_canonical", name, "it is not the directory that the entries ask for", e["offset"])
        elif part == 5 and (content.strip(b"\0") or len(content) >= 65536):
            self.found("non_canonical", name, "it is not fewer than 65536 zeros", e["offset"])
        elif part == 5 and not ((self.header or {}).get("encryption") or {}).get("recipients"):
            self.found("non_canonical", name, "only an encrypted bundle has one", e["offset"])

    def checkpoint(self, e, content):
        block, start = self.block, e["offset"]
        subject = f"checkpoint {block['seq']}"
        for x in self.entries[self.since:]:
            if x["name"].startswith("[root]/") and not x["name"].endswith("/") and not x["item"]:
                self.found("item_mismatch", x["name"], "no item record describes it", x["offset"])
        block["json"] = content
        try:
            c = parse(content)
            phase, stream = PHASES.index(c["phase"]), (c["stream"]["offset"], c["stream"]["sha256"])
            manifest = (c["manifest"]["path"], c["manifest"]["sha256"], c["manifest"]["lines"])
            host = (self.header or {}).get("host", {}).get("name", "")
            rules = [
                ("checkpoint_chain", canonical(content) is not None, "it is not one canonical line of JSON"),
                ("checkpoint_chain", (c["v"], c["type"], c["merkle"]["alg"]) == (1, "evidence-checkpoint", "rfc6962-sha256"),
                 "its version, type or tree is another"),
                ("checkpoint_chain", c["seq"] == block["seq"], "its number is not that of its folder"),
                ("checkpoint_chain", c["prev_sha256"] == self.prev, "it does not follow from the checkpoint before it"),
                ("checkpoint_chain", not self.header or (c["bundle"], c["host"]) == (self.header["bundle"], host),
                 "it is of another bundle or host"),
                ("checkpoint_chain", phase >= self.phase and c["final"] == (c["phase"] == "final"), "its phase goes back"),
                ("custody_chain", c["custody_sha256"] == self.custody, "the custody log that it signs is another"),
                ("item_gap", c["items"] == self.in_set, f"it signs {c['items']} items, its set has {self.in_set}"),
                ("merkle_mismatch", (c["merkle"]["size"], c["merkle"]["root"]) == (len(self.tree), merkle(self.tree)),
                 "the item records that it signs are others"),
                ("manifest_mismatch", manifest == block["manifest"], "the manifest that it signs is another"),
                ("stream_mismatch", self.stream_differs or stream == (start, self.digest(start)),
                 "the container's bytes before it are not those that it was signed for"),
            ]
            for code, holds, message in rules:
                if not holds:
                    self.found(code, subject, message, start)
                    self.stream_differs |= code == "stream_mismatch"
            self.phase, final = max(phase, self.phase), c["final"]
        except (ValueError, KeyError, TypeError):
            self.found("checkpoint_chain", subject, "its checkpoint.json is no checkpoint", start)
            final = False
        self.prev, self.in_set = sha(content), 0
        if final:
            if self.stage != PAYLOAD:
                self.found("seal_bad", subject, "the bag's manifest is not there before it", start)
            if self.last_event != "sealing":
                self.found("seal_bad", "custody log", "it does not end with the event \"sealing\"", start)
            self.stage = max(self.stage, FINAL)
        elif self.stage == PAYLOAD:
            self.found("seal_bad", subject, "it is not final and comes after the bag's manifest", start)

    # -- the end

    def expected_directory(self, offset):
        body = b"".join(map(central_header, self.entries))
        return body + end_records(len(self.entries), len(body), offset)

    def directory(self):
        self.interrupt()
        if self.stage != SEALED:
            self.found("seal_bad", "the seal", "the ZIP ends without the final checkpoint and the signed tag manifest")
        want = self.expected_directory(self.at)
        have = self.data[self.at:self.at + len(want)]
        if have != want:
            if want.startswith(have):
                raise Cut("the central directory")
            self.found("non_canonical", "the central directory", "it is not the one that the entries ask for")
            raise Broken
        self.at += len(want)
        if self.at < len(self.data):
            self.found("trailing_bytes", "the file", "there are bytes after its end record")
        return True

    def transport(self, path, layer):
        """Holds the transport checkpoints against the signer and the bytes."""
        with open(path, "rb") as file:
            text, more = file.read(SIDECAR_MAX), file.read(1)
        if more:
            self.found("limit", "the transport checkpoints", "they are longer than this version takes", 0)
        lines, reached, final, data, inside = text.split(b"\n"), 0, False, self.data, 0
        if lines[-1] == b"" or is_cut(lines[-1]):
            lines.pop()
        if len(text) > 0 and text.endswith(b"\n") and b"\0" in lines[-1]:
            lines.pop()
        if layer == "age":
            self.header = named_by(lines[0]) if lines else None
        running, hashed, differs = hashlib.sha256(), 0, False
        for number, line in enumerate(lines, 1):
            subject = f"transport checkpoint {number}"
            try:
                shown = parse(line)
                signature, signed = shown["sig_ssh"].encode(), base64.b64decode(shown["signed_b64"], validate=True)
                c = canonical(signed, lf=False)
                again = dict(c, sig_ssh=shown["sig_ssh"], signed_b64=base64.b64encode(signed).decode())
                again = json.dumps(again, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
                wrong = again != line or (c["v"], c["type"], c["layer"]) != (1, "evidence-stream-checkpoint", layer)
                offset, other = int(c["offset"]), c["bundle"] != self.header["bundle"]
                zip_offset = int(c["zip_offset"]) if layer == "age" else 0
                wrong |= zip_offset > offset or layer == "age" and not re.fullmatch("[0-9a-f]{64}", c["zip_sha256"])
            except (ValueError, KeyError, TypeError):
                wrong, other = True, False
            if wrong or other:
                message = "transport checkpoints of another bundle" if other else "it is of another form, or for another file"
                self.found("sidecar_mismatch", subject, message, 0)
                continue
            code = signed_by(self.header, signed, signature)
            if code:
                self.found(code, subject, "its signature is not by the bundle's signer", 0)
                continue
            if final or c["seq"] != number or offset <= reached or zip_offset < inside:
                self.found("sidecar_mismatch", subject, "it does not follow from the line before it", 0)
            elif offset <= len(data):
                for at in range(hashed, offset, 1 << 20):
                    running.update(data[at:min(offset, at + (1 << 20))])
                hashed = offset
                if running.copy().hexdigest() != c["sha256"]:
                    if not differs:
                        message = f"the first {offset} bytes are not those it was signed for"
                        self.found("transport_mismatch", subject, message, 0)
                    differs = True
                elif not differs:
                    self.vouched, self.last_word = offset, (c["time"], signed, signature)
                    if layer == "age" and c["zip_boundary"]:
                        self.boundary = zip_offset
            reached, final, inside = max(reached, offset), final or c["final"], max(inside, zip_offset)
        self.is_final = final
        if reached > len(data):
            self.found("truncated", "the file", f"the signer reached offset {reached}, you hold {len(data)}", len(data))
        elif final and reached < len(data):
            self.found("trailing_bytes", "the file", f"the signer ended at offset {reached}", reached)


def named_by(line):
    """The bundle and the signer that a transport checkpoint names: all that an encrypted file shows of either."""
    try:
        shown = parse(line)
        armour = shown["sig_ssh"].replace("\n", "")
        blob = base64.b64decode(armour[len("-----BEGIN SSH SIGNATURE-----"):-len("-----END SSH SIGNATURE-----")])
        size = struct.unpack_from(">I", blob, 10)[0]
        if blob[:6] != b"SSHSIG" or blob[14:29] != b"\0\0\0\x0bssh-ed25519":
            return None
        key = base64.b64encode(blob[14:14 + size]).decode()
        return {"bundle": shown["bundle"], "signer": "ssh-ed25519 " + key, "host": {}}
    except (ValueError, KeyError, TypeError, AttributeError, struct.error):
        return None


def is_cut(line):
    """True when a last line without LF is the beginning of one, or holds zeros that a power cut left."""
    if b"\0" in line:
        return True
    try:
        parse(line)
        return False
    except json.JSONDecodeError as error:
        return not error.msg.startswith("Extra data")
    except ValueError:
        return False


def merkle(lines):
    """RFC 6962, section 2.1."""
    level = [hashlib.sha256(b"\0" + line).digest() for line in lines]
    if not level:
        return sha(b"")
    while len(level) > 1:
        pairs = [hashlib.sha256(b"\1" + level[n] + level[n + 1]).digest() for n in range(0, len(level) - 1, 2)]
        level = pairs + (level[-1:] if len(level) % 2 else [])
    return level[0].hex()


def safe(text):
    """Text from a host, fit for a terminal."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(text))


def without_zeros(v, data, whole):
    """What a power cut left unwritten reads as zeros: without them the file must be one that was only cut."""
    if whole or not v.findings or data[-1:] != b"\0":
        return v, None
    solid_to, least = len(data), max(0, len(data) - UNWRITTEN_MAX)
    while solid_to > least and data[solid_to - 1:solid_to] == b"\0":
        step = data[max(0, solid_to - 4096):solid_to]
        solid_to -= len(step) - len(step.rstrip(b"\0"))
    if solid_to <= least or any(finding["code"] == "limit" for finding in v.findings):
        return v, None
    cut = Verifier(data[:max(solid_to, v.clean_to)])
    try:
        ends = cut.walk()
    except NoBundle:
        return v, None
    if ends or cut.findings:
        return v, None
    cut.data = data
    return cut, solid_to


def trusted(v, signers):
    """True when the file vouches for the key at the time of the last checkpoint, by the host's clock, or by the server's
    where the header says how far that is."""
    if not signers or not (v.checkpoints or v.last_word):
        return False
    with open(signers, "rb") as file:
        text = file.read()
    if v.checkpoints:
        time, principal = v.checkpoints[-1]["time"], v.header["signer_principal"]
        json_name = f"checkpoints/{len(v.checkpoints):06}/checkpoint.json"
        held = [v.entries[v.find(name)] for name in (json_name, json_name + ".sig")]
        data, signature = (v.data[e["data_offset"]:e["data_offset"] + e["size"]] for e in held)
    else:
        # Whose name it is stands inside: any for which the key is trusted serves.
        time, data, signature = v.last_word
        principal = principal_of(signature, text, time)
    at = re.sub("[^0-9]", "", time)[:14]
    clock = v.header.get("clock")
    offset = clock.get("server_offset_ns") if isinstance(clock, dict) else None
    if isinstance(offset, str) and re.fullmatch("-?[0-9]{1,30}", offset):
        try:
            moved = datetime.strptime(at, "%Y%m%d%H%M%S") + timedelta(seconds=int(offset) // 10**9)
            at = moved.strftime("%Y%m%d%H%M%S")
        except (ValueError, OverflowError):
            at = "19700101000000" if offset.startswith("-") else "99991231235959"
    return principal is not None and keygen(
        ["verify", "-n", NAMESPACE, "-I", principal, f"-Overify-time={at}"], data, [("-f", text), ("-s", signature)])


def principal_of(signature, signers, time):
    with tempfile.TemporaryDirectory() as folder:
        paths = [os.path.join(folder, name) for name in ("signature", "signers")]
        for path, content in zip(paths, (signature, signers)):
            with open(path, "wb") as file:
                file.write(content)
        at = re.sub("[^0-9]", "", time)[:14]
        command = ["ssh-keygen", "-Y", "find-principals", "-s", paths[0], "-f", paths[1], f"-Overify-time={at}"]
        found = subprocess.run(command, capture_output=True, env=dict(os.environ, TZ="UTC"), timeout=60)
        names = found.stdout.decode(errors="replace").split() if found.returncode == 0 else []
        return names[0].split(",")[0] if names else None


def check_parts(verified):
    """Holds the parts of a run against one another: (code, subject, message) for each thing that is wrong."""
    found, parts = [], sorted(verified, key=lambda v: (v.header.get("part", 1), v.header["bundle"]))

    def missing(first, last):
        if first <= last:
            found.append(("part_missing", f"part {first}" if first == last else f"parts {first} to {last}", "not here"))

    def run_of(h):
        return [h["signer"].split()[:2], h["signer_principal"], h["host"].get("name")] + [
            h.get(field) for field in ("incident", "order_sha256", "belongs_to")] + [(h.get("profile") or {}).get("name")]

    missing(1, parts[0].header.get("part", 1) - 1)
    for before, v in zip(parts, parts[1:]):
        was, is_, said = before.header, v.header, v.header.get("continues") or {}
        subject, number, last = f"part {is_.get('part', 1)} (bundle {is_['bundle']})", is_.get("part", 1), was.get("part", 1)
        if run_of(was) != run_of(is_):
            found.append(("part_chain", subject, "it is of another run"))
        elif number == last:
            found.append(("part_chain", subject, "there is another one of this number"))
        elif number > last + 1:
            missing(last + 1, number - 1)
        elif (said.get("bundle"), said.get("part")) != (was["bundle"], last):
            found.append(("part_chain", subject, f"it does not continue bundle {was['bundle']}"))
        elif not before.sealed or said.get("checkpoint_sha256") != before.prev:
            found.append(("part_chain", subject, f"it does not name the final checkpoint of part {last}"))
        elif before.next_part != is_["bundle"]:
            found.append(("part_chain", subject, f"part {last} does not name it as the next"))
    if parts[-1].next_part:
        missing(parts[-1].header.get("part", 1) + 1, parts[-1].header.get("part", 1) + 1)
    for there in parts:
        held = {e["item"] for e in there.entries if e["item"]}
        for v in parts:
            for item, part, first in v.links:
                if part == there.header.get("part", 1) and first not in held:
                    found.append(("item_mismatch", f"part {v.header['part']}, item {item}", f"item {first} holds no content"))
    return found


def main():
    parser = argparse.ArgumentParser(description="Verifies a sealed evidence bundle (holdfast-bundle/1).")
    parser.error = lambda message: (sys.stderr.write(f"error: {message}\n"), sys.exit(64))
    parser.add_argument("bundle", nargs="+", help="the bundle, or - for standard input; or all parts of a run")
    parser.add_argument("--signers", help="OpenSSH allowed_signers file that you trust")
    parser.add_argument("--stream", help="transport checkpoints; by default BUNDLE.stream.jsonl where it exists")
    parser.add_argument("--json", action="store_true")
    a = parser.parse_args()
    if len(a.bundle) == 1:
        return one(a, a.bundle[0])[0]
    if a.stream or "-" in a.bundle:
        parser.error("parts are files, each with its transport checkpoints beside it")
    codes, verified = [], []
    for bundle in a.bundle:
        code, v = one(a, bundle)
        codes.append(code)
        verified += [v] if v else []
    found = check_parts(verified) if verified else []
    changed = 1 in codes or any(code != "part_missing" for code, _, _ in found)
    if changed:
        state, code = "tampered", 1
    elif len(verified) < len(codes):
        state, code = "unverified", max(c for c in codes if c not in (0, 3, 4))
    else:
        state = "partial" if found or not all(v.sealed for v in verified) else "sealed"
        code = 4 if 4 in codes else 3 if state == "partial" else 0
    if a.json:
        findings = [{"code": code, "subject": subject, "message": message} for code, subject, message in found]
        print(json.dumps({"findings": findings, "state": state, "type": "run", "v": 1}, sort_keys=True, separators=(",", ":")))
        return code
    print(f"{'run:':<13}{state}, {len(verified)} parts")
    for name, subject, message in found:
        print(f"{'finding:':<13}{name}: {safe(subject)}: {safe(message)}")
    return code


def one(a, bundle):
    """Verifies one bundle by itself and prints the verdict. Returns the exit code, and what holds."""
    try:
        if bundle == "-":
            data = sys.stdin.buffer.read()
        else:
            with open(bundle, "rb") as file:
                data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if os.fstat(file.fileno()).st_size else b""
        beside = a.stream or (bundle + ".stream.jsonl" if os.path.exists(bundle + ".stream.jsonl") else None)
        v = Verifier(data)
        layer = "age" if data[:21] == b"age-encryption.org/v1" else "zip"
        if layer == "age" and not beside:
            raise NoBundle("it is encrypted with age: give its transport checkpoints (--stream), or decrypt it first")
        whole = layer == "zip" and v.walk()
        v, zeros_from = without_zeros(v, data, whole) if layer == "zip" else (v, None)
        changed = any(f["code"] == "content_changed" and f["subject"] == "bundle.json" for f in v.findings)
        if not v.header and (v.bad_header and not changed or v.entries and v.entries[0]["name"] != "bagit.txt"):
            raise NoBundle(f"its bundle.json cannot be used: {v.bad_header}")
        if beside and (v.header or layer == "age"):
            v.transport(beside, layer)
        if layer == "age":
            whole, v.verified_to = v.is_final and v.vouched == len(data), v.vouched
        trust = trusted(v, a.signers)
    except NoBundle as error:
        print(f"error: {safe(bundle)}: not a bundle that can be verified: {safe(error)}", file=sys.stderr)
        return 65, None
    except OSError as error:
        print(f"error: {safe(error)}", file=sys.stderr)
        return 74, None
    v.sealed = whole and not v.findings
    if v.findings:
        state, code = "tampered", 1
    elif whole:
        state, code, v.verified_to, v.items = "sealed", 0 if trust else 4, len(data), v.status
        v.boundary = len(data) if layer == "zip" else v.boundary
    elif v.checkpoints or v.header and layer == "age" and v.vouched:
        state, code = "partial", 3 if trust else 4
    else:
        state, code = "unverified", 65
    h = v.header or {}
    report = {"boundary": v.boundary, "bundle": h.get("bundle"), "bytes": len(data), "checkpoints": len(v.checkpoints),
              "cut_in": v.cut_in, "findings": v.findings, "host": h.get("host", {}).get("name"),
              "incident": h.get("incident"), "items": v.items or {}, "layer": layer, "not_proven": "that the kernel told the truth",
              "principal": h.get("signer_principal"), "signer": h.get("signer"), "started": h.get("started"),
              "state": state, "trusted": trust, "v": 1, "verified_to": v.verified_to, "zeros_from": zeros_from}
    if a.json:
        print(json.dumps(report, sort_keys=True, separators=(",", ":")))
        return code, v if code in (0, 3, 4) and layer == "zip" else None
    fields = ("state", "bundle", "host", "incident", "started", "items", "checkpoints", "bytes", "verified_to", "boundary")
    for field in fields if layer == "zip" else ("state", "bundle", "bytes", "verified_to"):
        print(f"{field + ':':<13}{safe(report[field])}")
    for f in v.findings:
        print(f"{'finding:':<13}{f['code']} at byte {f['offset']}: {safe(f['subject'])}: {safe(f['message'])}")
    vouch = f"trusted by {a.signers}" if trust else "which nobody here vouches for: give --signers"
    principal = h.get("signer_principal") or "its name stands inside"
    print(f"{'sealed by:':<13}key {safe(h.get('signer'))} ({safe(principal)}), {vouch}")
    print(f"{'held by:':<13}nobody but you, as far as this shows: no receipt given")
    print(f"{'not proven:':<13}that the kernel told the truth")
    if layer == "age" and code != 1:
        cut = f" | head -c {v.boundary}" if state == "partial" and v.boundary else ""
        print("the content is encrypted and was not looked at; with a key of a recipient:\n"
              f"  age -d -i KEY {safe(bundle)}{cut} > FILE.evidence.zip; python3 verify.py FILE.evidence.zip")
    return code, v if code in (0, 3, 4) and layer == "zip" else None


if __name__ == "__main__":
    sys.exit(main())
