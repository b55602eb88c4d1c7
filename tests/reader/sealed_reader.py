"""A second reader of sealed files, written from docs/sealed-format.md alone.

It shares no code with the package: where the two disagree, the specification is
unclear or one of them is wrong. It reads whole files into memory and is made to
be compared with the text, not to be fast.

    python sealed_reader.py MODEL.sealed [owner.key]
"""

import hashlib
import hmac
import itertools
import json
import sys

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

MIB = 1 << 20
HEADER = (
    ("magic", 16), ("version", 4), ("suite", 4), ("release", 8), ("owner", 32),
    ("commitment", 32), ("manifest_bytes", 8), ("manifest_sha256", 32), ("root", 32),
    ("signature", 64), ("key_id", 16), ("wrap_salt", 32), ("wrapped_key", 32), ("wrap_tag", 16),
)  # fmt: skip
HEADER_BYTES = 328
SUITES = {1: (12, 16), 2: (32, 32)}  # number: nonce, tag
BITS = {
    number: bits
    for bits, numbers in {
        2: (25, 26), 4: (21, 22, 23), 8: (2, 3, 9, 17, 18, 19, 20, 24), 16: (4, 5, 10, 16),
        32: (1, 6, 12), 64: (7, 11, 13, 14), 128: (15,),
    }.items()
    for number in numbers
}  # fmt: skip


class Refused(Exception):
    """The file is refused; `code` is the specification's."""

    def __init__(self, code, reason):
        super().__init__(f"{code}: {reason}")
        self.code = code


def require(condition, code, reason):
    if not condition:
        raise Refused(code, reason)


def label(name):
    return b"inferonnx/sealed/v1/" + name + b"\0"


def u32(number):
    return number.to_bytes(4, "big")


def u64(number):
    return number.to_bytes(8, "big")


def hkdf(key, salt, info, n_bytes):
    secret = hmac.digest(salt or bytes(32), key, "sha256")
    output = block = b""
    while len(output) < n_bytes:
        block = hmac.digest(secret, block + info + bytes([len(output) // 32 + 1]), "sha256")
        output += block
    return output[:n_bytes]


def aead_open(suite, key, nonce, aad, ciphertext, tag):
    try:
        if suite == 1:
            return AESGCM(key).decrypt(nonce, ciphertext + tag, aad)
        from pyaegis import Aegis256X2, DecryptionError
    except InvalidTag:
        raise Refused("sealed.auth", "does not open") from None
    try:
        return bytes(Aegis256X2(32).decrypt_detached(key, nonce, ciphertext, tag, aad))
    except DecryptionError:
        raise Refused("sealed.auth", "does not open") from None


# --- header, identity, signature (sections 2 to 4) ---


def parse_header(data):
    require(data[:16] == b"inferonnx.sealed", "sealed.format", "magic")
    require(len(data) >= HEADER_BYTES, "sealed.format", "short header")
    header, place = {}, 0
    for name, size in HEADER:
        header[name] = data[place : place + size]
        place += size
    for name in ("version", "suite", "release", "manifest_bytes"):
        header[name] = int.from_bytes(header[name], "big")
    require(header["version"] == 1, "sealed.version", "version")
    require(header["suite"] in SUITES, "sealed.version", "suite")
    require(header["release"] < 1 << 53, "sealed.format", "release")
    n_tag = SUITES[header["suite"]][1]
    require(n_tag <= header["manifest_bytes"] <= 1 << 30, "sealed.format", "manifest_bytes")
    return header


def model_id(header):
    return hashlib.sha256(
        label(b"model-id") + u32(header["version"]) + u32(header["suite"]) + header["owner"]
        + u64(header["release"]) + header["commitment"] + u64(header["manifest_bytes"])
        + header["manifest_sha256"] + header["root"]
    ).digest()  # fmt: skip


def verify_signature(header):
    message = label(b"signature") + model_id(header)
    try:
        Ed25519PublicKey.from_public_bytes(header["owner"]).verify(header["signature"], message)
    except (InvalidSignature, ValueError):
        raise Refused("sealed.signature", "signature") from None


def merkle_root(data):
    """The recursive definition of RFC 9162, as it stands there."""

    def tree(pieces):
        if not pieces:
            return hashlib.sha256().digest()
        if len(pieces) == 1:
            return hashlib.sha256(b"\x00" + pieces[0]).digest()
        k = 1
        while 2 * k < len(pieces):
            k *= 2
        return hashlib.sha256(b"\x01" + tree(pieces[:k]) + tree(pieces[k:])).digest()

    return tree([data[i : i + MIB] for i in range(0, len(data), MIB)])


def check(data):
    """Check a file without a key; return its model id."""
    header = parse_header(data)
    verify_signature(header)
    fits = len(data) >= HEADER_BYTES + header["manifest_bytes"]
    require(fits, "sealed.format", "too short")
    require(merkle_root(data[HEADER_BYTES:]) == header["root"], "sealed.auth", "root")
    return model_id(header)


# --- the owner's key (sections 5 and 11) ---


def parse_key(text, passphrase=None):
    """Return (wrap secret, key id, public key)."""
    require(len(text) <= 4096, "key", "size")
    require(text.isascii() and text.endswith(b"\n"), "key", "not text")
    lines = [line for line in text.decode().split("\n")[:-1] if not line.startswith("#")]
    require(lines[:1] == ["inferonnx owner key v1"], "key", "first line")
    plain = [("id", 16), ("public-key", 32), ("wrap-secret", 32), ("signing-seed", 32)]
    protected = [("id", 16), ("public-key", 32), ("scrypt-salt", 16), ("protected", 80)]
    names = [line.split(": ")[0] for line in lines[1:]]
    kind = next((k for k in (plain, protected) if [name for name, _ in k] == names), None)
    require(kind is not None, "key", "lines")
    values = []
    for line, (name, size) in zip(lines[1:], kind, strict=True):
        digits = line[len(name) + 2 :]
        good = len(digits) == 2 * size and set(digits) <= set("0123456789abcdef")
        require(good, "key", "digits")
        values.append(bytes.fromhex(digits))
    key_id, public_key = values[:2]
    secrets = b"".join(values[2:])
    if kind is protected:
        require(passphrase, "key", "passphrase")
        salt = label(b"key-file") + values[2]
        key = hashlib.scrypt(
            passphrase.encode(), salt=salt, n=1 << 15, r=8, p=3, maxmem=1 << 26, dklen=32
        )
        try:
            aad = label(b"key-file") + key_id + public_key
            secrets = AESGCM(key).decrypt(bytes(12), values[3], aad)
        except InvalidTag:
            raise Refused("key", "passphrase") from None
    wrap, seed = secrets[:32], secrets[32:]
    require(hkdf(wrap, b"", label(b"key-id"), 16) == key_id, "key", "id")
    derived = Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()
    require(derived == public_key, "key", "public key")
    return wrap, key_id, public_key


def unwrap(header, key):
    wrap, key_id, public_key = key
    require(header["key_id"] == key_id, "sealed.key", "key id")
    require(header["owner"] == public_key, "sealed.signature", "owner")
    wrapping = hkdf(wrap, header["wrap_salt"], label(b"wrapping-key"), 32)
    data_key = aead_open(
        1, wrapping, bytes(12), model_id(header), header["wrapped_key"], header["wrap_tag"]
    )
    require(sub_key(header, data_key, b"commitment") == header["commitment"],
            "sealed.auth", "commitment")  # fmt: skip
    return data_key


def sub_key(header, data_key, name):
    return hkdf(data_key, b"", label(name) + u32(header["version"]) + u32(header["suite"]), 32)


# --- the manifest (section 7) ---


def open_manifest(header, data_key, data):
    n_bytes = header["manifest_bytes"]
    require(len(data) >= HEADER_BYTES + n_bytes, "sealed.format", "too short")
    sealed = data[len(data) - n_bytes :]
    same = hashlib.sha256(sealed).digest() == header["manifest_sha256"]
    require(same, "sealed.auth", "manifest hash")
    n_nonce, n_tag = SUITES[header["suite"]]
    aad = label(b"manifest") + binding(header) + u64(n_bytes)
    plain = aead_open(
        header["suite"], sub_key(header, data_key, b"manifest-key"), bytes(n_nonce), aad,
        sealed[:-n_tag], sealed[-n_tag:],
    )  # fmt: skip
    manifest, blobs = parse_manifest(plain, n_tag)
    room = len(data) - HEADER_BYTES - n_bytes
    require(sum(block_sizes(manifest)) == room, "sealed.auth", "blocks do not fill the file")
    return manifest, blobs


def binding(header):
    return u32(header["version"]) + u32(header["suite"]) + header["commitment"]


def parse_manifest(plain, n_tag):
    """Return the JSON tree and the list of blobs, the tags last, as one blob."""
    require(len(plain) >= 4, "sealed.format", "no length")
    n_text = int.from_bytes(plain[:4], "big")
    require(n_text <= min(1 << 26, len(plain) - 4), "sealed.format", "length of text")
    text, rest = plain[4 : 4 + n_text], plain[4 + n_text :]

    def refuse_number(_):
        raise ValueError

    def no_repeats(found):
        if len(dict(found)) != len(found):
            raise ValueError
        return dict(found)

    try:
        tree = json.loads(
            text.decode(),
            parse_float=refuse_number,
            parse_constant=refuse_number,
            object_pairs_hook=no_repeats,
        )
        again = canonical(tree).encode()
    except (ValueError, RecursionError):
        raise Refused("sealed.format", "not canonical JSON") from None
    require(again == text, "sealed.format", "not canonical")
    check_manifest(tree)
    blobs = []
    n_segments = sum(-(-size // MIB) for size in block_sizes(tree))
    require(n_segments <= 1 << 20, "sealed.format", "segments")
    for n_bytes in [*blob_sizes(tree), n_segments * n_tag]:
        require(n_bytes <= len(rest), "sealed.format", "blob")
        blobs.append(rest[:n_bytes])
        rest = rest[n_bytes:]
    require(not rest, "sealed.format", "left over")
    return tree, blobs


def canonical(tree):
    """RFC 8785 for trees whose numbers are integers and whose member names are ASCII."""
    if isinstance(tree, dict):
        return "{" + ",".join(f"{quote(k)}:{canonical(tree[k])}" for k in sorted(tree)) + "}"
    if isinstance(tree, list):
        return "[" + ",".join(map(canonical, tree)) + "]"
    if isinstance(tree, str):
        return quote(tree)
    if tree is None or isinstance(tree, bool):
        return {None: "null", True: "true", False: "false"}[tree]
    return str(tree)


def quote(text):
    short = {
        "\b": "\\b",
        "\t": "\\t",
        "\n": "\\n",
        "\f": "\\f",
        "\r": "\\r",
        '"': '\\"',
        "\\": "\\\\",
    }
    return '"' + "".join(short.get(c, f"\\u{ord(c):04x}" if c < " " else c) for c in text) + '"'


def check_manifest(tree):
    members(tree, "arena check inputs memory metadata name notes outputs partitions "
                  "planned_shapes probe producer rows_independent strategy target")  # fmt: skip
    members(tree["arena"], "initial_bytes peak_bytes strategy", integer)
    members(tree["memory"],
            "budget_bytes call_bytes floor_bytes least_bytes session_bytes", integer)  # fmt: skip
    members(tree["target"], "arch layout onnxruntime", text)
    for name in ("producer", "strategy", "name"):
        text(tree[name])
    require(isinstance(tree["rows_independent"], bool), "sealed.format", "neither true nor false")
    name = tree["name"]
    bad = any(ord(c) < 32 or 127 <= ord(c) < 160 or ord(c) in (0x2028, 0x2029) for c in name)
    require(1 <= len(name.encode()) <= 255 and not bad, "sealed.format", "name")
    each(tree["notes"], text)
    pairs(tree["metadata"], text)
    pairs(tree["planned_shapes"], shape)
    for values in (tree["inputs"], tree["outputs"]):
        each(values, value)
    distinct([v[0] for v in tree["inputs"]])
    if tree["check"] is not None:
        members(tree["check"], "inputs outputs")
        pairs(tree["check"]["inputs"], integer)
        pairs(tree["check"]["outputs"], integer)
    if tree["probe"] is not None:
        members(tree["probe"], "input_bytes output_bytes skeleton_bytes")
        integer(tree["probe"]["skeleton_bytes"])
        each(tree["probe"]["input_bytes"], integer)
        each(tree["probe"]["output_bytes"], integer)
    each(tree["partitions"], partition, 1 << 16)
    known = {v[0] for v in tree["inputs"]}
    for part in tree["partitions"]:
        require(known >= set(part["inputs"]), "sealed.format", "made too late")
        require(not known & set(part["outputs"]), "sealed.format", "made twice")
        weights = {weight[0] for weight in part["weights"]}
        require(not weights & set(part["outputs"]), "sealed.format", "a weight made")
        known |= set(part["outputs"])
    require(known >= {v[0] for v in tree["outputs"]}, "sealed.format", "never made")


def partition(tree):
    members(tree, "activation_bytes inputs n_nodes outputs skeleton_bytes time_us weights")
    for name in ("activation_bytes", "n_nodes", "skeleton_bytes", "time_us"):
        integer(tree[name])
    each(tree["inputs"], text)
    each(tree["outputs"], text)
    each(tree["weights"], weight)
    distinct(tree["inputs"] + [w[0] for w in tree["weights"]])
    distinct(tree["outputs"])
    integer(block_size(tree))


def members(tree, names, kind=None):
    require(isinstance(tree, dict) and set(tree) == set(names.split()), "sealed.format", "members")
    for item in tree.values() if kind else ():
        kind(item)


def integer(item):
    good = type(item) is int and 0 <= item < 1 << 53
    require(good, "sealed.format", "integer")


def text(item):
    require(isinstance(item, str), "sealed.format", "text")
    require(len(item.encode()) <= 1 << 24, "sealed.format", "text")


def each(items, kind, most=1 << 20):
    require(isinstance(items, list) and len(items) <= most, "sealed.format", "list")
    for item in items:
        kind(item)


def shape(item):
    each(item, integer, 255)


def axis(item):
    if isinstance(item, str):
        text(item)
    elif item is not None:
        integer(item)


def triple(item):
    require(isinstance(item, list) and len(item) == 3, "sealed.format", "three items")


def value(item):
    triple(item)
    text(item[0])
    text(item[1])
    if item[2] is not None:
        each(item[2], axis, 255)


def weight(item):
    triple(item)
    text(item[0])
    require(type(item[1]) is int and item[1] in BITS, "sealed.format", "element type")
    shape(item[2])


def pairs(items, kind):
    require(isinstance(items, list) and len(items) <= 1 << 20, "sealed.format", "pairs")
    for pair in items:
        require(isinstance(pair, list) and len(pair) == 2, "sealed.format", "pair")
        text(pair[0])
        kind(pair[1])
    keys = [pair[0].encode() for pair in items]
    require(all(a < b for a, b in itertools.pairwise(keys)), "sealed.format", "order")


def distinct(names):
    require(len(set(names)) == len(names), "sealed.format", "name twice")


def block_size(part):
    end = 0
    for _, dtype, axes in part["weights"]:
        n_elements = 1
        for size in axes:
            n_elements *= size
        end += (n_elements * BITS[dtype] + 7) // 8
        end += -end % 64
    return end


def block_sizes(tree):
    return [block_size(part) for part in tree["partitions"]]


def blob_sizes(tree):
    yield from (part["skeleton_bytes"] for part in tree["partitions"])
    if tree["probe"] is not None:
        probe = tree["probe"]
        yield from (probe["skeleton_bytes"], *probe["input_bytes"], *probe["output_bytes"])
    if tree["check"] is not None:
        yield from (size for _, size in tree["check"]["inputs"] + tree["check"]["outputs"])


# --- segments (section 6) ---


def open_segments(header, data_key, manifest, tags, data):
    """Yield the plaintext of each segment, in order."""
    n_nonce, n_tag = SUITES[header["suite"]]
    key = sub_key(header, data_key, b"segments-key")
    lengths = [
        min(MIB, size - start) for size in block_sizes(manifest) for start in range(0, size, MIB)
    ]
    place = HEADER_BYTES
    for i, length in enumerate(lengths):
        aad = label(b"segment") + binding(header) + u64(i) + u64(len(lengths)) + u64(length)
        tag = tags[i * n_tag : (i + 1) * n_tag]
        nonce = i.to_bytes(n_nonce, "big")
        yield aead_open(header["suite"], key, nonce, aad, data[place : place + length], tag)
        place += length


class Opened:
    """What opening a file gave: the manifest's tree, its blobs, and segments as they open."""

    def __init__(self, data, key, pin=None):
        """Open `data`; `pin` is None, {"model_id"} or {"owner", "name", "least_release"}."""
        self.segments = []
        header = parse_header(data)
        verify_signature(header)
        self.model_id = model_id(header)
        if pin and "model_id" in pin:
            require(self.model_id == pin["model_id"], "sealed.pin", "model id")
        if pin and "owner" in pin:
            require(header["owner"] == pin["owner"], "sealed.pin", "owner")
            require(header["release"] >= pin["least_release"], "sealed.pin", "release")
        self._header, self._data = header, data
        self._data_key = unwrap(header, key)
        self.manifest, self.blobs = open_manifest(header, self._data_key, data)
        if pin and "owner" in pin:
            require(self.manifest["name"] == pin["name"], "sealed.pin", "name")

    def open_all(self):
        tags = self.blobs[-1]
        for plain in open_segments(self._header, self._data_key, self.manifest, tags, self._data):
            self.segments.append(plain)


def main(arguments):
    with open(arguments[0], "rb") as file:
        data = file.read()
    print("model id", check(data).hex())
    if len(arguments) > 1:
        with open(arguments[1], "rb") as file:
            opened = Opened(data, parse_key(file.read()))
        opened.open_all()
        print(opened.manifest["name"], len(opened.segments), "segments")


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except Refused as error:
        sys.exit(str(error))
