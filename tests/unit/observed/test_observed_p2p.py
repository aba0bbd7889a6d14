"""P2P tables, nvbandwidth, simpleP2P and nccl-tests."""

from __future__ import annotations

import json
from pathlib import Path

from rigspec.observed.nccl_tests import parse_nccl_tests
from rigspec.observed.p2p import (
    parse_matrices,
    parse_nvbandwidth,
    parse_peer_access,
    parse_simple_p2p,
)
from rigspec.observed.record import Unknown

CAPTURES = Path(__file__).parents[2] / "captures"
STELLINE = CAPTURES / "stelline-asus-esc8000a-e12-4x-rtx6000ada"
AIK = CAPTURES / "aikitoria-9x-blackwell-turin"
FIELD = CAPTURES / "field"
WIKI = CAPTURES / "rtx6kpro-wiki"
STAS = CAPTURES / "stas00-ml-engineering"
SUPERBENCHMARK = CAPTURES / "superbenchmark"


def test_cuda_sample_gives_eight_tables() -> None:
    tables = parse_matrices((STELLINE / "p2pBandwidthLatencyTest.txt").read_text())
    assert [(t.p2p_enabled, t.bidirectional, t.is_latency, t.corner) for t in tables] == [
        (False, False, False, "D\\D"),
        (True, False, False, "D\\D"),
        (False, True, False, "D\\D"),
        (True, True, False, "D\\D"),
        (False, False, True, "GPU"),
        (False, False, True, "CPU"),
        (True, False, True, "GPU"),
        (True, False, True, "CPU"),
    ]
    assert tables[1].between(0, 3) == 26.32 and tables[4].between(2, 1) == 11.58
    assert min(value for _, _, value in tables[1].pairs) == 26.32


def test_nine_gpus_and_refused_peers() -> None:
    tables = parse_matrices((AIK / "p2pBandwidthLatencyTest.txt").read_text())
    assert len(tables) == 8 and all(len(t.pairs) == 72 for t in tables)
    access = parse_peer_access(
        (FIELD / "nccl-tests-117_8x-2080ti-no-p2p_device-list.txt").read_text()
    )
    assert len(access) == 7 and not any(a.granted for a in access)
    granted = parse_peer_access((STELLINE / "p2pBandwidthLatencyTest.txt").read_text())
    assert len(granted) == 12 and all(a.granted for a in granted)


def test_published_tables_with_dashes_and_missing_rows() -> None:
    (broadcom,) = parse_matrices((WIKI / "asus-broadcom-p2p-unidirectional.txt").read_text())
    assert broadcom.between(4, 0) == 39.7
    assert isinstance(broadcom.between(4, 4), Unknown) and len(broadcom.pairs) == 56
    (group,) = parse_matrices((WIKI / "wrx90-16gpu-p2p-writes-group-b-shared-root.txt").read_text())
    assert group.between(15, 8) == 56.2 and not group.is_latency
    (latency,) = parse_matrices((WIKI / "wrx90-2-switches-p2p-latency-writes.txt").read_text())
    assert latency.is_latency and latency.between(4, 0) == 0.46
    assert isinstance(latency.between(2, 0), Unknown)


def test_nvbandwidth_tests_and_the_unfinished_one() -> None:
    tests = parse_nvbandwidth((STAS / "nvbandwidth-gh200.txt").read_text())
    assert [(t.name, t.status) for t in tests][:1] == [("host_to_device_memcpy_ce", "passed")]
    assert tests[0].sum_gb_s == 359.05
    assert tests[0].matrix is not None and tests[0].matrix.between(0, 0) == 359.05
    assert tests[3].status == "unfinished" and isinstance(tests[3].sum_gb_s, Unknown)
    waived, failed = parse_nvbandwidth(
        "Running device_to_device_memcpy_write_ce.\nWaived: \n"
        "Running device_to_device_memcpy_read_ce.\nInvalid value when checking: [ERROR] 5 != 6\n"
    )
    assert (waived.status, failed.status) == ("waived", "failed")


def test_simple_p2p_fast_and_wrong_is_not_passed() -> None:
    wrong = parse_simple_p2p(
        "> Peer access from GeForce RTX 4090 (GPU0) -> GeForce RTX 4090 (GPU1) : Yes\n"
        "cudaMemcpyPeer / cudaMemcpy between GPU0 and GPU1: 24.71GB/s\n"
        "Verification error @ element 1: val = 0.000000, ref = 4.000000\nTest failed!\n"
    )
    assert wrong.passed is False and wrong.gb_s == 24.71 and len(wrong.errors) == 1
    right = parse_simple_p2p("between GPU0 and GPU1: 26.3GB/s\nTest passed\n")
    assert right.passed is True
    hung = parse_simple_p2p("cudaMemcpyPeer / cudaMemcpy between GPU0 and GPU1: 26.3GB/s\n")
    assert isinstance(hung.passed, Unknown)


def test_all_reduce_of_eight_gpus() -> None:
    found = parse_nccl_tests((AIK / "nccl-all-reduce-perf-8x-5090.txt").read_text())
    assert not isinstance(found, Unknown)
    assert (found.test, found.ranks, len(found.rows)) == ("all_reduce_perf", 8, 25)
    assert found.peak_busbw == 45.70
    for row in found.rows:  # busbw = algbw * 2(n-1)/n, both printed with two decimals
        assert abs(row.busbw - row.algbw * 2 * 7 / 8) < 0.02
    assert isinstance(found.values_right, Unknown)  # the published text ends before the verdict


def test_all_reduce_tail_and_published_short_form() -> None:
    tail = parse_nccl_tests((FIELD / "gardenlinux-4556_all-reduce-tail.txt").read_text())
    assert not isinstance(tail, Unknown)
    assert (
        tail.values_right is True and tail.avg_busbw == 7.48202 and isinstance(tail.test, Unknown)
    )
    short = parse_nccl_tests((STAS / "nccl-all-reduce-perf-8x-a100.txt").read_text())
    assert not isinstance(short, Unknown)
    assert short.rows[-1].size_bytes == 17179869184 and short.peak_busbw == 234.89
    assert isinstance(short.values_right, Unknown)


HEAD = "#  size  count  type  redop  root  time  algbw  busbw #wrong  time  algbw  busbw #wrong\n"


def test_wrong_values_unchecked_values_and_old_error_column() -> None:
    row = "  8  2  float  sum  -1  25.47  0.00  0.00  {}  24.82  0.00  0.00  {}\n"
    bad = parse_nccl_tests(HEAD + row.format(3, 0) + "# Out of bounds values : 3 FAILED\n")
    assert not isinstance(bad, Unknown) and bad.values_right is False
    unchecked = parse_nccl_tests(HEAD + row.format("N/A", "N/A"))
    assert not isinstance(unchecked, Unknown) and isinstance(unchecked.values_right, Unknown)
    old = parse_nccl_tests(
        HEAD.replace("#wrong", "error").replace("root", "")
        + row.replace("-1  ", "").format("1e-07", "1e-07")
        + "# Out of bounds values : 0 OK\n"
    )
    assert not isinstance(old, Unknown) and old.values_right is True
    assert isinstance(old.rows[0].wrong, Unknown)


def test_columns_of_older_nccl_tests_are_named_by_their_head() -> None:
    gather = parse_nccl_tests(
        (SUPERBENCHMARK / "nccl-all-gather-8x-a100-unchecked.txt").read_text()
    )
    assert not isinstance(gather, Unknown)
    last = gather.rows[-1]
    assert (len(gather.rows), last.size_bytes, last.time_us) == (34, 8589934592, 33646)
    assert (last.algbw, last.busbw, last.inplace_busbw) == (255.31, 223.39, 230.07)
    rooted = (
        "#  size  count  type  redop  root  time  algbw  busbw  error  time  algbw  busbw  error\n"
    )
    cut = parse_nccl_tests(f"{rooted}  8  2  float  sum  0  36.90  0.00  0.00  N/A  36.4")
    assert not isinstance(cut, Unknown)
    assert (cut.rows[0].time_us, cut.rows[0].algbw) == (36.9, 0.0)


def test_zero_out_of_bounds_of_a_run_without_checks_proves_nothing() -> None:
    gather = parse_nccl_tests(
        (SUPERBENCHMARK / "nccl-all-gather-8x-a100-unchecked.txt").read_text()
    )
    assert not isinstance(gather, Unknown)
    assert gather.out_of_bounds == Unknown("values were not checked", "# Out of bounds values : 0")
    assert isinstance(gather.values_right, Unknown)


def test_waived_line_below_a_sum_belongs_to_another_test() -> None:
    tests = parse_nvbandwidth((SUPERBENCHMARK / "nvbandwidth-0.6-gh200-waived.txt").read_text())
    states = {test.name: test.status for test in tests}
    assert states["device_to_host_bidirectional_memcpy_ce"] == "passed"
    alone = parse_nvbandwidth("Running device_to_device_memcpy_read_ce.\nWaived:\n")
    assert alone[0].status == "waived"


def test_failed_run_keeps_its_words_and_cuts_never_raise() -> None:
    failed = parse_nccl_tests("rig: Test NCCL failure common.cu:958 'unhandled cuda error'\n")
    assert not isinstance(failed, Unknown) and failed.errors
    assert isinstance(parse_nccl_tests(""), Unknown)
    for path in (*STELLINE.glob("p2p*"), *AIK.glob("*.txt"), *WIKI.glob("*.txt")):
        text = path.read_text()
        for end in range(0, len(text), 173):
            for answer in (*parse_matrices(text[:end]), *parse_nvbandwidth(text[:end])):
                json.dumps(answer.to_json())
            json.dumps(parse_nccl_tests(text[:end]).to_json())
            parse_peer_access(text[:end])
            parse_simple_p2p(text[:end])


BOTH_WAYS = """\
Running device_to_device_bidirectional_memcpy_write_ce.
memcpy CE GPU(row) <-> GPU(column) Write1 bandwidth (GB/s)
           0         1
 0       N/A     24.10
 1     24.20       N/A

SUM device_to_device_bidirectional_memcpy_write_ce_write1 48.30

memcpy CE GPU(row) <-> GPU(column) Write2 bandwidth (GB/s)
           0         1
 0       N/A     24.20
 1     24.10       N/A

SUM device_to_device_bidirectional_memcpy_write_ce_write2 48.30

memcpy CE GPU(row) <-> GPU(column) Total bandwidth (GB/s)
           0         1
 0       N/A     48.30
 1     48.30       N/A

SUM device_to_device_bidirectional_memcpy_write_ce_total 96.60
"""


def test_both_directions_of_nvbandwidth_are_their_total_not_the_first_of_them() -> None:
    (test,) = parse_nvbandwidth(BOTH_WAYS)
    assert (test.status, test.sum_gb_s) == ("passed", 96.6)
    assert test.matrix is not None
    assert (test.matrix.between(0, 1), test.matrix.bidirectional) == (48.3, True)
    (cut,) = parse_nvbandwidth(BOTH_WAYS[: BOTH_WAYS.index("memcpy CE GPU(row) <-> GPU(column) T")])
    assert (cut.status, cut.matrix) == ("unfinished", None)
