import os

import pytest

from inferonnx.runtime.tee import Tee, find_tee


def test_this_machine_shows_none_unless_it_has_the_devices():
    assert (find_tee() is not None) == any(
        os.path.exists(f"/dev/{name}") for name in ("attestation", "tdx_guest", "sev-guest")
    )


@pytest.mark.parametrize(
    ("path", "is_folder", "tee"),
    [
        ("dev/attestation", True, Tee.GRAMINE),
        ("dev/sgx", False, Tee.OCCLUM),
        ("dev/sgx", True, None),
        ("dev/sgx_enclave", False, None),
        ("dev/sgx_provision", False, None),
        ("dev/tdx_guest", False, Tee.TDX),
        ("dev/tdx-guest", False, Tee.TDX),
        ("dev/sev-guest", False, Tee.SEV_SNP),
        ("dev/sev", False, None),
    ],
)
def test_signs(tmp_path, path, is_folder, tee):
    full = tmp_path / path
    full.parent.mkdir(parents=True)
    if is_folder:
        full.mkdir()
    else:
        full.touch()
    assert find_tee(str(tmp_path)) is tee


@pytest.mark.parametrize(
    ("cpuinfo", "tee"),
    [
        ("processor\t: 0\nflags\t\t: fpu tdx_guest sse\n", Tee.TDX),
        ("flags\t\t: fpu sse tdx_host_platform\nbugs\t\t: tdx_guest\n", None),
        ("flags\t\t: sev sev_es sev_snp\n", None),  # a host has these too
        ("", None),
    ],
)
def test_the_processor_tells_of_tdx(tmp_path, cpuinfo, tee):
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc" / "cpuinfo").write_text(cpuinfo)
    assert find_tee(str(tmp_path)) is tee


def test_library_oses_are_known_as_such():
    assert {tee for tee in Tee if tee.is_library_os} == {Tee.GRAMINE, Tee.OCCLUM}
