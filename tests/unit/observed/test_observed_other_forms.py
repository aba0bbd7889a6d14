"""The same facts as other machines print them: kernels, drivers and engines of other years.

Lines are shortened from public reports; the source stands beside each.
"""

from __future__ import annotations

import pytest

from rigspec.discover.capture import Kind, capture_text, recognise
from rigspec.doctor.diagnose import diagnose
from rigspec.observed.engine_log import EngineLog, parse_engine_log
from rigspec.observed.kernel_log import Event, parse_kernel_log
from rigspec.observed.lspci import parse_lspci
from rigspec.observed.nvidia_smi import parse_query_gpu
from rigspec.observed.nvidia_smi_log import parse_smi_log, parse_smi_xml
from rigspec.observed.record import Unknown, known


def rows(text: str) -> set[str]:
    return {d.symptom.row for d in diagnose(capture_text("said.txt", text))}


@pytest.mark.parametrize(
    ("line", "row"),
    [
        # dmesg -T: leptonai/gpud xid testdata
        ("[Sun Feb 23 16:24:18 2025] NVRM: Xid (PCI:0000:9b:00): 119, pid=20, name=smi, Timeout",
         "Xid 62"),
        # dmesg --decode --time-format iso: leptonai/gpud memory testdata
        ("kern  :warn  : 2025-01-21T04:41:44,28+00:00 NVRM: Xid (PCI:0000:38:00): 13, pid=1, x",
         "Xid 13"),
        # no times: pop-os/pop 751
        ("pcieport 0000:00:1d.0: AER: PCIe Bus Error: severity=Corrected, type=Physical Layer, x",
         "B5"),
        # leptonai/gpud 338
        ("kern  :err   : 2025-01-25T10:34:54 nvidia-nvswitch1: SXid (PCI:0000:84:00.0): 12028",
         "Xid 74"),
        # scitix/sichek 51
        (" [Sun Jan 11 09:52:01 2026] NVRM: x: Reset required [NV_ERR_RESET_REQUIRED] (0x62)",
         "Xid 62"),
        # NVIDIA/open-gpu-kernel-modules 1230
        ("[   24.302465] NVRM: GPU6 _kgspIsHeartbeatTimedOut: Heartbeat timed out", "Xid 62"),
    ],
)  # fmt: skip
def test_a_kernel_log_is_known_in_every_form_of_dmesg(line: str, row: str) -> None:
    assert recognise(line) is Kind.DMESG
    assert row in rows(line)


def test_a_mig_instance_behind_the_address_hides_no_xid() -> None:
    log = parse_kernel_log("NVRM: Xid (PCI:0000:3b:00 GPU-I:00 GPU-CI:00): 63, pid=1, Row remapped")
    (event,) = log.of(Event.XID)
    assert (event.xid, event.address) == (63, "0000:3b:00.0")


def test_aer_bits_spelt_out_by_old_kernels_are_the_same_bits() -> None:
    # wilicc/gpu-burn 1, hirschmann/nbfc 181
    log = parse_kernel_log([
        "[1.0] pcieport 0000:00:02.0: PCIe Bus Error: severity=Corrected, type=Data Link Layer, x",
        "[1.0] pcieport 0000:00:02.0:    [12] Replay Timer Timeout  ",
        "[2.0] pcieport 0000:00:02.0: PCIe Bus Error: severity=Uncorrected (Fatal), type=x, x",
        "[2.0] pcieport 0000:00:02.0:    [18] Malformed TLP          (First)",
        "[3.0] pcieport 0000:00:1c.5: PCIe Bus Error: severity=Corrected, type=Physical Layer, x",
        "[3.0] pcieport 0000:00:1c.5:    [ 0] RxErr                  (First)",
    ])  # fmt: skip
    assert [e.names for e in log.events if e.event is Event.AER] == [
        ("Timeout",), ("MalfTLP",), ("RxErr",),
    ]  # fmt: skip


def test_an_uncorrected_error_is_a_cause_of_its_own() -> None:
    assert rows(
        "[1.000000] pcieport 0000:00:03.1: PCIe Bus Error: severity=Uncorrected (Fatal), x"
    ) == {"B7"}


P100 = """<nvidia_smi_log><driver_version>510.47.03</driver_version><gpu id="00000000:04:00.0">
<uuid>GPU-d3da8716</uuid><ecc_errors><volatile>
<single_bit><total>7</total></single_bit>
<double_bit><device_memory>2</device_memory><l1_cache>N/A</l1_cache><total>2</total></double_bit>
</volatile><aggregate><double_bit><total>9</total></double_bit></aggregate></ecc_errors>
<retired_pages><pending_retirement>Yes</pending_retirement></retired_pages>
<remapped_rows>N/A</remapped_rows>
<power_readings><power_limit>N/A</power_limit></power_readings></gpu></nvidia_smi_log>"""


def test_double_bit_errors_and_retired_pages_of_old_cards_are_read_from_xml() -> None:
    # the layout of netdata's capture of a P100, driver 510
    cards = parse_smi_xml(P100)
    assert not isinstance(cards, Unknown)
    assert (cards[0].ecc_uncorrected, cards[0].retired_pending) == (2, True)
    assert rows(P100) == {"Xid 48"}
    assert not rows(P100.replace(">2<", ">0<").replace(">Yes<", ">No<"))


def test_a_cell_that_says_na_is_no_cell_that_was_not_asked_for() -> None:
    cards = parse_smi_xml(P100)
    assert not isinstance(cards, Unknown)
    for reading in (cards[0].remap_pending, cards[0].power_limit_w):
        assert isinstance(reading, Unknown)
        assert "N/A" in f"{reading.reason} {reading.line}"


def test_double_bit_errors_of_old_cards_are_read_from_text() -> None:
    # the layout of NVIDIA/dcgm-exporter 16
    said = """\
GPU 00000000:04:00.0
    ECC Errors
        Volatile
            Single Bit
                Total                     : 4
            Double Bit
                Device Memory             : 3
                L1 Cache                  : N/A
                Total                     : 3
        Aggregate
            Double Bit
                Total                     : 8
    Retired Pages
        Double Bit ECC                    : 0
        Pending Page Blacklist            : No
"""
    cards = parse_smi_log(said)
    assert not isinstance(cards, Unknown)
    assert (cards[0].ecc_uncorrected, cards[0].retired_pending) == (3, False)


def test_a_lost_card_is_counted_once_and_is_a_cause() -> None:
    said = """\
index, name, pstate
0, NVIDIA GeForce RTX 3090, P2
Unable to determine the device handle for GPU0000:02:00.0: Unknown Error
[Unknown Error], [Unknown Error], [Unknown Error]
2, NVIDIA GeForce RTX 3090, P2
"""
    cards = parse_query_gpu(said)
    assert not isinstance(cards, Unknown)
    assert [known(card.index) for card in cards] == [0, None, 2]
    assert "C1" in rows(said)


@pytest.mark.parametrize(
    "said",
    [
        "index, temperature.gpu, memory.used [MiB]\n0, [GPU requires reset], 0 MiB\n",
        "GPU 0: GPU is lost. Reboot the system to recover this GPU\n",
    ],
)
def test_a_card_that_wants_a_reset_is_a_cause(said: str) -> None:
    assert "C1" in rows(said)


def test_a_fan_that_cannot_be_read_alone_does_not_prove_a_lost_card() -> None:
    # utkuozdemir/nvidia_gpu_exporter 393: the card itself works, at 93 %
    said = (
        "| NVIDIA-SMI 580.119.02    Driver Version: 580.119.02     CUDA Version: 13.0     |\n"
        "|ERR!   68C    P2             99W /  130W |       1MiB /  20475MiB |     93% |"
    )
    (found,) = diagnose(capture_text("smi.txt", said))
    assert (found.symptom.id, found.symptom.likelihood) == ("fan-unread", "possible")


def test_lanes_that_nvidia_smi_alone_misses_prove_nothing() -> None:
    said = "index, uuid, pcie.link.width.current, pcie.link.width.max\n0, GPU-1, 8, 16\n"
    (found,) = diagnose(capture_text("smi.csv", said))
    assert (found.symptom.id, found.symptom.likelihood) == ("narrow-card", "possible")


def engine(text: str) -> EngineLog:
    log = parse_engine_log(text)
    assert not isinstance(log, Unknown)
    return log


def test_weights_of_vllm_before_0_8_are_read() -> None:
    # vllm-project/vllm 12664
    log = engine("INFO 02-02 model_runner.py:1116] Loading model weights took 30.7098 GB")
    assert (log.engine, log.weights_gib) == ("vllm", 30.7098)


def test_words_before_buffer_size_are_no_device() -> None:
    # ggml-org/llama.cpp 27680, 5104
    log = engine(
        "llama_dsv4_comp_state:      CUDA0 DSV4 csa state buffer size =     1.31 MiB\n"
        "llama_new_context_with_model:  CUDA_Host input buffer size   =     6.01 MiB\n"
        "llm_load_tensors:      CUDA0 buffer size =  3577.56 MiB\n"
        "llama_kv_cache_init:      CUDA0 KV buffer size =   160.00 MiB\n"
    )
    assert {(b.device, b.use): b.mib for b in log.buffers} == {
        ("CUDA0", "state"): 1.31,
        ("CUDA_Host", "input"): 6.01,
        ("CUDA0", "model"): 3577.56,
        ("CUDA0", "KV"): 160.0,
    }


def test_llama_servers_structured_log_says_when_it_serves() -> None:
    # ggml-org/llama.cpp 9013
    log = engine("llama_init\nINFO [                    main] model loaded | tid=1 timestamp=17\n")
    assert log.ready


def test_a_listing_filtered_by_grep_keeps_its_links_and_acs() -> None:
    # the lines of leptonai/gpud's lspci -vvv of eight H100, through grep
    tree = parse_lspci("""\
17:1f.0 PCI bridge: Broadcom / LSI PEX890xx PCIe Gen 5 Switch (rev b0)
\t\tLnkSta:\tSpeed 32GT/s (ok), Width x16 (ok)
\t\tACSCap:\tSrcValid+ TransBlk+ ReqRedir+ CmpltRedir+ UpstreamFwd+ EgressCtrl+ DirectTrans+
\t\tACSCtl:\tSrcValid- TransBlk- ReqRedir- CmpltRedir- UpstreamFwd- EgressCtrl- DirectTrans-
19:00.0 3D controller: NVIDIA Corporation Device 2330 (rev a1)
\t\tLnkCap:\tPort #0, Speed 32GT/s, Width x16, ASPM L1, Exit Latency L1 <4us
\t\tLnkSta:\tSpeed 32GT/s (ok), Width x16 (ok)
""")
    bridge, gpu = tree.functions
    assert gpu.link_status is not None
    link = known(gpu.link_status)
    assert link is not None
    assert (link.gen, link.width) == (5, 16)
    acs = known(bridge.acs) if bridge.acs else None
    assert acs is not None
    assert not acs.ctl.redirects
