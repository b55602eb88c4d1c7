"""Vectors of key files, sub-keys and wrapping."""

from __future__ import annotations

from vector_forge import OWNER, derived

from inferonnx.crypto import AEGIS_256X2, AES_256_GCM, Secret
from inferonnx.sealed import encode_owner_key, encode_protected_owner_key
from inferonnx.sealed.constants import LABEL_WRAPPING_KEY
from inferonnx.sealed.keys import commitment, sub_keys, wrap_data_key

PASSPHRASE = "korrekt pferd ✓"


def key_vectors() -> dict[str, object]:
    """Return all vectors of keys, by what they are about."""
    return {
        "files": good_files() + broken_files() + other_secrets(),
        "sub_keys": sub_key_vectors(),
        "wrapping": wrapping_vector(),
    }


def good_files() -> list[dict[str, object]]:
    plain, protected = encode_owner_key(OWNER), protected_file()
    bare = b"".join(row for row in rows_of(plain) if not row.startswith(b"#"))
    return [
        vector("plain", "nothing is wrong", "S-38", plain, expect="ok"),
        vector("no-comments", "nothing is wrong: no comments", "S-38", bare, expect="ok"),
        vector("passphrase-not-needed", "nothing is wrong: a passphrase for a plain file",
               "S-38", plain, expect="ok", passphrase=PASSPHRASE),
        vector("protected", "nothing is wrong", "S-38", protected, expect="ok",
               passphrase=PASSPHRASE),
    ]  # fmt: skip


def broken_files() -> list[dict[str, object]]:
    plain = encode_owner_key(OWNER)
    rows = rows_of(plain)
    causes = {
        "empty": ("the file is empty", b""),
        "only-comments": ("the file has only comments", b"# nothing\n"),
        "only-comment-cut": ("the file has one comment, without an end", b"#"),
        "other-file": ("the file is another one", b"-----BEGIN PRIVATE KEY-----\n"),
        "too-large": ("the file has more than 4,096 bytes", b"# " + b"x" * 4096 + b"\n" + plain),
        "not-ascii": ("the file is not ASCII", b"# \xff\n" + plain),
        "cut": ("the last line has no end", plain[:-1]),
        "comment-cut": ("a comment without an end stands in place of the last", plain + b"\n# cut"),
        "carriage-returns": ("lines end in CR LF", plain.replace(b"\n", b"\r\n")),
        "version-2": ("the file has another version", plain.replace(b"key v1", b"key v2")),
        "capitals": ("digits are capitals", with_digits(plain, b"wrap-secret", bytes.upper)),
        "spaces": ("digits are spaces", with_digits(plain, b"id", lambda d: b"  " + d[2:])),
        "short-value": ("a value is short", with_digits(plain, b"signing-seed", lambda d: d[2:])),
        "line-missing": ("a line is missing", b"".join(rows[:-1])),
        "line-twice": ("a line occurs twice", plain + rows[-1]),
        "lines-swapped": ("lines are in another order", b"".join(rows[:-2] + rows[:-3:-1])),
        "extra-line": ("there is a line more", plain + b"more: 00\n"),
        "empty-line": ("there is an empty line", plain + b"\n"),
    }
    return [vector(name, cause, "S-38", text) for name, (cause, text) in causes.items()]


def other_secrets() -> list[dict[str, object]]:
    plain, protected = encode_owner_key(OWNER), protected_file()

    def last(digits: bytes) -> bytes:
        return digits[:-1] + (b"1" if digits.endswith(b"0") else b"0")

    return [
        vector("wrong-passphrase", "the passphrase is another", "S-39", protected,
               passphrase="pferd"),
        vector("no-passphrase", "no passphrase is given", "S-39", protected),
        vector("empty-passphrase", "the passphrase is empty", "S-39", protected, passphrase=""),
        vector("protected-other-id", "the id of a protected key is changed", "S-39",
               with_digits(protected, b"id", last), passphrase=PASSPHRASE),
        vector("protected-changed", "the protected secrets are changed", "S-39",
               with_digits(protected, b"protected", last), passphrase=PASSPHRASE),
        *(
            vector(f"other-{name}", f"{name} does not fit the rest", "S-39",
                   with_digits(plain, name.encode(), last))
            for name in ("id", "public-key", "wrap-secret", "signing-seed")
        ),
    ]  # fmt: skip


def vector(
    name: str,
    cause: str,
    rules: str,
    text: bytes,
    *,
    expect: str = "key",
    passphrase: str | None = None,
) -> dict[str, object]:
    return {
        "name": name,
        "cause": cause,
        "rules": rules.split(),
        "passphrase": passphrase,
        "expect": expect,
        "text": text.decode("latin-1"),
    }


def protected_file() -> bytes:
    return encode_protected_owner_key(OWNER, passphrase=PASSPHRASE, salt=derived("scrypt salt", 16))


def rows_of(text: bytes) -> list[bytes]:
    return text.splitlines(keepends=True)


def with_digits(text: bytes, field: bytes, change) -> bytes:
    """Return a key file with the digits of one line changed."""
    rows = rows_of(text)
    for i, row in enumerate(rows):
        name, colon, digits = row.partition(b": ")
        if name == field:
            rows[i] = name + colon + change(digits[:-1]) + b"\n"
    return b"".join(rows)


def sub_key_vectors() -> list[dict[str, str]]:
    data_key = Secret(derived("sub-keys"))
    vectors = []
    for suite in (AES_256_GCM, AEGIS_256X2):
        manifest_key, segments_key = sub_keys(data_key, suite)
        vectors.append(
            {
                "suite": suite.name,
                "data_key": data_key.reveal().hex(),
                "commitment": commitment(data_key, suite).hex(),
                "manifest_key": manifest_key.reveal().hex(),
                "segments_key": segments_key.reveal().hex(),
            }
        )
    return vectors


def wrapping_vector() -> dict[str, str]:
    model_id, salt, data_key = derived("model id"), derived("wrap salt"), derived("sub-keys")
    slot = wrap_data_key(OWNER, Secret(data_key), model_id=model_id, salt=salt)
    return {
        "wrap_secret": OWNER.wrap_secret.reveal().hex(),
        "key_id": OWNER.key_id.hex(),
        "wrap_salt": salt.hex(),
        "model_id": model_id.hex(),
        "data_key": data_key.hex(),
        "info": LABEL_WRAPPING_KEY.hex(),
        "wrapped_key": slot.wrapped_key.hex(),
        "wrap_tag": slot.wrap_tag.hex(),
    }
