"""One place for the words, and "SGX" only where a library OS shows."""

import pytest

from inferonnx.epc import Label, label


@pytest.mark.parametrize("limit_bytes", [None, 85 << 20])
@pytest.mark.parametrize("sign", ["dev/attestation/quote", "dev/sgx"])
def test_inside_sgx_every_figure_is_sgx(tmp_path, sign, limit_bytes):
    (tmp_path / sign).parent.mkdir(parents=True)
    (tmp_path / sign).touch()
    assert label(limit_bytes, root=str(tmp_path)) is Label.SGX


@pytest.mark.parametrize("sign", [None, "dev/sgx_enclave", "dev/tdx_guest", "dev/sev-guest"])
def test_elsewhere_none_is(tmp_path, sign):
    (tmp_path / "dev").mkdir()
    if sign:
        (tmp_path / sign).touch()
    assert label(85 << 20, root=str(tmp_path)) is Label.CGROUP
    assert label(None, root=str(tmp_path)) is Label.NONE


def test_the_words_are_those_of_the_documents():
    assert [one.value for one in Label] == [
        "SGX",
        "EPC limit enforced by cgroup",
        "no limit enforced",
    ]
