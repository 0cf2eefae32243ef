# Copies of a sealed bundle, each changed by somebody who has python and no key. Writes OUT/<what>.evidence.zip.
import copy, shutil, stat, sys, zipfile

source, out = sys.argv[1], sys.argv[2]
bundle = zipfile.ZipFile(source)
names = bundle.namelist()


def rewrite(what, change):
    with zipfile.ZipFile(f"{out}/{what}.evidence.zip", "w", zipfile.ZIP_DEFLATED) as copied:
        for info in bundle.infolist():
            content = change(info.filename, bundle.read(info))
            if content is not None:
                copied.writestr(copy.copy(info), content)


def flip(what, offset):
    data = bytearray(open(source, "rb").read())
    data[offset] ^= 1
    open(f"{out}/{what}.evidence.zip", "wb").write(data)


def append(what, info, content):
    shutil.copy(source, f"{out}/{what}.evidence.zip")
    with zipfile.ZipFile(f"{out}/{what}.evidence.zip", "a") as archive:
        archive.writestr(info, content)


files = [i for i in bundle.infolist() if i.filename.startswith("[root]/") and i.file_size > 16 and stat.S_ISREG(i.external_attr >> 16)]
victim = files[len(files) // 2].filename
items = next(n for n in names if n.startswith("data/items/") and b'"uid":' in bundle.read(n))
checkpoint = sorted(n for n in names if n.endswith("/checkpoint.json"))[1].rsplit("/", 1)[0] + "/"
record = next(n for n in names if n.startswith("data/volatile/") and n.endswith(".jsonl"))

rewrite("content-changed", lambda n, d: d[:8] + bytes([d[8] ^ 1]) + d[9:] if n == victim else d)
rewrite("file-dropped", lambda n, d: None if n == victim else d)
rewrite("metadata-changed", lambda n, d: d.replace(b'"uid":', b'"uid":4', 1) if n == items else d)
rewrite("row-dropped", lambda n, d: d.split(b"\n", 1)[1] if n == record else d)
rewrite("checkpoint-dropped", lambda n, d: None if n.startswith(checkpoint) else d)
rewrite("repacked", lambda n, d: d)
flip("bit-flipped", len(open(source, "rb").read()) // 2)
flip("header-flipped", 10)  # a time in the first local header
append("file-added", "[root]/etc/added", "x")
append("checkpoint-file-added", checkpoint + "added", "x")
link = zipfile.ZipInfo("[root]/etc/added-link")
link.create_system, link.external_attr = 3, 0o120777 << 16
append("symlink-added", link, "/etc/shadow")
with open(f"{out}/bytes-appended.evidence.zip", "wb") as appended:
    appended.write(open(source, "rb").read() + b"after the end")
print("\n".join([victim, items, checkpoint, record]))
